//! Restores that are killed at random moments leave the old tree or the new one, never a mixture.

use std::path::Path;
use std::process::{Command, Stdio};

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
        let [old, new] = kill_at_random(&target, &archive, kills, keep, true);
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
    let [old, new] = kill_at_random(disk.path(), &archive, 40, false, false);
    assert!(
        old > 0 && new > 0,
        "the kills met only one side: {old} old, {new} new"
    );
}

#[test]
fn a_killed_restore_of_a_subvolume_is_recovered() {
    if !can_use(&["btrfs"]) {
        return;
    }
    let Some(disk) = Mounted::new("btrfs", &["-q"]) else {
        return;
    };
    let (folder, target) = (folder(), disk.path().join("server"));
    output("btrfs", &["subvolume", "create", target.to_str().unwrap()]);
    tree(&target, "old", 100);
    let archive = archive_of(folder.path(), 200);
    let [old, new] = kill_at_random(&target, &archive, 12, false, false);
    assert!(
        old > 0 && new > 0,
        "the kills met only one side: {old} old, {new} new"
    );
}

/// Kills restores at random moments. Returns how often the old and the new tree were in place.
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
