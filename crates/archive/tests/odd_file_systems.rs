//! Restores on overlayfs, which cannot move folders of its lower layers, and on FUSE, which lacks
//! links, attributes and flags of `renameat2`.

use std::path::Path;
use std::process::{Child, Command};

use holdfast_archive::{Control, Error, RestoreOptions, restore};

use crate::disks::{Mounted, can_use, run};
use crate::support::*;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
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

#[test]
fn a_directory_in_the_lower_layer_of_an_overlay_is_refused_before_anything_is_moved() {
    let filled = Mounted::overlay(|lower| {
        write(lower.join("server/world/level.dat"), "saved");
        write(lower.join("server/file"), "saved");
    });
    let Some(disk) = filled else { return };
    let target = disk.path().join("server");
    let made = make_simply(&target);
    write(target.join("new"), "new");
    let before = describe(&target);
    let error = put_back(&made.archive, &target).unwrap_err();
    assert!(
        matches!(&error, Error::Immovable { path, .. } if path.ends_with("server/world")),
        "{error}"
    );
    assert!(error.to_string().contains("overlayfs"), "{error}");
    assert_eq!(describe(&target), before);
    assert_clean(&disk.path());
    // A copy is in the upper layer. Then the children are swapped, because the directory itself is
    // still in the lower one.
    assert!(run(
        "cp",
        &[
            "-a",
            text(&target.join("world")),
            text(&target.join("copy"))
        ]
    ));
    fs_err::remove_dir_all(target.join("world")).unwrap();
    fs_err::rename(target.join("copy"), target.join("world")).unwrap();
    put_back(&made.archive, &target).unwrap();
    assert_eq!(describe(&target).len(), 3);
    assert!(!target.join("new").exists());
    assert_clean(&disk.path());
    // A directory that was made in the overlay is exchanged as everywhere.
    let fresh = disk.path().join("fresh");
    write(fresh.join("old/file"), "old");
    put_back(&made.archive, &fresh).unwrap();
    assert_eq!(describe(&fresh).len(), 3);
    assert_clean(&disk.path());
}

#[test]
fn the_mount_point_of_an_overlay_is_refused_for_folders_of_its_lower_layer() {
    let filled = Mounted::overlay(|lower| write(lower.join("world/level.dat"), "saved"));
    let Some(disk) = filled else { return };
    let target = disk.path();
    let made = make_simply(&target);
    let before = describe(&target);
    let error = put_back(&made.archive, &target).unwrap_err();
    assert!(matches!(error, Error::Immovable { .. }), "{error}");
    assert_eq!(describe(&target), before);
    assert_clean(&target);
}

/// A folder that rclone mounts. It is unmounted when this is dropped.
struct Rclone {
    folder: tempfile::TempDir,
    child: Child,
}

impl Rclone {
    fn mount() -> Option<Self> {
        if !can_use(&["rclone", "fusermount3"]) {
            return None;
        }
        let folder = folder();
        let (back, disk) = (folder.path().join("back"), folder.path().join("disk"));
        for path in [&back, &disk] {
            fs_err::create_dir(path).unwrap();
        }
        let child = Command::new("rclone")
            .args([
                "mount",
                "--vfs-cache-mode=full",
                "--config=/dev/null",
                "--cache-dir",
            ])
            .args([folder.path().join("cache"), back, disk.clone()])
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut mounted = Self { folder, child };
        for _ in 0..1000 {
            let table = fs_err::read_to_string("/proc/self/mountinfo").unwrap();
            if table.contains(text(&disk)) {
                return Some(mounted);
            }
            if mounted.child.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        eprintln!("skipped: rclone cannot mount here");
        None
    }
}

impl Drop for Rclone {
    fn drop(&mut self) {
        let disk = self.folder.path().join("disk");
        let _ = Command::new("umount").arg("-l").arg(disk).output();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_restore_works_in_and_on_a_mount_of_rclone() {
    let Some(rclone) = Rclone::mount() else {
        return;
    };
    let (disk, source) = (rclone.folder.path().join("disk"), folder());
    write(source.path().join("world/level.dat"), "saved");
    write(source.path().join("top"), "saved");
    let made = make_simply(source.path());
    for target in [disk.join("server"), disk.clone()] {
        write(target.join("top"), "broken");
        write(target.join("new/file"), "new");
        for truncate in [false, true] {
            let options = RestoreOptions {
                truncate,
                ..Default::default()
            };
            let control = Control::new();
            restore(
                &made.archive,
                None,
                &target,
                &options,
                &control,
                &mut || Ok(()),
            )
            .unwrap();
            // For some seconds, rclone shows files in a folder that was moved as empty.
            assert_eq!(fs_err::read_to_string(target.join("top")).unwrap(), "saved");
            assert!(target.join("world/level.dat").exists());
            assert_eq!(target.join("new/file").exists(), !truncate);
            assert_clean(&target);
            assert_clean(&disk);
        }
    }
}
