//! Tests of local disks only.

use std::path::Path;
use std::process::Command;

use holdfast_storage::{Disk, Error, Shortage};

use crate::objects::{
    SIZE_MAX, archive_key, assert_invisible, backup, error_text, key, list, noise, partials, put,
    read_all, server,
};
use crate::places::{name, skipped};

fn disk(root: &Path) -> Disk {
    Disk::local(name("local"), root).unwrap()
}

#[tokio::test]
async fn each_server_has_a_folder_which_is_removed_when_it_is_empty() {
    let root = tempfile::tempdir().unwrap();
    let disk = disk(root.path());
    put(&disk, key(1), &noise(3)).await.unwrap();
    let of = archive_key(1, 1);
    let path = format!("{}/{}.tar.gz", of.server, of.backup);
    assert!(root.path().join(path).is_file());
    disk.delete_backup(server(1), backup(1)).await.unwrap();
    let folder = root.path().join(server(1).to_string());
    assert!(!folder.exists(), "the empty folder stays");
}

#[tokio::test]
async fn every_call_fails_if_the_disk_is_missing() {
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("disk");
    let disk = disk(&root);
    disk.check().await.unwrap();
    fs_err::rename(&root, parent.path().join("away")).unwrap();
    assert!(disk.check().await.is_err());
    assert!(
        disk.begin(key(1), SIZE_MAX).await.is_err(),
        "an unmounted disk must not be created again"
    );
    for missing in [disk.open(key(1)).await.err(), disk.size(key(1)).await.err()] {
        assert!(
            matches!(missing, Some(Error::Unavailable { .. })),
            "{missing:?}"
        );
    }
    assert!(disk.delete(key(1)).await.is_err());
    assert!(disk.delete_backup(server(1), backup(1)).await.is_err());
    assert!(!root.exists());
}

#[tokio::test]
async fn a_disk_that_contains_archives_is_never_created_again() {
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("disk");
    let open = || Disk::local_existing(name("local"), &root).unwrap();
    // Neither without a folder nor in an unmounted one.
    let unmounted = open();
    assert!(!root.exists());
    fs_err::create_dir_all(root.join("lost+found")).unwrap();
    for disk in [&unmounted, &open()] {
        let text = error_text(&disk.check().await.unwrap_err());
        let helps = "to start with an empty one, write `local` into that file";
        assert!(text.contains(helps), "{text}");
        for error in [
            disk.begin(key(1), SIZE_MAX).await.unwrap_err(),
            disk.size(key(1)).await.unwrap_err(),
            disk.free_bytes().await.unwrap_err(),
            disk.delete_backup(server(1), backup(1)).await.unwrap_err(),
            disk.list(None).next_page().await.unwrap_err(),
        ] {
            assert!(
                matches!(error, Error::Unavailable { .. }) && error.is_temporary(),
                "{error:?}"
            );
        }
    }
    assert_eq!(fs_err::read_dir(&root).unwrap().count(), 1);
    // The operator can write the marker file. No restart is needed.
    fs_err::write(root.join(".holdfast-disk"), "local").unwrap();
    put(&unmounted, key(1), &noise(3)).await.unwrap();
    // A marker file that is missing beside servers' folders is written again. A copy without
    // hidden files lacks it.
    fs_err::remove_file(root.join(".holdfast-disk")).unwrap();
    assert!(unmounted.check().await.is_err());
    open().check().await.unwrap();
    assert!(read_all(&unmounted, key(1)).await == noise(3));
}

#[test]
fn the_folder_of_another_disk_and_a_file_are_refused() {
    let root = tempfile::tempdir().unwrap();
    disk(root.path());
    let other = Disk::local(name("other"), root.path());
    assert!(open_error(other).contains("belongs to disk `local`"));
    let file = root.path().join("file");
    fs_err::write(&file, b"").unwrap();
    let refused = Disk::local(name("other"), &file);
    assert!(open_error(refused).contains("file"));
}

fn open_error(result: Result<Disk, Error>) -> String {
    error_text(&result.unwrap_err())
}

/// A small mounted file system, unmounted when dropped.
struct SmallMount(tempfile::TempDir);

impl SmallMount {
    /// Returns `None` without the permission to mount.
    fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", size, "tmpfs"])
            .arg(folder.path())
            .output();
        if mounted.is_ok_and(|mounted| mounted.status.success()) {
            return Some(Self(folder));
        }
        skipped("no permission to mount a file system");
        None
    }
}

impl Drop for SmallMount {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(unmounted.unwrap().success());
    }
}

#[tokio::test]
async fn a_full_disk_is_reported_and_the_partial_upload_removed() {
    let Some(small) = SmallMount::mount("size=2m") else {
        return;
    };
    let disk = disk(small.0.path());
    put(&disk, key(1), &noise(500_000)).await.unwrap();
    for _ in 0..2 {
        let error = put(&disk, key(2), &noise(3_000_000)).await.unwrap_err();
        assert!(
            matches!(
                error,
                Error::Full {
                    shortage: Shortage::Space,
                    ..
                }
            ),
            "{error:?}"
        );
        assert!(!error.is_temporary());
        assert_invisible(&disk, key(2)).await;
        assert_eq!(partials(&disk).await, []);
    }
    // An object that fits can still be written.
    put(&disk, key(3), &noise(1_000_000)).await.unwrap();
    assert!(read_all(&disk, key(1)).await == noise(500_000));
}

#[tokio::test]
async fn a_read_only_disk_refuses_writes_and_can_still_be_read() {
    let Some(small) = SmallMount::mount("size=2m") else {
        return;
    };
    let disk = disk(small.0.path());
    put(&disk, key(1), &noise(500_000)).await.unwrap();
    let mut upload = disk.begin(key(2), SIZE_MAX).await.unwrap();
    upload.write(noise(5_000)).await.unwrap();
    upload.abort().await.unwrap();
    let remounted = Command::new("mount")
        .args(["-o", "remount,ro"])
        .arg(small.0.path())
        .status();
    assert!(remounted.unwrap().success());
    for error in [
        put(&disk, key(2), &noise(3)).await.unwrap_err(),
        disk.delete(key(1)).await.unwrap_err(),
        disk.check().await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::Denied { .. }), "{error:?}");
    }
    assert!(read_all(&disk, key(1)).await == noise(500_000));
}

#[tokio::test]
async fn an_object_that_is_a_link_or_a_fifo_is_damaged_and_never_followed() {
    use std::os::unix::fs::symlink;
    let root = tempfile::tempdir().unwrap();
    let disk = disk(root.path());
    let secret = root.path().join("secret");
    fs_err::write(&secret, "secret").unwrap();
    put(&disk, key(1), &noise(3)).await.unwrap();
    let folder = root.path().join(server(1).to_string());
    let path = |n| folder.join(format!("{}.tar.gz", backup(n)));
    symlink(&secret, path(2)).unwrap();
    symlink(path(1), path(3)).unwrap();
    fs_err::create_dir(path(4)).unwrap();
    let made = Command::new("mkfifo").arg(path(5)).status();
    assert!(made.unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(path(6)).unwrap();
    // The whole folder of a server may be a link, too.
    let other = root.path().join(server(2).to_string());
    symlink(&folder, &other).unwrap();
    let mut linked = archive_key(1, 1);
    linked.server = server(2);
    let keys = (2..=6).map(key);
    for key in keys.chain([holdfast_storage::StorageKey::Archive(linked)]) {
        let refused = [
            disk.size(key).await.err(),
            disk.open(key).await.err(),
            disk.read(key, 0..10).await.err(),
        ];
        for error in refused {
            assert!(matches!(error, Some(Error::Damaged { .. })), "{error:?}");
        }
    }
    assert_eq!(list(&disk, Some(server(1))).await, [key(1)]);
    // Deleting removes the link, not the file that it leads to.
    disk.delete(key(3)).await.unwrap();
    disk.delete_backup(server(1), backup(2)).await.unwrap();
    assert_eq!(fs_err::read(&secret).unwrap(), b"secret");
    assert!(read_all(&disk, key(1)).await == noise(3));
}
