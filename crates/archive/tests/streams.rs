//! Archives and indexes that are read once, as streams.

use std::io::{self, Read};

use holdfast_archive::{
    Control, EntryKind, Error, PathLookup, check_index, find_file, list_index, verify,
    verify_stream,
};

use crate::support::*;

/// A reader that returns its bytes in small pieces, and then fails.
struct Failing<'a> {
    bytes: &'a [u8],
    fails: bool,
}

impl Read for Failing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.bytes.is_empty() && self.fails {
            return Err(io::Error::other("the disk has failed"));
        }
        let most = buffer.len().min(1000);
        self.bytes.read(&mut buffer[..most])
    }
}

#[test]
fn a_stream_is_verified_like_a_file() {
    let folder = folder();
    server(folder.path());
    let made = make_simply(folder.path());
    let archive = bytes(&made.archive);
    let (expected, control) = (made.expected(), Control::new());
    let size = archive.len() as u64;
    let whole = Failing {
        bytes: &archive,
        fails: false,
    };
    let found = verify_stream(whole, size, expected.as_ref(), &control).unwrap();
    let of_file = verify(&made.archive, expected.as_ref(), &Control::new()).unwrap();
    assert_eq!(found, of_file);
    assert_eq!(found.entries, made.summary.entries);
    assert_eq!(control.progress().bytes_done, size);
    // One changed byte is always reported as a wrong hash.
    for at in [3, 20, archive.len() / 2, archive.len() - 2] {
        let mut damaged = archive.clone();
        damaged[at] ^= 1;
        let read = verify_stream(&damaged[..], size, expected.as_ref(), &Control::new());
        let error = read.unwrap_err();
        assert!(matches!(error, Error::HashMismatch { .. }), "{at}: {error}");
    }
    // The stream is shorter or longer than its size.
    for found in [
        &archive[..archive.len() - 1],
        &[&archive[..], b"x"].concat(),
    ] {
        let read = verify_stream(found, size, expected.as_ref(), &Control::new());
        let error = read.unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    }
}

#[test]
fn a_read_error_is_never_reported_as_damage() {
    let folder = folder();
    server(folder.path());
    let made = make_simply(folder.path());
    let archive = bytes(&made.archive);
    let size = archive.len() as u64;
    for at in [
        0,
        5,
        600,
        archive.len() / 2,
        archive.len() - 1,
        archive.len(),
    ] {
        let cut = Failing {
            bytes: &archive[..at],
            fails: true,
        };
        let read = verify_stream(cut, size, made.expected().as_ref(), &Control::new());
        let error = read.unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{at}: {error:?}");
    }
    let index = bytes(&made.index);
    for at in [0, 5, index.len()] {
        let cut = Failing {
            bytes: &index[..at],
            fails: true,
        };
        let error = check_index(cut).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{at}: {error:?}");
    }
}

#[test]
fn an_index_is_checked_and_every_changed_byte_is_noticed() {
    let folder = folder();
    server(folder.path());
    let made = make_simply(folder.path());
    let index = bytes(&made.index);
    let found = check_index(Failing {
        bytes: &index,
        fails: false,
    })
    .unwrap();
    assert_eq!(found.archive_sha256, made.summary.sha256);
    assert_eq!(found.archive_bytes, made.summary.archive_bytes);
    assert_eq!(
        (found.entries, found.files),
        (made.summary.entries, made.summary.files)
    );
    for at in 0..index.len() {
        let mut damaged = index.clone();
        damaged[at] ^= 1;
        let error = check_index(&damaged[..]).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{at}: {error}");
        let error = check_index(&index[..at]).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{at}: {error}");
    }
}

#[test]
fn one_file_is_read_from_streams() {
    let folder = folder();
    server(folder.path());
    let made = make_simply(folder.path());
    let (archive, index) = (bytes(&made.archive), bytes(&made.index));
    let small = |bytes| Failing {
        bytes,
        fails: false,
    };
    let mut entries = Vec::new();
    let mut take = |entry: &holdfast_archive::ListedEntry| {
        entries.push(entry.clone());
        Ok(true)
    };
    list_index(small(&index), &mut take).unwrap();
    assert_eq!(entries.len() as u64, made.summary.entries);
    let mut files = 0;
    for entry in entries {
        let place = match find_file(small(&index), &entry.path).unwrap() {
            PathLookup::File(place) => place,
            PathLookup::HardLink(first) => {
                assert_eq!((entry.kind, first), (EntryKind::HardLink, entry.link));
                continue;
            }
            PathLookup::NotAFile(kind) => {
                assert_eq!(kind, entry.kind);
                continue;
            }
            PathLookup::Missing => panic!("{entry:?} is not found"),
        };
        let range = place.range();
        let length = archive.len() as u64;
        let part = range.start as usize..range.end.min(length) as usize;
        let mut file = place.open(small(&archive[part])).unwrap();
        let (mut found, mut buffer) = (Vec::new(), [0; 777]);
        while let read @ 1.. = file.read(&mut buffer).unwrap() {
            found.extend_from_slice(&buffer[..read]);
        }
        assert!(found == fs_err::read(folder.path().join(name(&entry.path))).unwrap());
        files += 1;
    }
    assert!(files > 3);
    let nothing = find_file(small(&index), b"no/such/file").unwrap();
    assert!(matches!(nothing, PathLookup::Missing));
}

#[test]
fn a_damaged_index_is_noticed_when_it_is_read_to_its_end() {
    let folder = folder();
    server(folder.path());
    let index = bytes(&make_simply(folder.path()).index);
    let read = |bytes: &[u8]| {
        let fails = false;
        list_index(Failing { bytes, fails }, &mut |_| Ok(true))
    };
    for length in 0..index.len() {
        let error = read(&index[..length]).unwrap_err();
        assert!(
            matches!(error, Error::Corrupt { .. }),
            "{length}: {error:?}"
        );
        let mut damaged = index.clone();
        damaged[length] ^= 0x10;
        let error = read(&damaged).unwrap_err();
        assert!(
            matches!(error, Error::Corrupt { .. }),
            "{length}: {error:?}"
        );
    }
    let away = Failing {
        bytes: &index[..100],
        fails: true,
    };
    let error = list_index(away, &mut |_| Ok(true)).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
}
