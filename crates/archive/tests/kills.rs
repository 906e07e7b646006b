//! Restores that are killed at random moments leave the old tree or the new one, never a mixture.

use std::ffi::OsStr;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use holdfast_archive::{Recovered, recover};

use crate::disks::{Mounted, can_use, output};
use crate::support::*;
use crate::swap::{archive_of, tree};

#[test]
fn a_killed_restore_leaves_the_old_tree_or_the_new_one() {
    for (keep, kills) in [(false, 40), (true, 25)] {
        let folder = memory_folder();
        let target = folder.path().join("server");
        tree(&target, "old", 400);
        let archive = archive_of(folder.path(), 600);
        let [old, new] = kill_at_random(&target, &archive, kills, keep, None, &|| {});
        assert!(
            old > 0 && new > 0,
            "the kills met only one side: {old} old, {new} new"
        );
    }
}

#[test]
fn a_killed_restore_of_a_mount_point_is_recovered() {
    let Some(disk) = Disk::mount("size=64m") else {
        return;
    };
    let folder = folder();
    tree(disk.path(), "old", 300);
    for number in 0..200 {
        write(disk.path().join(format!("many-{number}")), "old");
    }
    let archive = archive_of(folder.path(), 400);
    let marker = disk.path().join(".holdfast-restore/moving-out");
    let [old, new] = kill_at_random(disk.path(), &archive, 40, false, Some(&marker), &|| {});
    assert!(
        old > 0 && new > 0,
        "the kills met only one side: {old} old, {new} new"
    );
}

#[test]
fn a_killed_restore_of_a_subvolume_is_recovered() {
    if !can_use(&["btrfs", "chattr", "lsattr"]) {
        return;
    }
    let Some(disk) = Mounted::new("btrfs", &["-q"]) else {
        return;
    };
    let target = disk.path().join("server");
    output("btrfs", &["subvolume", "create", target.to_str().unwrap()]);
    output("chattr", &["+CA", target.to_str().unwrap()]);
    kill_and_check_directory(&target, &target.join(".holdfast-restore"));
}

#[test]
fn a_killed_restore_of_a_directory_with_a_project_is_recovered() {
    if !can_use(&["chattr", "lsattr"]) {
        return;
    }
    let Some(disk) = Mounted::new("xfs", &["-q"]) else {
        return;
    };
    let target = disk.path().join("server");
    fs_err::create_dir(&target).unwrap();
    output("chattr", &["+P", "-p", "42", target.to_str().unwrap()]);
    output("chattr", &["+Ad", target.to_str().unwrap()]);
    kill_and_check_directory(&target, &disk.path().join(".holdfast-restore-server"));
    let project = output("lsattr", &["-p", target.to_str().unwrap()]);
    for line in project.lines() {
        assert_eq!(line.split_whitespace().next(), Some("42"), "{line}");
    }
}

/// Kills restores of a directory that keeps itself and its attributes.
fn kill_and_check_directory(target: &Path, staging: &Path) {
    let folder = folder();
    set_mode(target, 0o2751);
    chown(target, Some(1001), Some(1002)).unwrap();
    output("setfacl", &["-m", "u:1003:rwx", target.to_str().unwrap()]);
    let attributes = || {
        let metadata = fs_err::metadata(target).unwrap();
        let shown = ["-pd", target.to_str().unwrap()];
        let owner = (metadata.uid(), metadata.gid(), metadata.mode());
        let list = output("getfacl", &["-np", target.to_str().unwrap()]);
        (metadata.ino(), owner, output("lsattr", &shown), list)
    };
    tree(target, "old", 100);
    for number in 0..60 {
        write(target.join(format!("many-{number}")), "old");
    }
    let archive = archive_of(folder.path(), 200);
    let before = attributes();
    let kills = std::env::var("HOLDFAST_KILLS").map_or(50, |kills| kills.parse().unwrap());
    let marker = staging.join("moving-out");
    let check = || assert_eq!(attributes(), before);
    let [old, new] = kill_at_random(target, &archive, kills, false, Some(&marker), &check);
    assert!(
        old > 0 && new > 0,
        "the kills met only one side: {old} old, {new} new"
    );
}

/// Kills restores at random moments, and every second recovery. Returns how often the old and the
/// new tree were in place. `check` runs after each recovery. With the path of the `marker` that is
/// there while children are swapped, every second kill comes at a random moment of the swap.
/// Without one, the tree must be whole before the recovery, too.
fn kill_at_random(
    target: &Path,
    archive: &Path,
    kills: u32,
    keep: bool,
    marker: Option<&Path>,
    check: &dyn Fn(),
) -> [u32; 2] {
    let old = describe_contents(target);
    let run = |arguments: &[&OsStr]| {
        let mut command = Command::new(engine());
        command.args(arguments).stdout(Stdio::null());
        command.spawn().unwrap()
    };
    let mut restore = vec!["restore".as_ref(), archive.as_os_str(), target.as_os_str()];
    if keep {
        restore.push("--keep".as_ref());
    }
    let copy = memory_folder();
    let spare = copy.path().join("old");
    copy_tree(target, &spare);
    let started = Instant::now();
    assert!(run(&restore).wait().unwrap().success());
    let whole = started.elapsed();
    let new = describe_contents(target);
    assert_ne!(old, new);
    let mut stood = [0, 0];
    let mut interrupted = 0;
    let mut seed = 88_172_645_463_325_252_u64;
    // Continues until both trees were seen, because the time of a restore varies on a busy machine.
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
        let kill_after = |mut child: Child, time: Duration| {
            std::thread::sleep(time);
            child.kill().unwrap();
            child.wait().unwrap();
        };
        let mut child = run(&restore);
        match marker {
            Some(marker) if kill % 2 == 0 => {
                while !marker.exists() && child.try_wait().unwrap().is_none() {
                    std::thread::sleep(Duration::from_micros(100));
                }
                kill_after(child, Duration::from_micros(seed % 8_000));
            }
            _ => kill_after(child, whole * share / 1000),
        }
        if marker.is_none() {
            let found = describe_contents(target);
            assert!(found == old || found == new, "kill {kill} left a mixture");
        }
        if seed.is_multiple_of(3) {
            let recovery = run(&["recover".as_ref(), target.as_os_str()]);
            kill_after(recovery, Duration::from_micros(seed % 20_000));
        }
        let recovered = recover(target, None).unwrap();
        assert_ne!(recovered, Recovered::Busy);
        let found = describe_contents(target);
        assert!(
            found == old || found == new,
            "kill {kill}, {recovered:?} left a mixture"
        );
        check();
        interrupted += u32::from(matches!(recovered, Recovered::Finished | Recovered::Undone));
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
    let [old, new] = stood;
    eprintln!("{old} old and {new} new trees, {interrupted} swaps of children recovered");
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
    // Ignores link counts, which are 2 while kept files are staged.
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
