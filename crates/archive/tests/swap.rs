//! The trees change places whole, whatever happens meanwhile.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use holdfast_archive::{Control, Error, Recovered, RestoreOptions, recover, restore};

use crate::support::*;

/// A child that does not outlive the test, however that ends.
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

fn tree(root: &Path, word: &str, files: usize) {
    for number in 0..files {
        write(
            root.join(format!("{word}-{}/sub/{number}.txt", number % 17)),
            word.repeat(50),
        );
    }
    write(root.join("both"), word);
}

/// Kills restores at random moments and returns how often the old and the new tree stood there.
fn kill_at_random(
    target: &Path,
    archive: &Path,
    kills: u32,
    keep: bool,
    whole_at_once: bool,
) -> [u32; 2] {
    let old = describe_contents(target);
    let run = |arguments: &[&str]| {
        Command::new(engine())
            .arg("restore")
            .args([archive, target])
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap()
    };
    let flags: &[&str] = if keep { &["--keep"] } else { &[] };
    let copy = memory_folder();
    let spare = copy.path().join("old");
    copy_tree(target, &spare);
    let started = std::time::Instant::now();
    assert!(run(flags).wait().unwrap().success());
    let whole = started.elapsed();
    let new = describe_contents(target);
    assert_ne!(old, new);
    let mut stood = [0, 0];
    let mut seed = 88_172_645_463_325_252_u64;
    // Until both sides were met: how long a restore takes varies on a busy machine.
    for kill in 0..kills * 4 {
        if kill >= kills && stood[0] > 0 && stood[1] > 0 {
            break;
        }
        empty(target);
        copy_tree(&spare, target);
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let share = u32::try_from(seed % 1100).unwrap();
        let mut child = run(flags);
        std::thread::sleep(whole * share / 1000);
        child.kill().unwrap();
        child.wait().unwrap();
        if whole_at_once {
            let found = describe_contents(target);
            assert!(found == old || found == new, "kill {kill} left a mixture");
        }
        let recovered = recover(target, None).unwrap();
        assert_ne!(recovered, Recovered::Busy);
        let found = describe_contents(target);
        assert!(
            found == old || found == new,
            "kill {kill}, {recovered:?} left a mixture"
        );
        stood[usize::from(found == new)] += 1;
        let rest = |folder: &Path| {
            fs_err::read_dir(folder)
                .unwrap()
                .filter(|entry| {
                    let name = entry.as_ref().unwrap().file_name();
                    name.as_encoded_bytes().starts_with(b".holdfast")
                })
                .count()
        };
        assert_eq!(
            rest(target) + rest(target.parent().unwrap()),
            0,
            "kill {kill}"
        );
        assert_eq!(recover(target, None).unwrap(), Recovered::Nothing);
    }
    stood
}

fn describe_contents(root: &Path) -> Vec<(std::path::PathBuf, String)> {
    let without_time = |text: String| match text.split_once(" at ") {
        Some((kind, rest)) => format!(
            "{kind} {}",
            rest.split_once(": ").map_or("", |(_, rest)| rest)
        ),
        None => text,
    };
    let found = describe(root).into_iter();
    let found = found.filter(|(path, _)| {
        !path
            .as_os_str()
            .as_encoded_bytes()
            .starts_with(b".holdfast")
    });
    // The number of names is 2 while an overlay is staged: that is no difference.
    found
        .map(|(path, text)| (path, without_time(text).replace(", 2 names", ", 1 names")))
        .collect()
}

fn copy_tree(from: &Path, to: &Path) {
    fs_err::create_dir_all(to).unwrap();
    for entry in fs_err::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs_err::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn empty(folder: &Path) {
    for entry in fs_err::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            fs_err::remove_dir_all(entry.path()).unwrap();
        } else {
            fs_err::remove_file(entry.path()).unwrap();
        }
    }
}

fn archive_of(folder: &Path, files: usize) -> std::path::PathBuf {
    let source = folder.join("source");
    tree(&source, "new", files);
    let made = make_simply(&source);
    let archive = folder.join("archive.tar.gz");
    fs_err::write(&archive, bytes(&made.archive)).unwrap();
    fs_err::write(folder.join("archive.tar.gz.index"), bytes(&made.index)).unwrap();
    archive
}

#[test]
fn row_1_a_restore_killed_at_any_moment_leaves_the_old_tree_or_the_new_one() {
    for (keep, kills) in [(false, 40), (true, 25)] {
        let folder = memory_folder();
        let target = folder.path().join("server");
        tree(&target, "old", 400);
        let archive = archive_of(folder.path(), 600);
        let [old, new] = kill_at_random(&target, &archive, kills, keep, true);
        assert!(
            old > 0 && new > 0,
            "the kills met only one side: {old} old, {new} new"
        );
    }
}

#[test]
fn row_1_a_mount_point_is_swapped_child_by_child_and_recovers_whole() {
    let Some(disk) = Disk::mount("size=64m") else {
        return;
    };
    let folder = folder();
    tree(disk.path(), "old", 300);
    for number in 0..200 {
        write(disk.path().join(format!("many-{number}")), "old");
    }
    let archive = archive_of(folder.path(), 400);
    let [old, new] = kill_at_random(disk.path(), &archive, 40, false, false);
    assert!(
        old > 0 && new > 0,
        "the kills met only one side: {old} old, {new} new"
    );
}

#[test]
fn a_second_restore_of_the_same_directory_is_turned_away_while_the_first_one_runs() {
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
fn a_paused_restore_keeps_its_lock_and_a_dead_one_loses_it() {
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
    // It is made once the lock is held.
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
fn the_server_directory_keeps_its_mode_and_a_missing_one_is_made() {
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
    // One that was made for a restore that failed goes again.
    let another = folder.path().join("another");
    assert!(put_back(&file_of(b"rubbish"), &another).is_err());
    assert!(!another.exists());
    write(folder.path().join("file"), "");
    let error = put_back(&archive, &folder.path().join("file")).unwrap_err();
    assert!(matches!(error, Error::NotADirectory { .. }), "{error}");
}

#[test]
fn staging_may_lie_elsewhere_on_the_same_disk_only() {
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
fn a_restore_cannot_swap_away_a_directory_that_was_replaced_meanwhile() {
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
fn a_disk_mounted_inside_of_the_server_is_never_carried_off_or_emptied() {
    let Some(_probe) = Disk::mount("size=1m") else {
        return;
    };
    let folder = folder();
    let target = folder.path().join("server");
    tree(&target, "old", 3);
    let (elsewhere, inside) = (folder.path().join("elsewhere"), target.join("with blank"));
    write(elsewhere.join("precious"), "precious");
    fs_err::create_dir(&inside).unwrap();
    // A bind mount: the same device, so only the mount itself tells.
    let mount = |arguments: &[&Path]| Command::new("mount").arg("--bind").args(arguments).status();
    assert!(mount(&[&elsewhere, &inside]).unwrap().success());
    let archive = archive_of(folder.path(), 3);
    let archive = fs_err::File::open(archive).unwrap().into_parts().0;
    let outcome = put_back(&archive, &target);
    let umount = || Command::new("umount").arg(&inside).status().unwrap();
    let refused = matches!(outcome, Err(Error::MountedInside { .. }));
    let whole = inside.join("precious").exists() && target.join("both").exists();
    // One that comes after the check stops the removal of the old tree.
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
    let carried = folder
        .path()
        .join(".holdfast-restore-server/tree/with blank");
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
