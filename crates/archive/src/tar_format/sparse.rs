//! Maps of sparse files, as PAX 1.0 puts them in front of the data.

use std::fmt::Write as _;
use std::io;

use super::pax::invalid;
use super::{Segment, padding};

/// Writes a map as decimal lines, filled up to whole records.
pub(crate) fn map_text(segments: &[Segment]) -> Vec<u8> {
    let mut text = format!("{}\n", segments.len());
    for segment in segments {
        // Writing to a string cannot fail.
        let _ = write!(text, "{}\n{}\n", segment.offset, segment.length);
    }
    let mut text = text.into_bytes();
    text.resize(text.len() + padding(text.len() as u64), 0);
    text
}

/// Checks that segments come in order, do not overlap, and lie within the file.
pub(super) fn check(segments: &[Segment], size: u64) -> io::Result<u64> {
    let mut end = 0_u64;
    let mut total = 0_u64;
    for segment in segments {
        let after = segment.offset.checked_add(segment.length);
        match after {
            Some(after) if segment.offset >= end && after <= size => end = after,
            _ => return Err(invalid("the map of a sparse file is out of order or range")),
        }
        total += segment.length;
    }
    Ok(total)
}
