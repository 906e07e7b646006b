//! Archives are restored to the tree that they were made from.

use std::fs::File;
use std::path::Path;

use holdfast_archive::{
    Control, CreateOptions, EntryKind, Error, IgnoreRules, ListedEntry, RestoreOptions, list,
    read_file, restore, scan, verify,
};

use crate::support::*;

/// Three sparse files of 2⁶³ − 1 bytes each: 64 bits do not hold the sum.
#[test]
fn sizes_whose_sum_has_more_than_64_bits_end_nothing() {
    let memory = Path::new("/dev/shm");
    let Ok(source) = tempfile::tempdir_in(memory) else {
        return skip("/dev/shm is missing");
    };
    for name in ["a", "b", "c"] {
        let file = File::create_new(source.path().join(name)).unwrap();
        if file.set_len(i64::MAX.unsigned_abs()).is_err() {
            return skip("/dev/shm takes no files of 2⁶³ − 1 bytes");
        }
    }
    let totals = scan(source.path(), &IgnoreRules::none(), &Control::new())
        .unwrap()
        .totals();
    assert_eq!((totals.files, totals.bytes), (3, u64::MAX));
    let made = make_simply(source.path());
    assert_eq!(made.summary.source_bytes, u64::MAX);
    assert!(
        made.summary.notes.first.is_empty(),
        "{:?}",
        made.summary.notes
    );
    let expected = made.expected();
    let verified = verify(&made.archive, expected.as_ref(), &Control::new()).unwrap();
    assert_eq!((verified.files, verified.source_bytes), (3, u64::MAX));
    let destination = tempfile::tempdir_in(memory).unwrap();
    let restored = put_back(&made.archive, destination.path()).unwrap();
    assert_eq!(restored.bytes, u64::MAX);
    let size = destination.path().join("c").metadata().unwrap().len();
    assert_eq!(size, i64::MAX.unsigned_abs());
}

#[test]
fn a_server_is_restored_as_it_was() {
    let folder = folder();
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    server(&source);
    let made = make_simply(&source);
    let notes: Vec<&str> = made
        .summary
        .notes
        .first
        .iter()
        .map(|note| note.path.as_str())
        .collect();
    assert_eq!(
        notes,
        ["dangling", "far"],
        "only the links that leave the directory"
    );
    put_back(&made.archive, &target).unwrap();
    assert_same(&target, &source);
    // No staging folder is left.
    let beside: Vec<_> = fs_err::read_dir(folder.path()).unwrap().collect();
    assert_eq!(beside.len(), 2, "{beside:?}");
}

#[test]
fn a_restore_with_the_index_gives_the_same_tree() {
    let folder = folder();
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    server(&source);
    let made = make_simply(&source);
    let expected = made.expected();
    let options = RestoreOptions {
        truncate: true,
        expected,
        ..Default::default()
    };
    let control = Control::new();
    let index = Some(&made.index);
    let restored = restore(
        &made.archive,
        index,
        &target,
        &options,
        &control,
        &mut || Ok(()),
    )
    .unwrap();
    assert_same(&target, &source);
    assert_eq!(restored.entries, made.summary.entries);
    assert_eq!(control.progress().bytes_done, made.summary.source_bytes);
    assert_eq!(control.progress().files_done, made.summary.files);
}

#[test]
fn lists_with_and_without_the_index_agree_and_every_file_can_be_read_alone() {
    let folder = folder();
    server(folder.path());
    let made = make_simply(folder.path());
    let mut lists = Vec::new();
    for index in [None, Some(&made.index)] {
        let mut found = Vec::new();
        list(&made.archive, index, &Control::new(), &mut |entry| {
            found.push(ListedEntry {
                device: 0,
                inode: 0,
                ctime: (0, 0),
                stored: 0,
                ..entry.clone()
            });
            Ok(())
        })
        .unwrap();
        lists.push(found);
    }
    assert_eq!(lists[0], lists[1]);
    assert_eq!(lists[0].len() as u64, made.summary.entries);
    for entry in &lists[1] {
        let mut bytes = Vec::new();
        let read = read_file(&made.archive, &made.index, &entry.path, &mut bytes);
        match entry.kind {
            EntryKind::File | EntryKind::HardLink => {
                assert!(read.unwrap().is_some());
                let wanted = fs_err::read(folder.path().join(name(&entry.path))).unwrap();
                assert!(bytes == wanted, "{}", name(&entry.path).display());
            }
            _ => assert!(matches!(read, Err(Error::Hostile { .. }))),
        }
    }
    let none = read_file(&made.archive, &made.index, b"no/such/file", &mut Vec::new()).unwrap();
    assert_eq!(none, None);
}

#[test]
fn the_same_tree_gives_the_same_bytes_with_any_number_of_threads() {
    let folder = folder();
    server(folder.path());
    let one = make(
        folder.path(),
        &[],
        &CreateOptions {
            threads: 1,
            ..Default::default()
        },
    )
    .unwrap();
    let five = make(
        folder.path(),
        &[],
        &CreateOptions {
            threads: 5,
            ..Default::default()
        },
    )
    .unwrap();
    assert_eq!(one.summary, five.summary);
    assert!(bytes(&one.archive) == bytes(&five.archive));
    assert!(bytes(&one.index) == bytes(&five.index));
}

#[test]
fn summary_scan_and_verification_agree() {
    let folder = folder();
    server(folder.path());
    let control = Control::new();
    let totals = scan(folder.path(), &IgnoreRules::none(), &control)
        .unwrap()
        .totals();
    let made = make_simply(folder.path());
    assert_eq!(totals.files, made.summary.files);
    assert_eq!(totals.bytes, made.summary.source_bytes);
    assert_eq!(control.progress().files_total, totals.files);
    let expected = made.expected();
    let verified = verify(&made.archive, expected.as_ref(), &Control::new()).unwrap();
    assert_eq!(verified.sha256, made.summary.sha256);
    assert_eq!(verified.archive_bytes, bytes(&made.archive).len() as u64);
    assert_eq!(
        (verified.files, verified.entries, verified.source_bytes),
        (
            made.summary.files,
            made.summary.entries,
            made.summary.source_bytes
        )
    );
}

#[test]
fn without_truncate_files_that_are_not_in_the_archive_are_kept() {
    let folder = folder();
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    write(source.join("both.txt"), "new");
    write(source.join("world/new.txt"), "new");
    write(source.join("was-folder"), "a file now");
    write(target.join("both.txt"), "old");
    write(target.join("world/old.txt"), "old");
    write(target.join("old/only/here.txt"), "old");
    write(target.join("was-folder/inside.txt"), "old");
    set_mtime(target.join("old/only"), 1_300_000_000, 7);
    let made = make_simply(&source);
    let options = RestoreOptions::default();
    restore(
        &made.archive,
        None,
        &target,
        &options,
        &Control::new(),
        &mut || Ok(()),
    )
    .unwrap();
    let read = |path: &str| fs_err::read_to_string(target.join(path)).unwrap();
    assert_eq!(read("both.txt"), "new");
    assert_eq!(read("world/new.txt"), "new");
    assert_eq!(read("world/old.txt"), "old");
    assert_eq!(read("old/only/here.txt"), "old");
    assert_eq!(read("was-folder"), "a file now");
    assert!(
        describe(&target)[std::path::Path::new("old/only")].ends_with("at 1300000000.000000007")
    );
}

#[test]
fn an_error_of_the_callback_leaves_all_files_as_they_were_and_is_returned() {
    let folder = folder();
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    server(&source);
    write(target.join("precious.txt"), "old");
    let before = describe(&target);
    let made = make_simply(&source);
    let mut asked = 0;
    let error = restore(
        &made.archive,
        None,
        &target,
        &RestoreOptions {
            truncate: true,
            ..Default::default()
        },
        &Control::new(),
        &mut || {
            asked += 1;
            Err("the lease is gone".into())
        },
    )
    .unwrap_err();
    assert_eq!(error.to_string(), "the restore was refused");
    let Error::Refused(reason) = error else {
        panic!("{error}");
    };
    assert_eq!(reason.to_string(), "the lease is gone");
    assert_eq!(asked, 1);
    assert_eq!(describe(&target), before);
    assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 2);
}
