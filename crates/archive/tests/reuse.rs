//! A backup after a previous one: what is reused, and what a damaged archive or index leads to.

mod memory_maps;
mod shared_pages;
pub(crate) mod unread_front;

use std::fs::File;
use std::io;
use std::path::Path;

use holdfast_archive::{
    ArchiveOutput, Control, CreateOptions, Error, FileOutput, IgnoreRules, PlainOutput, Previous,
    RestoreOptions, Summary, create_from, restore, scan, scan_after, verify,
};

use crate::support::*;
use crate::tree_lines::{Without, lines};

/// Makes a backup, as if every file had been written long before.
fn back_up(
    source: &Path,
    options: &CreateOptions,
    previous: Option<(&File, &File)>,
) -> Result<Made, Error> {
    back_up_at(i64::MAX, source, options, previous)
}

/// Makes a backup, as if it had begun at that time, in seconds since 1970.
fn back_up_at(
    begun: i64,
    source: &Path,
    options: &CreateOptions,
    previous: Option<(&File, &File)>,
) -> Result<Made, Error> {
    let (rules, control) = (IgnoreRules::none(), Control::new());
    let (archive, index) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    let clone = |file: &File| file.try_clone().unwrap();
    let summary = match previous {
        None => {
            let mut scan = scan(source, &rules, &control)?;
            scan.set_begun(begun);
            create_from(
                scan,
                &rules,
                options,
                PlainOutput(&archive),
                &index,
                &control,
            )?
        }
        Some((old, old_index)) => {
            let previous = Previous::open(clone(old), clone(old_index), options)?;
            let mut scan = scan_after(previous, false, source, &rules, &control)?;
            scan.set_begun(begun);
            let output = FileOutput::new(&archive, old);
            create_from(scan, &rules, options, output, &index, &control)?
        }
    };
    Ok(Made {
        archive,
        index,
        summary,
    })
}

fn full(source: &Path) -> Made {
    back_up(source, &CreateOptions::default(), None).unwrap()
}

fn after(source: &Path, previous: &Made) -> Result<Made, Error> {
    let previous = Some((&previous.archive, &previous.index));
    back_up(source, &CreateOptions::default(), previous)
}

/// A tree with a large file, small ones, links and folders.
fn write_tree(source: &Path) {
    write(source.join("world/region.mca"), noise(600_000, 7));
    for number in 0..40 {
        let text = format!("{number} ").repeat(number * 90);
        write(
            source.join(format!("plugins/p{}/{number}.yml", number % 5)),
            text,
        );
    }
    std::os::unix::fs::symlink("plugins", source.join("link")).unwrap();
    fs_err::hard_link(source.join("plugins/p1/1.yml"), source.join("zz")).unwrap();
}

/// The archive is whole, and holds the tree.
fn assert_holds(made: &Made, source: &Path, what: &str) {
    let verified = verify(&made.archive, made.expected().as_ref(), &Control::new());
    assert_eq!(verified.unwrap().sha256, made.summary.sha256, "{what}");
    let target = folder();
    let options = RestoreOptions {
        truncate: true,
        expected: made.expected(),
        ..Default::default()
    };
    let target = target.path().join("t");
    let (control, index) = (Control::new(), Some(&made.index));
    restore(
        &made.archive,
        index,
        &target,
        &options,
        &control,
        &mut || Ok(()),
    )
    .unwrap();
    let without = Without::default();
    assert!(lines(&target, without) == lines(source, without), "{what}");
}

/// Whether this folder is on a file system whose files are reused.
fn is_reused(made: &Made) -> bool {
    if made.summary.reused_bytes == 0 {
        skip("the file system of the temporary folder does not tell of all changes");
        return false;
    }
    true
}

#[test]
fn an_unchanged_tree_is_taken_over_whole() {
    let folder = folder();
    let source = folder.path().join("s");
    write_tree(&source);
    let first = full(&source);
    let second = after(&source, &first).unwrap();
    if !is_reused(&second) {
        return;
    }
    // Only the directories and the end are written again.
    assert!(bytes(&second.archive) == bytes(&first.archive));
    let again = second.summary.archive_bytes - second.summary.reused_bytes;
    assert!(again < 1000, "{:?}", second.summary);
    // A backup after a backup after a backup.
    let third = after(&source, &second).unwrap();
    assert_eq!(bytes(&third.index), bytes(&second.index));
    assert_holds(&third, &source, "the third");
}

#[test]
fn every_damage_of_the_previous_archive_leads_to_a_right_archive_or_is_noticed() {
    let folder = folder();
    let source = folder.path().join("s");
    write(source.join("a.bin"), noise(90_000, 3));
    write(source.join("b/large.bin"), noise(400_000, 5));
    write(source.join("c.txt"), "small");
    let first = full(&source);
    // One file in the middle changes, so that blocks are cloned, moved and unpacked.
    write(source.join("b/new.bin"), noise(70_000, 4));
    fs_err::remove_file(source.join("c.txt")).unwrap();
    let right = after(&source, &first).unwrap();
    if !is_reused(&right) {
        return;
    }
    assert_holds(&right, &source, "undamaged");
    let archive = bytes(&first.archive);
    let (mut noticed, mut reused) = (0, 0);
    for at in (0..archive.len()).step_by(1 + archive.len() / 400) {
        let mut damaged = archive.clone();
        damaged[at] ^= 1 << (at % 8);
        match after_damage(&source, &damaged, &bytes(&first.index)) {
            None => noticed += 1,
            Some(made) => {
                assert_eq!(made.summary.sha256, right.summary.sha256, "byte {at}");
                assert_eq!(bytes(&made.archive), bytes(&right.archive), "byte {at}");
                reused += 1;
            }
        }
    }
    // Only what is packed again anyway, such as the directories, may be damaged unnoticed.
    assert!(
        noticed > 300 && reused < 20,
        "{noticed} noticed, {reused} not"
    );
    for length in [0, 5, archive.len() / 2, archive.len() - 1] {
        let found = after_damage(&source, &archive[..length], &bytes(&first.index));
        assert!(found.is_none(), "{length} bytes");
    }
}

#[test]
fn every_damage_of_the_index_is_noticed() {
    let folder = folder();
    let source = folder.path().join("s");
    write(source.join("a.txt"), "text");
    write(source.join("b.bin"), noise(70_000, 4));
    let first = full(&source);
    let (archive, index) = (bytes(&first.archive), bytes(&first.index));
    for at in 0..index.len() {
        let mut damaged = index.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(
            after_damage(&source, &archive, &damaged).is_none(),
            "byte {at}"
        );
        let found = after_damage(&source, &archive, &index[..at]);
        assert!(found.is_none(), "{at} bytes");
    }
    assert!(after_damage(&source, &archive, &index).is_some());
}

/// Makes a backup after a damaged one; `None` if the damage is noticed.
fn after_damage(source: &Path, archive: &[u8], index: &[u8]) -> Option<Made> {
    let (archive, index) = (file_of(archive), file_of(index));
    match back_up(source, &CreateOptions::default(), Some((&archive, &index))) {
        Ok(made) => Some(made),
        Err(Error::PreviousUnusable { reason }) => {
            assert!(!reason.is_empty());
            None
        }
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn an_archive_with_other_options_is_not_reused() {
    let folder = folder();
    write(folder.path().join("s/a.txt"), "text");
    let source = folder.path().join("s");
    let first = full(&source);
    for options in [
        CreateOptions {
            level: 6,
            ..Default::default()
        },
        CreateOptions {
            xattrs: true,
            ..Default::default()
        },
    ] {
        let made = back_up(&source, &options, Some((&first.archive, &first.index)));
        let error = made.err().unwrap().to_string();
        let expected = "the previous archive cannot be reused: it was created with other options";
        assert_eq!(error, expected);
    }
}

#[test]
fn hard_links_stay_links_whatever_names_change() {
    let folder = folder();
    let source = folder.path().join("s");
    write(source.join("b"), noise(300_000, 1));
    fs_err::hard_link(source.join("b"), source.join("c")).unwrap();
    fs_err::hard_link(source.join("b"), source.join("d/e")).unwrap_err();
    fs_err::create_dir(source.join("d")).unwrap();
    fs_err::hard_link(source.join("b"), source.join("d/e")).unwrap();
    let mut previous = full(&source);
    let change = |step: usize| match step {
        0 => {}
        // A name before all others, one in the middle, and one less.
        1 => fs_err::hard_link(source.join("b"), source.join("a")).unwrap(),
        2 => fs_err::hard_link(source.join("b"), source.join("bb")).unwrap(),
        3 => fs_err::remove_file(source.join("a")).unwrap(),
        4 => fs_err::remove_file(source.join("b")).unwrap(),
        5 => fs_err::rename(source.join("c"), source.join("z")).unwrap(),
        _ => write(source.join("z"), "now another file for all names"),
    };
    for step in 0..7 {
        change(step);
        let made = after(&source, &previous).unwrap();
        assert_holds(&made, &source, &format!("step {step}"));
        previous = made;
    }
}

#[test]
fn a_large_file_that_grows_keeps_its_blocks() {
    let folder = folder();
    let source = folder.path().join("s");
    let log = source.join("server.log");
    write(&log, noise(5 << 20, 8));
    let first = full(&source);
    let mut grown = noise(5 << 20, 8);
    grown.extend(noise(1000, 9));
    write(&log, &grown);
    let second = after(&source, &first).unwrap();
    assert_holds(&second, &source, "grown");
    // Equal blocks are found by their contents, on any file system.
    assert!(
        second.summary.reused_bytes > 5 << 20,
        "{:?}",
        second.summary
    );
}

#[test]
fn a_file_that_was_written_just_before_is_read_again() {
    let folder = folder();
    let source = folder.path().join("s");
    write(source.join("a.bin"), noise(300_000, 1));
    let first = make_simply(&source);
    let (rules, control, options) = (
        IgnoreRules::none(),
        Control::new(),
        CreateOptions::default(),
    );
    let clone = |file: &File| file.try_clone().unwrap();
    let previous = Previous::open(clone(&first.archive), clone(&first.index), &options).unwrap();
    let scan = scan_after(previous, false, &source, &rules, &control).unwrap();
    let (archive, index) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    let output = PlainOutput(&archive);
    let made: Summary = create_from(scan, &rules, &options, output, &index, &control).unwrap();
    assert_eq!(control.progress().bytes_done, 300_000);
    assert_eq!(made.sha256, first.summary.sha256);
    // It was read, and its compressed bytes were taken over.
    assert!(made.reused_bytes > 250_000, "{made:?}");
}

#[test]
fn an_archive_that_lacks_contents_of_a_file_is_not_reused() {
    let folder = folder();
    let (source, archive) = (folder.path().join("source"), folder.path().join("a.tar.gz"));
    server(&source);
    let level = source.join("world/level.dat");
    let arguments = ["create".as_ref(), source.as_os_str(), archive.as_os_str()];
    let unusable = || {
        let index = open(&folder.path().join("a.tar.gz.index"));
        Previous::open(open(&archive), index, &CreateOptions::default()).err()
    };
    for injection in ["preadv2,pread64:error=EBADMSG", "flistxattr:error=EACCES"] {
        let Some(output) = with_failing_call(injection, Some(&level), &arguments) else {
            return;
        };
        assert!(output.status.success(), "{output:?}");
        let error = unusable().map(|error| error.to_string());
        let expected = "the previous archive cannot be reused: some of its files could not be \
                        read completely";
        assert_eq!(error.as_deref(), Some(expected), "{injection}");
    }
    let output = std::process::Command::new(engine())
        .args(arguments)
        .output();
    assert!(output.unwrap().status.success());
    assert!(unusable().is_none());
}

/// An output that cannot take anything over.
struct Failing(io::ErrorKind);

impl ArchiveOutput for Failing {
    fn write(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn takes_front(&self) -> bool {
        true
    }

    fn take_front(&mut self, _: u64, _: u32) -> io::Result<()> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn only_a_full_disk_is_no_reason_to_begin_again_without_the_previous_archive() {
    let folder = folder();
    let source = folder.path().join("s");
    write_tree(&source);
    let first = full(&source);
    if !is_reused(&after(&source, &first).unwrap()) {
        return;
    }
    let create = |kind| {
        let (rules, control, options) = (
            IgnoreRules::none(),
            Control::new(),
            CreateOptions::default(),
        );
        let (archive, index) = (first.archive.try_clone(), first.index.try_clone());
        let previous = Previous::open(archive.unwrap(), index.unwrap(), &options).unwrap();
        let scan = scan_after(previous, false, &source, &rules, &control).unwrap();
        create_from(scan, &rules, &options, Failing(kind), io::sink(), &control).unwrap_err()
    };
    let error = create(io::ErrorKind::Other);
    assert!(matches!(error, Error::PreviousUnusable { .. }), "{error:?}");
    let error = create(io::ErrorKind::StorageFull);
    assert!(matches!(error, Error::Output(_)), "{error:?}");
}
