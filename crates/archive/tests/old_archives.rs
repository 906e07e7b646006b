//! Archives of earlier versions are restored, verified, listed and read as they were.
//!
//! `fixtures/README.md` says which program made them. `NAME.list` states what the tree held; it was
//! written without Holdfast.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use holdfast_archive::{
    Control, EntryKind, Error, Expected, ListedEntry, PathLookup, RestoreOptions, check_index,
    find_file, list, list_index, read_file, restore, verify,
};

use crate::support::*;
use crate::tree_lines::{Without, fixtures, has_attributes, line_of, lines, read_lines};

/// An archive of an earlier version.
struct OldArchive {
    name: &'static str,
    archive: File,
    index: File,
    expected: Expected,
    list: PathBuf,
}

/// The archives without their suffix. Those of one tree start with its name.
const NAMES: [&str; 11] = [
    "acls",
    "blocks",
    "empty",
    "links",
    "names",
    "plain",
    "plain-0",
    "plain-1",
    "plain-9",
    "sparse",
    "unreadable",
];

fn old_archives() -> Vec<OldArchive> {
    let folder = fixtures().join("index-1");
    let open_one = |name: &'static str| {
        let path = folder.join(format!("{name}.tar.gz"));
        let beside = |suffix: &str| folder.join(format!("{name}.tar.gz{suffix}"));
        let hash = fs_err::read_to_string(beside(".sha256")).unwrap();
        let (hash, file_name) = hash.trim_end().split_once("  ").unwrap();
        assert_eq!(file_name, format!("{name}.tar.gz"));
        let tree = name.split('-').next().unwrap();
        OldArchive {
            name,
            archive: open(&path),
            index: open(&beside(".index")),
            expected: Expected {
                sha256: hex::decode(hash).unwrap().try_into().unwrap(),
                archive_bytes: path.metadata().unwrap().len(),
            },
            list: folder.join(format!("{tree}.list")),
        }
    };
    NAMES.into_iter().map(open_one).collect()
}

impl OldArchive {
    fn entries(&self, with_index: bool) -> Vec<ListedEntry> {
        let index = with_index.then_some(&self.index);
        let mut entries = Vec::new();
        list(&self.archive, index, &Control::new(), &mut |entry| {
            entries.push(entry.clone());
            Ok(())
        })
        .unwrap();
        entries
    }

    fn read(&self, path: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let size = read_file(&self.archive, &self.index, path, &mut bytes).unwrap();
        assert_eq!(size, Some(bytes.len() as u64));
        bytes
    }
}

#[test]
fn they_are_restored_with_and_without_their_index() {
    let folder = folder();
    let without = Without {
        owners: !is_root(),
        attributes: !has_attributes(folder.path()),
    };
    if without.owners {
        skip("only root restores owners");
    }
    if without.attributes {
        skip("this disk has no access control lists or attributes of users");
    }
    for old in old_archives() {
        for with_index in [true, false] {
            let what = format!("{}, index: {with_index}", old.name);
            let target = folder.path().join(format!("{}-{with_index}", old.name));
            let options = RestoreOptions {
                truncate: true,
                special_modes: true,
                apply_owner: is_root(),
                expected: Some(old.expected.clone()),
                ..Default::default()
            };
            let restored = restore(
                &old.archive,
                with_index.then_some(&old.index),
                &target,
                &options,
                &Control::new(),
                &mut || Ok(()),
            )
            .unwrap();
            let wanted = read_lines(&old.list, without);
            assert_eq!(restored.entries, wanted.len() as u64, "{what}");
            if !without.owners && !without.attributes {
                assert_eq!(restored.notes.count, 0, "{what}: {:?}", restored.notes);
            }
            let found: Vec<String> = lines(&target, without).into_values().collect();
            assert_eq!(found, wanted, "{what}");
            if old.name == "unreadable" {
                // So that the folder can be removed.
                set_mode(target.join("locked"), 0o700);
            }
            if old.name == "sparse" {
                for name in ["hole", "islands", "many", "starts"] {
                    let file = fs_err::metadata(target.join(name)).unwrap();
                    assert!(file.blocks() * 512 < file.len(), "{name} has no hole");
                }
            }
        }
    }
}

#[test]
fn they_are_verified() {
    for old in old_archives() {
        let verified = verify(&old.archive, Some(&old.expected), &Control::new()).unwrap();
        assert_eq!(verified.sha256, old.expected.sha256, "{}", old.name);
        let wanted = read_lines(&old.list, Without::default());
        let files = wanted.iter().filter(|line| line.starts_with("file "));
        assert_eq!(verified.entries, wanted.len() as u64, "{}", old.name);
        assert_eq!(verified.files, files.count() as u64, "{}", old.name);

        let checked = check_index(&old.index).unwrap();
        assert_eq!(checked.archive_sha256, old.expected.sha256, "{}", old.name);
        assert_eq!(checked.archive_bytes, old.expected.archive_bytes);
        assert_eq!(checked.entries, verified.entries);
        assert_eq!(checked.files, verified.files);
    }
}

#[test]
fn they_are_listed_and_every_file_is_read_alone() {
    for old in old_archives() {
        let without = Without {
            owners: false,
            attributes: true,
        };
        let wanted = read_lines(&old.list, without);
        let with_index = old.entries(true);
        let mut streamed = Vec::new();
        list_index(&open_again(&old.index), &mut |entry| {
            streamed.push(entry.clone());
            Ok(true)
        })
        .unwrap();
        assert_eq!(streamed, with_index, "{}", old.name);
        for entries in [with_index, old.entries(false)] {
            let found: BTreeMap<Vec<u8>, String> = entries
                .iter()
                .map(|entry| {
                    let contents = match entry.kind {
                        EntryKind::File | EntryKind::HardLink => old.read(&entry.path),
                        EntryKind::Directory | EntryKind::Symlink => Vec::new(),
                    };
                    (entry.path.clone(), line_of(entry, without, &contents))
                })
                .collect();
            let found: Vec<String> = found.into_values().collect();
            assert_eq!(found, wanted, "{}", old.name);
            assert_eq!(entries.len(), wanted.len(), "{}", old.name);
        }
    }
}

#[test]
fn a_path_is_found_in_an_old_index() {
    for old in old_archives() {
        let look_up = |path: &[u8]| find_file(open_again(&old.index), path).unwrap();
        assert!(matches!(look_up(b"no/such/file"), PathLookup::Missing));
        for entry in old.entries(true) {
            let found = look_up(&entry.path);
            let is_right = match entry.kind {
                EntryKind::File => {
                    matches!(&found, PathLookup::File(file) if *file.entry() == entry)
                }
                EntryKind::HardLink => {
                    matches!(&found, PathLookup::HardLink(link) if *link == entry.link)
                }
                kind => matches!(&found, PathLookup::NotAFile(other) if *other == kind),
            };
            assert!(is_right, "{}: {found:?}", old.name);
        }
    }
}

#[test]
fn an_old_index_beside_another_archive_is_damage() {
    let old = old_archives();
    let of = |name: &str| old.iter().find(|old| old.name == name).unwrap();
    let (one, other) = (of("plain"), of("plain-1"));
    let mut bytes = Vec::new();
    let error = read_file(&other.archive, &one.index, b"world/level.dat", &mut bytes).unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    // A restore does not need the index, so it succeeds.
    let folder = folder();
    let options = RestoreOptions {
        truncate: true,
        expected: Some(other.expected.clone()),
        ..Default::default()
    };
    restore(
        &other.archive,
        Some(&one.index),
        &folder.path().join("server"),
        &options,
        &Control::new(),
        &mut || Ok(()),
    )
    .unwrap();
    let level = fs_err::read(folder.path().join("server/world/level.dat")).unwrap();
    assert_eq!(level, other.read(b"world/level.dat"));
}

/// Returns the file with a cursor of its own, at the start.
fn open_again(file: &File) -> File {
    use std::os::fd::AsRawFd as _;
    open(&PathBuf::from(format!(
        "/proc/self/fd/{}",
        file.as_raw_fd()
    )))
}
