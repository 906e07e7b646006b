//! Restores on btrfs, XFS and ext4, whose directories have attributes and limits of
//! their own.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use holdfast_archive::{Control, Error, RestoreOptions, recover, restore};

use crate::disks::{Mounted, can_use, output, run};
use crate::support::*;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Restores, and keeps files that the archive lacks.
fn put_back_and_keep(
    made: &Made,
    target: &Path,
) -> Result<holdfast_archive::RestoreSummary, Error> {
    let options = RestoreOptions::default();
    let control = Control::new();
    restore(&made.archive, None, target, &options, &control, &mut || {
        Ok(())
    })
}

#[track_caller]
fn assert_clean(folder: &Path) {
    for entry in fs_err::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(
            !name.as_encoded_bytes().starts_with(b".holdfast"),
            "{name:?}"
        );
    }
}

fn btrfs() -> Option<Mounted> {
    if !can_use(&["btrfs", "chattr", "setpriv"]) {
        return None;
    }
    Mounted::new("btrfs", &["-q"])
}

/// Makes a subvolume with a file and a nested one, and a read-only snapshot of it.
fn subvolumes(target: &Path) {
    let (nested, snapshot) = (target.join("nested"), target.join("snapshot"));
    output("btrfs", &["subvolume", "create", text(&nested)]);
    output(
        "btrfs",
        &["subvolume", "create", text(&nested.join("deeper"))],
    );
    write(nested.join("folder/file"), "nested");
    write(nested.join("deeper/file"), "deeper");
    output(
        "btrfs",
        &[
            "subvolume",
            "snapshot",
            "-r",
            text(&nested),
            text(&snapshot),
        ],
    );
}

#[test]
fn nested_subvolumes_and_read_only_snapshots_are_removed_with_the_old_tree() {
    let Some(disk) = btrfs() else { return };
    let target = disk.path().join("server");
    write(target.join("world/level.dat"), "saved");
    let made = make_simply(&target);
    for _ in 0..2 {
        subvolumes(&target);
        let summary = put_back(&made.archive, &target).unwrap();
        assert_eq!(summary.notes.count, 0, "{:?}", summary.notes);
        assert_eq!(describe(&target).len(), 2);
        assert_clean(&disk.path());
    }
    let left = output("btrfs", &["subvolume", "list", text(&disk.path())]);
    assert_eq!(left, "");
}

#[test]
fn subvolumes_that_the_user_may_not_remove_are_moved_aside() {
    let Some(disk) = btrfs() else { return };
    let (disk, target) = (disk.path(), disk.path().join("server"));
    write(target.join("world/level.dat"), "saved");
    let archive = disk.join("archive.tar.gz");
    fs_err::write(&archive, bytes(&make_simply(&target).archive)).unwrap();
    output("cp", &[text(&engine()), text(&disk.join("engine"))]);
    for round in 1..=2 {
        subvolumes(&target);
        output("chown", &["-R", "65534:65534", text(&target.join("world"))]);
        output("chown", &["65534:65534", text(&target), text(&disk)]);
        let users = ["--reuid=65534", "--regid=65534", "--clear-groups"];
        let (engine, archive) = (disk.join("engine"), text(&archive).to_owned());
        let command = [text(&engine), "restore", &archive, text(&target)];
        output("setpriv", &[&users[..], &command].concat());
        assert_eq!(describe(&target).len(), 2);
        let kept = disk.join(format!(
            ".holdfast-old-server/{round}/tree/snapshot/folder/file"
        ));
        assert!(kept.exists(), "round {round}");
    }
    assert_eq!(
        recover(&target, None).unwrap(),
        holdfast_archive::Recovered::Cleaned
    );
    assert_clean(&disk);
}

#[test]
fn a_directory_that_is_a_subvolume_keeps_itself_and_gets_new_children() {
    let Some(disk) = btrfs() else { return };
    let target = disk.path().join("server");
    output("btrfs", &["subvolume", "create", text(&target)]);
    write(target.join("world/level.dat"), "saved");
    write(target.join("kept/file"), "x");
    let made = make_simply(&target);
    let inode = |path: &Path| fs_err::metadata(path).map(|found| (found.dev(), found.ino()));
    let before = (describe(&target), inode(&target).unwrap());
    write(target.join("world/level.dat"), "broken");
    subvolumes(&target);
    let summary = put_back(&made.archive, &target).unwrap();
    assert_eq!(summary.notes.count, 0, "{:?}", summary.notes);
    assert_eq!((describe(&target), inode(&target).unwrap()), before);
    let left = output("btrfs", &["subvolume", "list", text(&disk.path())]);
    assert_eq!(left.lines().count(), 1, "{left}");
    // Kept files of a nested subvolume cannot be linked, so they are copied.
    subvolumes(&target);
    sparse(
        &target.join("nested/sparse"),
        8 << 20,
        &[(4 << 20, b"island")],
    );
    fs_err::hard_link(target.join("nested/sparse"), target.join("nested/second")).unwrap();
    assert_eq!(put_back_and_keep(&made, &target).unwrap().notes.count, 0);
    let read = |name: &str| fs_err::read_to_string(target.join(name)).unwrap();
    assert_eq!(
        read("nested/folder/file") + &read("nested/deeper/file"),
        "nesteddeeper"
    );
    let copy = fs_err::metadata(target.join("nested/sparse")).unwrap();
    assert!(copy.nlink() == 2 && copy.len() == 8 << 20 && copy.blocks() * 512 < 1 << 20);
    assert_clean(&target);
    // A staging folder elsewhere on the disk is on another subvolume.
    let options = RestoreOptions {
        staging_dir: Some(disk.path()),
        ..Default::default()
    };
    let control = Control::new();
    let outcome = restore(
        &made.archive,
        None,
        &target,
        &options,
        &control,
        &mut || Ok(()),
    );
    assert!(matches!(outcome, Err(Error::StagingElsewhere { .. })));
}

#[test]
fn flags_of_the_directory_hold_for_its_new_files() {
    let Some(disk) = btrfs() else { return };
    let (target, made) = (disk.path().join("server"), folder());
    write(made.path().join("world/level.dat"), "saved");
    let made = make_simply(made.path());
    for inside in [false, true] {
        let target = if inside {
            let inside = disk.path().join("subvolume");
            output("btrfs", &["subvolume", "create", text(&inside)]);
            inside
        } else {
            fs_err::create_dir(&target).unwrap();
            target.clone()
        };
        output("chattr", &["+CAd", text(&target)]);
        output("setfacl", &["-m", "u:1001:rwx,d:u:1001:rwx", text(&target)]);
        output("setfattr", &["-n", "user.panel", "-v", "7", text(&target)]);
        let acl = output("getfacl", &["-np", text(&target)]);
        let flags = output("lsattr", &["-d", text(&target)]);
        put_back(&made.archive, &target).unwrap();
        assert_eq!(output("lsattr", &["-d", text(&target)]), flags);
        assert!(output("lsattr", &[text(&target.join("world"))]).contains('C'));
        assert_eq!(output("getfacl", &["-np", text(&target)]), acl);
        let value = output(
            "getfattr",
            &["-n", "user.panel", "--only-values", text(&target)],
        );
        assert_eq!(value, "7");
    }
}

#[test]
fn a_swap_that_fails_leaves_a_read_only_snapshot_read_only() {
    let Some(disk) = btrfs() else { return };
    let target = disk.path().join("server");
    output("btrfs", &["subvolume", "create", text(&target)]);
    write(target.join("busy/file"), "x");
    let made = make_simply(&target);
    for name in ["a", "b", "y", "z"] {
        let snapshot = target.join(name);
        output(
            "btrfs",
            &[
                "subvolume",
                "snapshot",
                "-r",
                text(&target),
                text(&snapshot),
            ],
        );
    }
    let options = RestoreOptions {
        truncate: true,
        ..Default::default()
    };
    let busy = target.join("busy");
    let control = Control::new();
    let outcome = restore(
        &made.archive,
        None,
        &target,
        &options,
        &control,
        &mut || {
            assert!(run("mount", &["-t", "tmpfs", "tmpfs", text(&busy)]));
            Ok(())
        },
    );
    assert!(run("umount", &[text(&busy)]));
    assert!(outcome.is_err());
    for name in ["a", "b", "y", "z"] {
        let flags = output(
            "btrfs",
            &["property", "get", text(&target.join(name)), "ro"],
        );
        assert_eq!(flags.trim(), "ro=true", "{name}");
    }
    put_back(&made.archive, &target).unwrap();
    assert_eq!(describe(&target).len(), 2);
}

/// Returns the project of a file, and whether new files inherit it.
fn project(path: &Path) -> (String, bool) {
    let shown = output("lsattr", &["-pd", text(path)]);
    let mut words = shown.split_whitespace();
    let project = words.next().unwrap().to_owned();
    (project, words.next().unwrap().contains('P'))
}

#[test]
fn the_project_of_the_directory_holds_for_its_new_files() {
    if !can_use(&["xfs_io", "chattr", "lsattr"]) {
        return;
    }
    for (kind, arguments) in [
        ("xfs", &["-q"][..]),
        ("ext4", &["-q", "-O", "quota,project"]),
        // Some kernels do not know this feature.
        ("ext4", &["-q", "-O", "quota,project,casefold"]),
    ] {
        let folds = arguments
            .last()
            .is_some_and(|last| last.ends_with("casefold"));
        let Some(disk) = Mounted::new(kind, arguments) else {
            continue;
        };
        let (disk, target) = (disk.path(), disk.path().join("server"));
        write(target.join("world/level.dat"), "saved");
        let made = make_simply(&target);
        fs_err::remove_dir_all(&target).unwrap();
        fs_err::create_dir(&target).unwrap();
        if folds {
            output("chattr", &["+F", text(&target)]);
        }
        // This file has no project: it cannot be linked into the new tree.
        write(target.join("world/old"), "old");
        std::os::unix::fs::symlink("old", target.join("world/link")).unwrap();
        output("chattr", &["+P", "-p", "42", text(&target)]);
        for keep in [true, false] {
            let summary = match keep {
                true => put_back_and_keep(&made, &target).unwrap(),
                false => put_back(&made.archive, &target).unwrap(),
            };
            assert_eq!(summary.notes.count, 0, "{:?}", summary.notes);
            assert_eq!(target.join("world/old").exists(), keep);
            for name in ["", "world", "world/level.dat"] {
                let found = project(&target.join(name));
                assert_eq!(
                    found,
                    ("42".to_owned(), !name.ends_with("dat")),
                    "{kind} {name}"
                );
            }
            if folds {
                // Casefold: only an empty folder takes it, so it is set before the files come.
                assert!(target.join("WORLD/level.dat").exists());
            }
            assert_clean(&disk);
        }
        // The parent has a project, too: its entries cannot be exchanged with others.
        output("chattr", &["+P", "-p", "7", text(&disk)]);
        let inode = fs_err::metadata(&target).unwrap().ino();
        write(target.join("more"), "more");
        put_back(&made.archive, &target).unwrap();
        assert_eq!(project(&target.join("world/level.dat")).0, "42");
        assert!(!target.join("more").exists());
        assert_eq!(fs_err::metadata(&target).unwrap().ino(), inode);
        assert_clean(&disk);
    }
}

#[test]
fn children_of_another_project_are_moved_back_when_the_swap_fails() {
    if !can_use(&["chattr", "lsattr"]) {
        return;
    }
    let Some(disk) = Mounted::new("xfs", &["-q"]) else {
        return;
    };
    let target = disk.path();
    for number in 0..9 {
        write(target.join(format!("old-{number}/file")), "old");
    }
    output("chattr", &["+P", "-p", "42", text(&target)]);
    let made = make_simply(&target);
    let before = describe(&target);
    let busy = target.join("old-5");
    let options = RestoreOptions {
        truncate: true,
        ..Default::default()
    };
    let outcome = restore(
        &made.archive,
        None,
        &target,
        &options,
        &Control::new(),
        &mut || {
            // A mount point cannot be moved.
            assert!(run("mount", &["-t", "tmpfs", "tmpfs", text(&busy)]));
            Ok(())
        },
    );
    assert!(run("umount", &[text(&busy)]));
    assert!(outcome.is_err());
    assert_eq!(describe(&target), before);
    put_back(&made.archive, &target).unwrap();
    assert_eq!(describe(&target), before);
    assert_eq!(project(&target.join("old-5/file")).0, "42");
    assert_clean(&target);
}
