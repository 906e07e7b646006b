//! Reads an index with arbitrary records and correct checksums, beside a real archive.
//!
//! If the first byte of the input is 0, the others are the records; if it is 1, they are those of
//! an index of version 1. Otherwise they are changes to the real records: where (two bytes), how
//! many bytes to remove, how many of the next bytes to insert. It must not panic or take much
//! memory. The ways to read it agree, and what is read of the archive is what the archive holds. A
//! next archive of the same tree is created after it or refused.
#![no_main]

use std::fs::File;
use std::io::{Read, Write};

use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};

use holdfast_archive::{
    Control, CreateOptions, Error, FileOutput, IgnoreRules, PathLookup, PlainOutput, Previous,
    RestoreOptions, check_index, create_from, find_file, list, list_index, read_file, restore,
    scan, scan_after,
};
use holdfast_fuzz::Bounds;

/// Totals, what the archive was created with, and its hash. A hash of the index follows.
const TRAILER_BYTES: usize = 9 * 8 + 32;
/// The totals and the hash, as in version 1.
const TOTALS_BYTES: usize = 6 * 8;

/// The bytes before the version of an index.
const MAGIC: &[u8] = b"holdfast-index\n";
/// Two lengths and a checksum.
const FRAME_HEADER_BYTES: usize = 12;

thread_local! {
    static ARCHIVE: Archive = archive();
}

struct Archive {
    tree: tempfile::TempDir,
    bytes: Vec<u8>,
    /// The records of its index.
    records: Vec<u8>,
    trailer: Vec<u8>,
}

/// The contents of a file of the archive.
fn contents(path: &[u8]) -> Option<Vec<u8>> {
    match path {
        b"file" => Some(b"contents\n".to_vec()),
        b"folder/other" => Some((0..=255).cycle().take(100_000).collect()),
        b"folder/empty" => Some(Vec::new()),
        _ => None,
    }
}

fn options() -> CreateOptions {
    CreateOptions {
        threads: 1,
        ..Default::default()
    }
}

fn archive() -> Archive {
    // Not in memory: there, no file counts as unchanged.
    let tree = tempfile::tempdir().unwrap();
    let root = tree.path();
    std::fs::create_dir(root.join("folder")).unwrap();
    for path in ["file", "folder/other", "folder/empty"] {
        let bytes = contents(path.as_bytes()).unwrap();
        std::fs::write(root.join(path), bytes).unwrap();
        let file = File::options().append(true).open(root.join(path)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
    }
    std::os::unix::fs::symlink("file", root.join("link")).unwrap();
    let (mut archive, mut index) = (Vec::new(), Vec::new());
    let (rules, control) = (IgnoreRules::none(), Control::new());
    let mut scanned = scan(root, &rules, &control).unwrap();
    scanned.set_begun(i64::MAX);
    let output = PlainOutput(&mut archive);
    create_from(scanned, &rules, &options(), output, &mut index, &control).unwrap();
    let (frames, trailer) = index.split_at(index.len() - TRAILER_BYTES - 32);
    let packed = &frames[MAGIC.len() + 1 + FRAME_HEADER_BYTES..frames.len() - FRAME_HEADER_BYTES];
    let mut records = Vec::new();
    let mut inflate = flate2::read::DeflateDecoder::new(packed);
    inflate.read_to_end(&mut records).unwrap();
    Archive {
        tree,
        bytes: archive,
        records,
        trailer: trailer[..TRAILER_BYTES].to_vec(),
    }
}

/// Applies changes to records.
fn changed(records: &[u8], mut changes: &[u8]) -> Vec<u8> {
    let mut records = records.to_vec();
    while let [low, high, removed, added, rest @ ..] = changes {
        let from = (usize::from(*low) | usize::from(*high) << 8) % (records.len() + 1);
        let to = (from + usize::from(*removed)).min(records.len());
        let (added, rest) = rest.split_at(usize::from(*added).min(rest.len()));
        records.splice(from..to, added.iter().copied());
        changes = rest;
    }
    records
}

/// Returns an index with these records.
fn index(version: u8, records: &[u8], trailer: &[u8]) -> Vec<u8> {
    let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    deflate.write_all(records).unwrap();
    let packed = deflate.finish().unwrap();
    let mut index = MAGIC.to_vec();
    index.push(version);
    if !records.is_empty() {
        index.extend_from_slice(&(records.len() as u32).to_le_bytes());
        index.extend_from_slice(&(packed.len() as u32).to_le_bytes());
        index.extend_from_slice(&crc32fast::hash(&packed).to_le_bytes());
        index.extend_from_slice(&packed);
    }
    index.extend_from_slice(&[0; FRAME_HEADER_BYTES]);
    if version == 1 {
        index.extend_from_slice(&trailer[..TOTALS_BYTES]);
        index.extend_from_slice(&trailer[TRAILER_BYTES - 32..]);
    } else {
        index.extend_from_slice(trailer);
    }
    let hash = Sha256::digest(&index);
    index.extend_from_slice(&hash);
    index
}

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile_in("/dev/shm").unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// Creates a next archive, if this one can be reused.
fn continue_archive(tree: &std::path::Path, archive: &File, index: &File) {
    let (rules, control) = (IgnoreRules::none(), Control::new());
    let opened = (archive.try_clone().unwrap(), index.try_clone().unwrap());
    let created = Previous::open(opened.0, opened.1, &options()).and_then(|previous| {
        let mut scanned = scan_after(previous, false, tree, &rules, &control)?;
        scanned.set_begun(i64::MAX);
        let next = tempfile::tempfile().unwrap();
        let output = FileOutput::new(&next, archive);
        create_from(
            scanned,
            &rules,
            &options(),
            output,
            std::io::sink(),
            &control,
        )
    });
    match created {
        Ok(_) | Err(Error::PreviousUnusable { .. } | Error::PreviousUnsuitable { .. }) => {}
        Err(error) => panic!("{error:?}"),
    }
}

fn check(version: u8, records: &[u8], real: &Archive) {
    let (archive, trailer) = (real.bytes.as_slice(), real.trailer.as_slice());
    let bytes = index(version, records, trailer);
    let totals = check_index(bytes.as_slice()).expect("a correct checksum");
    assert_eq!(totals.archive_bytes, archive.len() as u64);
    let (index, archive_file) = (file(&bytes), file(archive));
    continue_archive(real.tree.path(), &archive_file, &index);
    let control = Control::new();
    let mut paths = Vec::new();
    let listed = list(&archive_file, Some(&index), &control, &mut |entry| {
        paths.push(entry.path.clone());
        Ok(())
    });
    let mut streamed = Vec::new();
    let from_stream = list_index(bytes.as_slice(), &mut |entry| {
        streamed.push(entry.path.clone());
        Ok(true)
    });
    // An index that cannot be read is not used, and the archive is read instead.
    if from_stream.is_ok() && listed.is_ok() && streamed == paths {
        streamed.clear();
    }
    for path in paths.iter().chain(&streamed).take(4) {
        let mut read = Vec::new();
        let size = read_file(&archive_file, &index, path, &mut read);
        if let Ok(Some(size)) = size {
            assert_eq!(size, read.len() as u64);
            assert_eq!(
                Some(&read),
                contents(path).as_ref(),
                "{}",
                path.escape_ascii()
            );
        }
        if let Ok(PathLookup::File(location)) = find_file(bytes.as_slice(), path) {
            let from = usize::try_from(location.range().start).unwrap_or(usize::MAX);
            let rest = archive.get(from..).unwrap_or_default();
            let size = location.entry().size;
            let Ok(mut single) = location.open(rest) else {
                continue;
            };
            let (mut read, mut buffer) = (Vec::new(), vec![0; 8192]);
            let whole = loop {
                match single.read(&mut buffer) {
                    Ok(0) => break true,
                    Ok(length) => read.extend_from_slice(&buffer[..length]),
                    Err(_) => break false,
                }
                assert!(read.len() as u64 <= size);
            };
            if whole {
                assert_eq!(
                    Some(&read),
                    contents(path).as_ref(),
                    "{}",
                    path.escape_ascii()
                );
            }
        }
    }
    let folder = tempfile::Builder::new().tempdir_in("/dev/shm").unwrap();
    let options = RestoreOptions {
        threads: 1,
        ..Default::default()
    };
    let target = folder.path().join("server");
    let restored = restore(
        &archive_file,
        Some(&index),
        &target,
        &options,
        &control,
        &mut || Ok(()),
    );
    if restored.is_err() {
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        return;
    }
    for path in ["file", "folder/other", "folder/empty"] {
        let read = std::fs::read(target.join(path)).expect("a file");
        assert_eq!(Some(read), contents(path.as_bytes()));
    }
}

fuzz_target!(|input: &[u8]| {
    ARCHIVE.with(|archive| {
        let (version, records) = match input {
            [0, records @ ..] => (2, records.to_vec()),
            [1, records @ ..] => (1, records.to_vec()),
            [_, changes @ ..] => (2, changed(&archive.records, changes)),
            [] => (2, archive.records.clone()),
        };
        Bounds::ARCHIVE.check(records.len(), || check(version, &records, archive));
    });
});
