//! The swap of children, for trees that cannot be exchanged in one step.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use holdfast_archive::{Control, RestoreOptions, restore};

use crate::attacker::{Attack, PLAYER};
use crate::disks::can_use;
use crate::support::*;
use crate::swap::{archive_of, tree};

const NOBODY: u32 = 65_534;

/// Runs a restore as the user `nobody`. Returns whether it succeeded, and its error output.
fn restore_as_nobody(archive: &Path, target: &Path) -> (bool, String) {
    // The user cannot read the build folder.
    let own_engine = archive.with_file_name("engine");
    // Another thread that starts a program must not inherit a handle to write to it.
    let copied = Command::new("cp").arg(engine()).arg(&own_engine).status();
    assert!(copied.unwrap().success());
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(own_engine)
        .arg("restore")
        .args([archive, target])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), said)
}

/// Creates a folder that other users can read, with an archive. Returns its expected contents too.
fn prepared() -> Option<(tempfile::TempDir, PathBuf, BTreeMap<PathBuf, Vec<u8>>)> {
    if !is_root() || Command::new("setpriv").arg("--version").output().is_err() {
        skip("only root can change its user");
        return None;
    }
    let folder = folder();
    open_to_all(folder.path(), 0o755);
    let archive = archive_of(folder.path(), 30);
    for file in [&archive, &folder.path().join("archive.tar.gz.index")] {
        open_to_all(file, 0o644);
    }
    let wanted = contents(&folder.path().join("source"));
    Some((folder, archive, wanted))
}

fn open_to_all(path: &Path, mode: u32) {
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Returns the contents of every file.
fn contents(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_path_buf();
                found.insert(name, fs_err::read(path).unwrap());
            }
        }
    }
    found
}

fn give_to_nobody(root: &Path) {
    let status = Command::new("chown")
        .args(["-R", "65534:65534"])
        .arg(root)
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn a_directory_with_an_unwritable_parent_is_swapped_child_by_child() {
    let Some((folder, archive, wanted)) = prepared() else {
        return;
    };
    let target = folder.path().join("server");
    tree(&target, "old", 20);
    give_to_nobody(&target);
    let inode = fs_err::metadata(&target).unwrap().ino();
    let (restored, said) = restore_as_nobody(&archive, &target);
    assert!(restored, "{said}");
    assert_eq!(contents(&target), wanted);
    let after = fs_err::metadata(&target).unwrap();
    assert_eq!((after.ino(), after.uid()), (inode, NOBODY));
}

#[test]
fn files_with_holdfast_names_in_a_directory_with_an_unwritable_parent_block_nothing() {
    let Some((folder, archive, wanted)) = prepared() else {
        return;
    };
    let target = folder.path().join("server");
    for round in 0..3 {
        tree(&target, "old", 5);
        for (number, name) in ["lock", "lock.2", "restore", "old"].iter().enumerate() {
            let path = target.join(format!(".holdfast-{name}"));
            match (number + round) % 3 {
                0 => write(path.join("inside"), "x"),
                1 => std::os::unix::fs::symlink("/nowhere/at/all", path).unwrap(),
                _ => write(path, "a file"),
            }
        }
        give_to_nobody(&target);
        let (restored, said) = restore_as_nobody(&archive, &target);
        assert!(restored, "{said}");
        assert_eq!(contents(&target), wanted, "round {round}");
    }
}

#[test]
fn a_directory_of_another_owner_keeps_its_owner_and_has_its_children_swapped() {
    let Some((folder, archive, wanted)) = prepared() else {
        return;
    };
    let home = folder.path().join("home");
    let target = home.join("server");
    tree(&target, "old", 20);
    give_to_nobody(&target);
    for shared in [&home, &target] {
        chown(shared, Some(0), Some(0)).unwrap();
        open_to_all(shared, 0o777);
    }
    let before = fs_err::metadata(&target).unwrap();
    let (restored, said) = restore_as_nobody(&archive, &target);
    assert!(restored, "{said}");
    assert_eq!(contents(&target), wanted);
    let after = fs_err::metadata(&target).unwrap();
    assert_eq!(
        (after.ino(), after.uid(), after.mode()),
        (before.ino(), 0, before.mode())
    );
    assert_eq!(
        fs_err::read_dir(&home).unwrap().count(),
        1,
        "files left behind"
    );
}

#[test]
fn children_are_swapped_if_the_exchange_fails_and_an_error_is_undone() {
    let Some(_probe) = Disk::mount("size=1m") else {
        return;
    };
    for fails in [false, true] {
        let folder = folder();
        let target = folder.path().join("server");
        tree(&target, "old", 20);
        let archive = archive_of(folder.path(), 30);
        let archive = fs_err::File::open(archive).unwrap().into_parts().0;
        let before = contents(&target);
        let inode = fs_err::metadata(&target).unwrap().ino();
        let busy = target.join("old-7");
        let mount = |what: &Path| {
            let mut mount = Command::new("mount");
            mount.arg("--bind").args([what, what]).status()
        };
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
                // A bind mount of the folder on itself. The kernel does not exchange mount points.
                let what = if fails { &busy } else { &target };
                assert!(mount(what).unwrap().success());
                if fails {
                    assert!(mount(&target).unwrap().success());
                }
                Ok(())
            },
        );
        let umount = |what: &Path| Command::new("umount").arg(what).status().unwrap();
        assert!(umount(&target).success());
        if fails {
            assert!(umount(&busy).success());
            assert!(outcome.is_err());
            assert_eq!(contents(&target), before);
        } else {
            assert!(outcome.is_ok(), "{outcome:?}");
            assert_eq!(contents(&target), contents(&folder.path().join("source")));
        }
        assert_eq!(fs_err::metadata(&target).unwrap().ino(), inode);
    }
}

/// Creates and removes names of the server as fast as it can.
const CREATE_AND_REMOVE: &str = r#"
    $SIG{TERM} = sub { print "1\n"; exit };
    $| = 1;
    print "ready\n";
    while (1) {
        for my $name ("evil1", "evil2", "evil3", "new0", "new1") {
            open(my $file, ">", "evil-made") and close($file);
            rename("evil-made", $name) unless -e $name;
            unlink($name) if -e $name and -z $name;
        }
    }
"#;

#[test]
fn names_that_come_and_go_fail_no_restore() {
    if !can_use(&["perl", "setpriv", "mount"]) {
        return;
    }
    let Some(disk) = Disk::mount("size=64m") else {
        return;
    };
    let folder = folder();
    let archive = open(&archive_of(folder.path(), 10));
    let plain = folder.path().join("server");
    set_mode(folder.path(), 0o711);
    for target in [disk.path(), &plain] {
        tree(target, "old", 5);
        std::os::unix::fs::chown(target, Some(PLAYER), Some(PLAYER)).unwrap();
    }
    let inode = fs_err::metadata(&plain).unwrap().ino();
    for round in 0..60 {
        // The attack works in the directory, so the plain one stays, too.
        let target = if round < 40 { disk.path() } else { &plain };
        let attack = Attack::start_with(target, CREATE_AND_REMOVE);
        let options = RestoreOptions {
            truncate: round % 2 == 0,
            ..Default::default()
        };
        let control = Control::new();
        let restored = restore(&archive, None, target, &options, &control, &mut || Ok(()));
        attack.stop();
        restored.unwrap_or_else(|error| panic!("round {round}: {error}"));
    }
    assert_eq!(fs_err::metadata(&plain).unwrap().ino(), inode);
}
