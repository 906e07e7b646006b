//! What only a folder has to hold.

use std::path::Path;
use std::process::Command;

use holdfast_storage::{Disk, Error};

use crate::objects::{
    MOST, archive_key, assert_invisible, backup, key, noise, partials, put, read_all, server, told,
};
use crate::places::{name, skipped};

fn disk(root: &Path) -> Disk {
    Disk::local(name("local"), root).unwrap()
}

#[tokio::test]
async fn objects_lie_by_server_and_backup_and_empty_folders_go() {
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
async fn a_disk_that_is_gone_is_an_error_and_never_a_success() {
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("disk");
    let disk = disk(&root);
    disk.check().await.unwrap();
    fs_err::rename(&root, parent.path().join("away")).unwrap();
    assert!(disk.check().await.is_err());
    assert!(
        disk.begin(key(1), MOST).await.is_err(),
        "an unmounted disk must not be made anew"
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
async fn a_disk_that_is_known_to_hold_archives_is_never_made_anew() {
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("disk");
    let open = || Disk::local_in_use(name("local"), &root).unwrap();
    // Neither where nothing is, nor where nothing is mounted.
    let unmounted = open();
    assert!(!root.exists());
    fs_err::create_dir_all(root.join("lost+found")).unwrap();
    for disk in [&unmounted, &open()] {
        let told = told(&disk.check().await.unwrap_err());
        let helps = "mount it, or, to begin anew, write `local` into that file";
        assert!(told.contains(helps), "{told}");
        for error in [
            disk.begin(key(1), MOST).await.unwrap_err(),
            disk.size(key(1)).await.unwrap_err(),
            disk.free_bytes().await.unwrap_err(),
            disk.delete_backup(server(1), backup(1)).await.unwrap_err(),
            disk.list(None).next_page().await.unwrap_err(),
        ] {
            assert!(
                matches!(error, Error::Unavailable { .. }) && error.may_pass(),
                "{error:?}"
            );
        }
    }
    assert_eq!(fs_err::read_dir(&root).unwrap().count(), 1);
    // Whoever wants to begin anew says so, and nobody has to start again.
    fs_err::write(root.join(".holdfast-disk"), "local").unwrap();
    put(&unmounted, key(1), &noise(3)).await.unwrap();
    // A disk that has lost nothing but its mark, as by a copy without hidden files, gets it back.
    fs_err::remove_file(root.join(".holdfast-disk")).unwrap();
    assert!(unmounted.check().await.is_err());
    open().check().await.unwrap();
    assert!(read_all(&unmounted, key(1)).await == noise(3));
}

#[test]
fn a_root_of_another_disk_or_a_file_is_refused_by_name() {
    let root = tempfile::tempdir().unwrap();
    disk(root.path());
    let other = Disk::local(name("other"), root.path());
    assert!(error_text(other).contains("belongs to disk `local`"));
    let file = root.path().join("file");
    fs_err::write(&file, b"").unwrap();
    let refused = Disk::local(name("other"), &file);
    assert!(error_text(refused).contains("file"));
}

fn error_text(result: Result<Disk, Error>) -> String {
    told(&result.unwrap_err())
}

/// A small disk of its own. It ends when dropped.
struct Small(tempfile::TempDir);

impl Small {
    /// Only root may mount one.
    fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", size, "tmpfs"])
            .arg(folder.path())
            .output();
        if mounted.is_ok_and(|mounted| mounted.status.success()) {
            return Some(Self(folder));
        }
        skipped("mounting a small disk is forbidden here");
        None
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(unmounted.unwrap().success());
    }
}

#[tokio::test]
async fn a_full_disk_is_told_as_that_and_what_was_written_goes() {
    let Some(small) = Small::mount("size=2m") else {
        return;
    };
    let disk = disk(small.0.path());
    put(&disk, key(1), &noise(500_000)).await.unwrap();
    for _ in 0..2 {
        let error = put(&disk, key(2), &noise(3_000_000)).await.unwrap_err();
        assert!(matches!(error, Error::Full { .. }), "{error:?}");
        assert!(!error.may_pass());
        assert_invisible(&disk, key(2)).await;
        assert_eq!(partials(&disk).await, []);
    }
    // There is room again for what fits.
    put(&disk, key(3), &noise(1_000_000)).await.unwrap();
    assert!(read_all(&disk, key(1)).await == noise(500_000));
}

#[tokio::test]
async fn a_disk_that_has_become_read_only_refuses_and_can_still_be_read() {
    let Some(small) = Small::mount("size=2m") else {
        return;
    };
    let disk = disk(small.0.path());
    put(&disk, key(1), &noise(500_000)).await.unwrap();
    let mut upload = disk.begin(key(2), MOST).await.unwrap();
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
