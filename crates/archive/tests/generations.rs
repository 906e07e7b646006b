//! Random trees that change from generation to generation. Each archive holds its tree, with
//! every program that reads it.
//!
//! `HOLDFAST_GENERATIONS=N` sets how many trees there are, and `HOLDFAST_GENERATIONS_FROM=SEED` the
//! seed of the first one. A failure names its seed. `HOLDFAST_EARLIER=FILE` is the program of an
//! earlier version, which restores each archive as well.

mod attributes;
mod changes;
mod order;
mod tree;

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;
use std::process::Command;

use holdfast_archive::{
    Control, CreateOptions, EntryKind, FileOutput, IgnoreRules, ListedEntry, PlainOutput, Previous,
    RestoreOptions, create_from, list, read_file, restore, scan, scan_after, verify,
};

use crate::interop::run;
use crate::reuse::unread_front::BucketOutput;
use crate::support::*;
use crate::tree_lines::{Lines, Without, has_attributes, lines, start_of};

use tree::Tree;

/// Trees that are made by default.
const TREES: u64 = 2;
const GENERATIONS: u64 = 10;
const CHANGES: u64 = 20;

/// Makes the backup of a generation. `previous` is the backup of the one before, and whether every
/// file is read again.
fn back_up(tree: &Tree, threads: usize, previous: Option<(&Made, bool)>) -> Made {
    let archive = tempfile::tempfile_in(tree.work()).unwrap();
    let index = tempfile::tempfile_in(tree.work()).unwrap();
    let rules = IgnoreRules::new(&tree.patterns()).unwrap();
    let options = CreateOptions {
        threads,
        xattrs: true,
        level: 1,
        ..Default::default()
    };
    let control = Control::new();
    let scan = match previous {
        None => scan(tree.root(), &rules, &control),
        Some((made, reread)) => {
            let clone = |file: &File| file.try_clone().unwrap();
            let (archive, index) = (clone(&made.archive), clone(&made.index));
            let previous = Previous::open(archive, index, &options).unwrap();
            scan_after(previous, reread, tree.root(), &rules, &control)
        }
    };
    let mut scan = scan.unwrap();
    // As if every file had been written long before.
    scan.set_begun(i64::MAX);
    let summary = match previous {
        Some((made, _)) if threads.is_multiple_of(2) => {
            let output = FileOutput::new(&archive, &made.archive);
            create_from(scan, &rules, &options, output, &index, &control)
        }
        Some((made, _)) if threads.is_multiple_of(3) => {
            let output = BucketOutput {
                archive: &archive,
                previous: &made.archive,
            };
            create_from(scan, &rules, &options, output, &index, &control)
        }
        _ => {
            let output = PlainOutput(&archive);
            create_from(scan, &rules, &options, output, &index, &control)
        }
    };
    let summary = summary.unwrap();
    Made {
        archive,
        index,
        summary,
    }
}

#[test]
fn every_generation_is_read_as_its_tree() {
    let number = |name: &str, default| {
        std::env::var(name).map_or(default, |value| value.parse::<u64>().unwrap())
    };
    let first = number("HOLDFAST_GENERATIONS_FROM", 20_261_129);
    let trees = number("HOLDFAST_GENERATIONS", TREES);
    // Each tree on a thread of its own: they mostly wait for other programs and for the disk.
    std::thread::scope(|scope| {
        for worker in 0..trees.min(2) {
            scope.spawn(move || {
                for seed in (first + worker..first + trees).step_by(2) {
                    one_tree(seed);
                }
            });
        }
    });
}

/// Creates a folder for archives and what is read from them. The tree itself is on a disk.
fn target_folder() -> tempfile::TempDir {
    let memory = memory_folder();
    if has_attributes(memory.path()) {
        memory
    } else {
        folder()
    }
}

/// Follows one tree through its generations.
fn one_tree(seed: u64) {
    let (folder, target) = (folder(), target_folder());
    let mut tree = Tree::new(folder.path(), target.path(), seed);
    let mut previous: Option<Made> = None;
    for generation in 0..GENERATIONS {
        if generation > 0 {
            for _ in 0..CHANGES {
                tree.change();
            }
        }
        let what = tree.say(&format!("seed {seed}, generation {generation}"));
        let wanted = tree.wanted();
        let threads = tree.random.threads();
        let reread = tree.random.one_in(5);
        let made = back_up(&tree, threads, previous.as_ref().map(|made| (made, reread)));
        check_totals(&tree, &made, &wanted, &what);
        check_lists(&tree, &made, previous.is_none(), &wanted, &what);
        let target = tree.work().join("restored");
        restore_into(&target, &made, tree.random.one_in(2));
        assert_same_lines(&lines(&target, tree.without), &wanted, &what);
        // A full archive is a function of the tree: not of its inodes, the clock or the threads.
        let full = back_up(&tree, threads, None);
        let threads = tree.random.threads();
        let again = if is_root() {
            back_up(&Tree::at(&target, tree.work()), threads, None)
        } else {
            // The owners of what was restored may be others.
            back_up(&tree, threads, None)
        };
        assert!(bytes(&again.archive) == bytes(&full.archive), "{what}");
        check_lists(&tree, &full, true, &wanted, &what);
        check_reuse(&full, &made, &what);
        check_tar(&tree, &made, &wanted, &what);
        if let Some(earlier) = std::env::var_os("HOLDFAST_EARLIER") {
            check_earlier(&tree, &made, &wanted, &what, &earlier);
        }
        tree.forget_changes();
        previous = Some(made);
    }
}

/// A backup after a previous one says the same as a full one.
fn check_reuse(full: &Made, made: &Made, what: &str) {
    let about = |made: &Made| {
        let summary = &made.summary;
        let mut notes: Vec<_> = summary
            .notes
            .first
            .iter()
            .map(ToString::to_string)
            .collect();
        notes.sort();
        (summary.entries, summary.files, summary.source_bytes, notes)
    };
    assert_eq!(about(made), about(full), "{what}");
    assert!(
        made.summary.reused_bytes <= made.summary.archive_bytes,
        "{what}"
    );
    assert_eq!(full.summary.reused_bytes, 0, "{what}");
}

/// The totals of the backup, of a scan and of a verification agree with the tree.
fn check_totals(tree: &Tree, made: &Made, wanted: &Lines, what: &str) {
    let notes = &made.summary.notes;
    assert_eq!(notes.count, tree.pipes(), "{what}: {notes:?}");
    let files = wanted.values().filter(|line| line.starts_with("file "));
    let files = files.count() as u64;
    let totals = (wanted.len() as u64, files);
    let summary = &made.summary;
    assert_eq!((summary.entries, summary.files), totals, "{what}");
    let rules = IgnoreRules::new(&tree.patterns()).unwrap();
    let scanned = scan(tree.root(), &rules, &Control::new()).unwrap();
    let found = (scanned.totals().files, scanned.totals().bytes);
    assert_eq!(found, (files, summary.source_bytes), "{what}");
    let expected = made.expected();
    let verified = verify(&made.archive, expected.as_ref(), &Control::new()).unwrap();
    assert_eq!((verified.entries, verified.files), totals, "{what}");
    assert_eq!(verified.source_bytes, summary.source_bytes, "{what}");
    assert_eq!(verified.archive_bytes, bytes(&made.archive).len() as u64);
}

/// Lists with and without the index state every entry, and files are read alone. The entries of a
/// full backup are in order.
fn check_lists(tree: &Tree, made: &Made, is_full: bool, wanted: &Lines, what: &str) {
    for index in [Some(&made.index), None] {
        let mut entries: Vec<ListedEntry> = Vec::new();
        list(&made.archive, index, &Control::new(), &mut |entry| {
            entries.push(entry.clone());
            Ok(())
        })
        .unwrap();
        assert_eq!(entries.len(), wanted.len(), "{what}");
        let without = Without::default();
        for entry in &entries {
            let found = start_of(entry, without);
            let line = wanted.get(&entry.path).map_or("", String::as_str);
            let same = line.starts_with(&found);
            assert!(same, "{what}:\n  {found}\n  instead of {line}");
        }
        if is_full {
            order::check(&entries, what);
        }
        let files = entries.iter().filter(|entry| entry.kind == EntryKind::File);
        for entry in files.step_by(7) {
            let mut bytes = Vec::new();
            read_file(&made.archive, &made.index, &entry.path, &mut bytes).unwrap();
            let path = tree.root().join(name(&entry.path));
            assert!(bytes == fs_err::read(&path).unwrap(), "{what}: {path:?}");
        }
    }
}

fn restore_into(target: &Path, made: &Made, with_index: bool) {
    let options = RestoreOptions {
        truncate: true,
        special_modes: true,
        apply_owner: is_root(),
        expected: made.expected(),
        ..Default::default()
    };
    let restored = restore(
        &made.archive,
        with_index.then_some(&made.index),
        target,
        &options,
        &Control::new(),
        &mut || Ok(()),
    )
    .unwrap();
    assert_eq!(restored.notes.count, 0, "{:?}", restored.notes);
    assert_eq!(restored.entries, made.summary.entries);
}

/// GNU tar unpacks the tree, and `sha256sum` finds the hash.
fn check_tar(tree: &Tree, made: &Made, wanted: &Lines, what: &str) {
    let archive = tree.work().join("a.tar.gz");
    fs_err::write(&archive, bytes(&made.archive)).unwrap();
    if let Some(said) = run("sha256sum", tree.work(), "sha256sum a.tar.gz") {
        let hash = hex::encode(made.summary.sha256);
        assert!(said.starts_with(hash.as_bytes()), "{what}");
    }
    let script = "tar --version | grep -q GNU && rm -rf by-tar && mkdir by-tar && \
                  tar -xpzf a.tar.gz -C by-tar --xattrs --acls --numeric-owner \
                  --warning=no-timestamp --warning=no-unknown-keyword 2>&1";
    if let Some(said) = run("tar", tree.work(), script) {
        assert_eq!(String::from_utf8_lossy(&said), "", "{what}");
        let found = lines(&tree.work().join("by-tar"), tree.without);
        assert_same_lines(&found, wanted, &format!("GNU tar, {what}"));
    }
}

/// An earlier version verifies the archive and restores the tree, with the index and without it.
fn check_earlier(tree: &Tree, made: &Made, wanted: &Lines, what: &str, earlier: &OsStr) {
    let archive = tree.work().join("for-earlier.tar.gz");
    let index = tree.work().join("for-earlier.tar.gz.index");
    let target = tree.work().join("by-earlier");
    let wanted = without_special_modes(wanted.clone());
    fs_err::write(&archive, bytes(&made.archive)).unwrap();
    let hash = hex::encode(made.summary.sha256);
    let hash = format!("{hash}  for-earlier.tar.gz\n");
    fs_err::write(archive.with_extension("gz.sha256"), hash).unwrap();
    for with_index in [true, false] {
        let what = format!("the earlier version, index: {with_index}, {what}");
        if with_index {
            fs_err::write(&index, bytes(&made.index)).unwrap();
        } else {
            fs_err::remove_file(&index).unwrap();
        }
        let run = |arguments: &[&OsStr]| {
            let command = Command::new(earlier)
                .arg("archive")
                .args(arguments)
                .output();
            let output = command.unwrap();
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{what}: {error}");
        };
        run(&["verify".as_ref(), archive.as_os_str()]);
        let owner = if is_root() { "--owner" } else { "--threads=0" };
        let (archive, target) = (archive.as_os_str(), target.as_os_str());
        run(&["restore".as_ref(), owner.as_ref(), archive, target]);
        let found = lines(Path::new(target), tree.without);
        assert_same_lines(&without_special_modes(found), &wanted, &what);
    }
}

/// The command line restores no setuid and setgid bits of files.
fn without_special_modes(mut lines: Lines) -> Lines {
    for line in lines.values_mut().filter(|line| line.starts_with("file ")) {
        line.replace_range(5..6, "0");
    }
    lines
}

/// Compares two descriptions entry by entry.
#[track_caller]
fn assert_same_lines(found: &Lines, wanted: &Lines, what: &str) {
    let mut different = String::new();
    let paths: std::collections::BTreeSet<_> = found.keys().chain(wanted.keys()).collect();
    for path in paths {
        let (found, wanted) = (found.get(path), wanted.get(path));
        if found != wanted {
            writeln!(different, "  found {found:?}\n instead of {wanted:?}").unwrap();
        }
    }
    assert!(different.is_empty(), "{what}:\n{different}");
}

/// A tree that differs only in its inodes, from another file system or made at another time, has
/// the same archive.
#[test]
fn a_copy_of_a_tree_has_the_same_archive() {
    let folder = folder();
    let mut tree = Tree::new(folder.path(), folder.path(), 17);
    tree.patterns.clear();
    let copied = Command::new("cp")
        .args(["--archive", "--sparse=auto", "root", "copy"])
        .current_dir(folder.path())
        .status()
        .unwrap();
    assert!(copied.success());
    let copy = Tree::at(&folder.path().join("copy"), folder.path());
    let (one, other) = (back_up(&tree, 1, None), back_up(&copy, 8, None));
    assert!(bytes(&one.archive) == bytes(&other.archive));
    assert_eq!(one.summary.sha256, other.summary.sha256);
}
