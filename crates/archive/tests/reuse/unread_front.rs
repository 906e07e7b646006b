//! An output that takes over the front where the engine does not see it, as a bucket does. And an
//! index that must be that of the archive.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::sync::Mutex;

use holdfast_archive::{ArchiveOutput, Control, CreateOptions, IgnoreRules, Previous, ReadAt};
use holdfast_archive::{Error, Expected, create_from, scan_after};

use super::{assert_holds, full, is_reused, write_tree};
use crate::support::*;

/// Copies the front by itself, and compares its CRC-32.
pub(crate) struct BucketOutput<'a> {
    pub(crate) archive: &'a File,
    pub(crate) previous: &'a File,
}

impl ArchiveOutput for BucketOutput<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.archive.write_all(bytes)
    }

    fn takes_front(&self) -> bool {
        true
    }

    fn checks_front(&self) -> bool {
        true
    }

    fn take_front(&mut self, length: u64, crc: u32) -> io::Result<()> {
        let mut front = vec![0; length as usize];
        self.previous.read_exact_at(&mut front, 0)?;
        if crc32fast::hash(&front) != crc {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.archive.write_all(&front)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Notes what is read.
#[derive(Debug)]
struct Watched(File, &'static Mutex<Vec<(u64, usize)>>);

impl ReadAt for Watched {
    fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.1.lock().unwrap().push((offset, buffer.len()));
        self.0.read_exact_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        ReadAt::size(&self.0)
    }
}

fn after_in_bucket(source: &std::path::Path, made: &Made) -> (Result<Made, Error>, u64) {
    let read: &'static Mutex<Vec<(u64, usize)>> = Box::leak(Box::default());
    let (rules, control, options) = (
        IgnoreRules::none(),
        Control::new(),
        CreateOptions::default(),
    );
    let watched = Watched(made.archive.try_clone().unwrap(), read);
    let index = made.index.try_clone().unwrap();
    let previous = Previous::open(watched, index, &options).unwrap();
    let mut scan = scan_after(previous, false, source, &rules, &control).unwrap();
    scan.set_begun(i64::MAX);
    let (archive, index) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    let output = BucketOutput {
        archive: &archive,
        previous: &made.archive,
    };
    let created = create_from(scan, &rules, &options, output, &index, &control);
    let made = created.map(|summary| Made {
        archive,
        index,
        summary,
    });
    let read = read.lock().unwrap();
    (made, read.iter().map(|&(_, length)| length as u64).sum())
}

#[test]
fn a_front_that_the_output_checks_is_not_read() {
    let folder = folder();
    let source = folder.path().join("s");
    write_tree(&source);
    let first = full(&source);
    let (second, read) = after_in_bucket(&source, &first);
    let second = second.unwrap();
    if !is_reused(&second) {
        return;
    }
    // The few bytes that the hash lacks.
    assert!(read < 64, "{read} bytes");
    assert_eq!(second.summary.read_bytes, 0);
    assert_eq!(first.summary.unread_entries, 0);
    assert!(second.summary.unread_entries > 40, "{:?}", second.summary);
    assert_eq!(first.summary.read_bytes, first.summary.source_bytes);
    assert!(bytes(&second.archive) == bytes(&first.archive));
    assert_eq!(bytes(&second.index), bytes(&first.index));
    // A change behind the front.
    fs_err::write(source.join("plugins/p1/new.yml"), "new").unwrap();
    let (third, read) = after_in_bucket(&source, &second);
    let third = third.unwrap();
    assert_holds(&third, &source, "the third");
    assert_eq!(third.summary.read_bytes, 3);
    assert!(read < third.summary.archive_bytes / 2, "{read} bytes");
}

#[test]
fn a_front_with_another_checksum_is_refused() {
    let folder = folder();
    let source = folder.path().join("s");
    write_tree(&source);
    let first = full(&source);
    if !is_reused(&after_in_bucket(&source, &first).0.unwrap()) {
        return;
    }
    for offset in [0, 9, 100, first.summary.archive_bytes / 2] {
        let mut byte = [0];
        first.archive.read_exact_at(&mut byte, offset).unwrap();
        first.archive.write_all_at(&[byte[0] ^ 1], offset).unwrap();
        let refused = after_in_bucket(&source, &first).0.map(|made| made.summary);
        assert!(
            matches!(refused, Err(Error::PreviousUnusable { .. })),
            "{offset}: {refused:?}"
        );
        first.archive.write_all_at(&byte, offset).unwrap();
    }
}

#[test]
fn an_index_of_another_archive_is_noticed() {
    let folder = folder();
    let source = folder.path().join("s");
    write_tree(&source);
    let made = full(&source);
    let options = CreateOptions::default();
    let (archive, index) = (made.archive.try_clone(), made.index.try_clone());
    let previous = Previous::open(archive.unwrap(), index.unwrap(), &options).unwrap();
    let expected = made.expected().unwrap();
    previous.check(&expected).unwrap();
    let mut other = expected.clone();
    other.sha256[31] ^= 1;
    let longer = Expected {
        archive_bytes: expected.archive_bytes + 1,
        ..expected
    };
    for other in [other, longer] {
        let refused = previous.check(&other);
        assert!(
            matches!(refused, Err(Error::PreviousUnusable { .. })),
            "{refused:?}"
        );
    }
}
