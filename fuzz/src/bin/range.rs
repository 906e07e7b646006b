//! Reads arbitrary `Range` and `If-Range` headers.
//!
//! The first line of the input is the size of the archive, the second one `Range`, the third one
//! `If-Range`. A range is always inside the archive. Archives that are files and archives that are
//! decrypted on the way give the same answer.
#![no_main]

use std::fs::File;
use std::os::fd::OwnedFd;

use libfuzzer_sys::fuzz_target;
use rustix::fs::{MemfdFlags, memfd_create};

use holdfast_api::fuzzing;
use holdfast_fuzz::{Bounds, first_line};

const TAG: &str = "0123456789abcdef";

/// Returns an empty file with this length.
fn file(length: u64) -> File {
    let file: OwnedFd = memfd_create("archive", MemfdFlags::CLOEXEC).unwrap();
    let file = File::from(file);
    file.set_len(length).unwrap();
    file
}

/// Reads a single range, digit by digit: its first byte, and the byte after its last one.
fn simple(range: &[u8], total: u64) -> Option<(u64, u64)> {
    let text = std::str::from_utf8(range).ok()?.strip_prefix("bytes=")?;
    let (first, last) = text.split_once('-')?;
    let number = |text: &str| -> Option<u64> {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| is_number)
    };
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last && first < total => {
            Some((first, last.saturating_add(1).min(total)))
        }
        (Some(first), None) if last.is_empty() && first < total => Some((first, total)),
        (None, Some(length)) if first.is_empty() && length > 0 => {
            Some((total.saturating_sub(length), total))
        }
        _ => None,
    }
}

fuzz_target!(|input: &[u8]| {
    let (size, rest) = first_line(input);
    let (range, condition) = first_line(rest);
    let size = std::str::from_utf8(size).unwrap_or_default();
    let total = size.trim().parse().unwrap_or(1000).clamp(1, 1 << 40);
    let headers = [("range", range), ("if-range", condition)];
    for headers in [&headers[..1], &headers[..]] {
        let read = || fuzzing::streamed_range(headers, TAG, total);
        let (status, part) = Bounds::TEXT.check(input.len(), read);
        match (status, part) {
            (200, Some(part)) => assert_eq!(part, 0..total),
            (206, Some(part)) => assert!(part.start < part.end && part.end <= total),
            (416, None) => {}
            other => panic!("{other:?}"),
        }
    }
    let streamed = fuzzing::streamed_range(&headers[..1], TAG, total);
    if let Some((from, to)) = simple(range, total) {
        assert_eq!(streamed, (206, Some(from..to)));
    }
    // With several ranges, a file answers with the first one.
    if !range.contains(&b',') {
        let read = || fuzzing::file_range(range, file(total));
        assert_eq!(Bounds::TEXT.check(input.len(), read), streamed);
    }
    // With a tag that is not that of the archive, the answer is the whole archive.
    let headers = [("range", range), ("if-range", b"\"other\"")];
    assert_eq!(
        fuzzing::streamed_range(&headers, TAG, total),
        (200, Some(0..total))
    );
});
