//! The swap of the old and the new tree, and the lock of a restore.

#![allow(unreachable_pub, reason = "shared with the tests that kill")]
#![allow(clippy::allow_attributes, reason = "as in the support module")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use holdfast_archive::{Control, Error, Recovered, RestoreOptions, recover, restore};

use crate::support::*;

/// A child process that is killed at the end of the test.
struct Killed(std::process::Child);

impl Killed {
    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn tree(root: &Path, word: &str, files: usize) {
    for number in 0..files {
        write(
            root.join(format!("{word}-{}/sub/{number}.txt", number % 17)),
            word.repeat(50),
        );
    }
    write(root.join("both"), word);
}

pub fn archive_of(folder: &Path, files: usize) -> std::path::PathBuf {
    let source = folder.join("source");
    tree(&source, "new", files);
    let made = make_simply(&source);
    let archive = folder.join("archive.tar.gz");
    fs_err::write(&archive, bytes(&made.archive)).unwrap();
    fs_err::write(folder.join("archive.tar.gz.index"), bytes(&made.index)).unwrap();
    archive
}

#[test]
fn a_second_restore_of_the_same_directory_is_refused_while_the_first_one_runs() {
    let folder = folder();
    let target = folder.path().join("server");
    tree(&target, "old", 3);
    let archive = fs_err::File::open(archive_of(folder.path(), 3))
        .unwrap()
        .into_parts()
        .0;
    let options = RestoreOptions {
        truncate: true,
        ..Default::default()
    };
    let mut second = None;
    restore(
        &archive,
        None,
        &target,
        &options,
        &Control::new(),
        &mut || {
            second = Some(restore(
                &archive,
                None,
                &target,
                &options,
                &Control::new(),
                &mut || Ok(()),
            ));
            assert_eq!(recover(&target, None).unwrap(), Recovered::Busy);
            Ok(())
        },
    )
    .unwrap();
    assert!(matches!(second, Some(Err(Error::Busy { .. }))));
    assert_eq!(recover(&target, None).unwrap(), Recovered::Nothing);
}

#[test]
fn a_stopped_process_keeps_its_lock_and_a_killed_one_loses_it() {
    let folder = folder();
    let target = folder.path().join("server");
    tree(&target, "old", 3);
    let archive = archive_of(folder.path(), 3000);
    let child = Command::new(engine())
        .arg("restore")
        .args([&archive, &target])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut child = Killed(child);
    let staging = folder.path().join(".holdfast-restore-server");
    // The staging folder is created after the lock is taken.
    while !staging.exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let pid = rustix::process::Pid::from_child(&child.0);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let file = fs_err::File::open(&archive).unwrap().into_parts().0;
    let options = RestoreOptions {
        truncate: true,
        ..Default::default()
    };
    let outcome = restore(&file, None, &target, &options, &Control::new(), &mut || {
        Ok(())
    });
    assert!(matches!(outcome, Err(Error::Busy { .. })), "{outcome:?}");
    assert_eq!(recover(&target, None).unwrap(), Recovered::Busy);
    child.kill();
    restore(&file, None, &target, &options, &Control::new(), &mut || {
        Ok(())
    })
    .unwrap();
    assert_eq!(describe(&target).len(), 3000 + 2 * 17 + 1);
}

#[test]
fn the_server_directory_keeps_its_mode_and_a_missing_one_is_created() {
    let folder = folder();
    let target = folder.path().join("server");
    tree(&target, "old", 3);
    set_mode(&target, 0o2751);
    let archive = fs_err::File::open(archive_of(folder.path(), 3))
        .unwrap()
        .into_parts()
        .0;
    put_back(&archive, &target).unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(
        fs_err::metadata(&target).unwrap().permissions().mode() & 0o7777,
        0o2751
    );
    let missing = folder.path().join("not/there/yet");
    put_back(&archive, &missing).unwrap();
    assert_eq!(fs_err::read_to_string(missing.join("both")).unwrap(), "new");
    // A destination that a failed restore has created is removed.
    let another = folder.path().join("another");
    assert!(put_back(&file_of(b"rubbish"), &another).is_err());
    assert!(!another.exists());
    write(folder.path().join("file"), "");
    let error = put_back(&archive, &folder.path().join("file")).unwrap_err();
    assert!(matches!(error, Error::NotADirectory { .. }), "{error}");
}

#[test]
fn staging_can_be_in_another_folder_of_the_same_disk_only() {
    let folder = folder();
    let (target, staging) = (folder.path().join("server"), folder.path().join("staging"));
    tree(&target, "old", 3);
    fs_err::create_dir(&staging).unwrap();
    let archive = fs_err::File::open(archive_of(folder.path(), 3))
        .unwrap()
        .into_parts()
        .0;
    let mut options = RestoreOptions {
        truncate: true,
        staging_dir: Some(staging.clone()),
        ..Default::default()
    };
    let mut seen = 0;
    restore(
        &archive,
        None,
        &target,
        &options,
        &Control::new(),
        &mut || {
            seen = fs_err::read_dir(&staging).unwrap().count();
            Ok(())
        },
    )
    .unwrap();
    assert_eq!((seen, fs_err::read_dir(&staging).unwrap().count()), (1, 0));
    assert_eq!(fs_err::read_to_string(target.join("both")).unwrap(), "new");
    options.staging_dir = Some("/proc".into());
    let error = restore(
        &archive,
        None,
        &target,
        &options,
        &Control::new(),
        &mut || Ok(()),
    );
    assert!(matches!(error, Err(Error::StagingElsewhere { .. })));
}

#[test]
fn a_directory_that_was_replaced_during_the_restore_is_not_swapped() {
    let folder = folder();
    let target = folder.path().join("server");
    tree(&target, "old", 3);
    let archive = fs_err::File::open(archive_of(folder.path(), 3))
        .unwrap()
        .into_parts()
        .0;
    let options = RestoreOptions {
        truncate: true,
        ..Default::default()
    };
    let outcome = restore(
        &archive,
        None,
        &target,
        &options,
        &Control::new(),
        &mut || {
            fs_err::rename(&target, folder.path().join("moved")).unwrap();
            fs_err::create_dir(&target).unwrap();
            Ok(())
        },
    );
    assert!(matches!(outcome, Err(Error::Io { .. })), "{outcome:?}");
    assert_eq!(
        fs_err::read_to_string(folder.path().join("moved/both")).unwrap(),
        "old"
    );
}

#[test]
fn without_truncate_a_failure_leaves_every_file_as_it_was() {
    let folder = folder();
    let target = folder.path().join("server");
    tree(&target, "old", 20);
    let before = describe(&target);
    let archive = archive_of(folder.path(), 30);
    let good = fs_err::read(&archive).unwrap();
    for cut in [good.len() / 3, good.len() / 2, good.len() - 1] {
        let options = RestoreOptions::default();
        let archive = file_of(&good[..cut]);
        assert!(
            restore(
                &archive,
                None,
                &target,
                &options,
                &Control::new(),
                &mut || Ok(())
            )
            .is_err()
        );
        assert_eq!(describe(&target), before);
    }
}

#[test]
fn a_disk_mounted_inside_of_the_server_is_never_moved_or_emptied() {
    let Some(_probe) = Disk::mount("size=1m") else {
        return;
    };
    let folder = folder();
    let target = folder.path().join("server");
    tree(&target, "old", 3);
    let (elsewhere, inside) = (folder.path().join("elsewhere"), target.join("with blank"));
    write(elsewhere.join("precious"), "precious");
    fs_err::create_dir(&inside).unwrap();
    // A bind mount has the same device, so only its mount point can be noticed.
    let mount = |arguments: &[&Path]| Command::new("mount").arg("--bind").args(arguments).status();
    assert!(mount(&[&elsewhere, &inside]).unwrap().success());
    let archive = archive_of(folder.path(), 3);
    let archive = fs_err::File::open(archive).unwrap().into_parts().0;
    let outcome = put_back(&archive, &target);
    let umount = || Command::new("umount").arg(&inside).status().unwrap();
    let refused = matches!(outcome, Err(Error::MountedInside { .. }));
    let whole = inside.join("precious").exists() && target.join("both").exists();
    // A mount after the check stops the removal of the old tree.
    assert!(umount().success());
    let options = RestoreOptions {
        truncate: true,
        ..Default::default()
    };
    let late = restore(
        &archive,
        None,
        &target,
        &options,
        &Control::new(),
        &mut || {
            assert!(mount(&[&elsewhere, &inside]).unwrap().success());
            Ok(())
        },
    );
    let noted = late.as_ref().is_ok_and(|summary| summary.notes.count == 1);
    let carried = folder.path().join(".holdfast-old-server/1/tree/with blank");
    let unmounted = Command::new("umount")
        .arg(&carried)
        .status()
        .unwrap()
        .success();
    assert!(refused && whole, "{outcome:?}");
    assert!(noted && unmounted, "{late:?}");
    assert!(elsewhere.join("precious").exists());
    assert_eq!(recover(&target, None).unwrap(), Recovered::Cleaned);
}

#[test]
fn a_swap_of_children_that_fails_is_undone() {
    let Some(disk) = Disk::mount("size=16m") else {
        return;
    };
    let folder = folder();
    let target = disk.path();
    for number in 0..40 {
        write(target.join(format!("old-{number}/file")), "old");
    }
    let archive = archive_of(folder.path(), 30);
    let archive = fs_err::File::open(archive).unwrap().into_parts().0;
    let before = describe(target);
    let busy = target.join("old-20");
    let options = RestoreOptions {
        truncate: true,
        ..Default::default()
    };
    let outcome = restore(
        &archive,
        None,
        target,
        &options,
        &Control::new(),
        &mut || {
            // A mount point cannot be moved. Some children are moved before it is reached.
            let mounted = Command::new("mount")
                .args(["-t", "tmpfs", "tmpfs"])
                .arg(&busy)
                .status();
            assert!(mounted.unwrap().success());
            Ok(())
        },
    );
    let unmounted = Command::new("umount")
        .arg(&busy)
        .status()
        .unwrap()
        .success();
    assert!(
        matches!(outcome, Err(Error::Io { .. })) && unmounted,
        "{outcome:?}"
    );
    assert_eq!(describe(target), before);
    assert_eq!(recover(target, None).unwrap(), Recovered::Nothing);
}
