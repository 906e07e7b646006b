//! Maps of sparse files, as PAX 1.0 stores them before the data.

use std::fmt::Write as _;
use std::io;

use super::pax::invalid;
use super::{Segment, padding};

/// Encodes a map as decimal lines, padded to whole blocks.
pub(crate) fn encode_sparse_map(segments: &[Segment]) -> Vec<u8> {
    let mut text = format!("{}\n", segments.len());
    for segment in segments {
        // Writing to a string cannot fail.
        let _ = write!(text, "{}\n{}\n", segment.offset, segment.length);
    }
    let mut text = text.into_bytes();
    text.resize(text.len() + padding(text.len() as u64), 0);
    text
}

/// Checks that segments are in order, do not overlap and lie within the file. Returns their sum.
pub(super) fn check_sparse_map(segments: &[Segment], size: u64) -> io::Result<u64> {
    let mut end = 0_u64;
    let mut total = 0_u64;
    for segment in segments {
        let segment_end = segment.offset.checked_add(segment.length);
        match segment_end {
            Some(segment_end) if segment.offset >= end && segment_end <= size => end = segment_end,
            _ => return Err(invalid("the map of a sparse file is out of order or range")),
        }
        total += segment.length;
    }
    Ok(total)
}
