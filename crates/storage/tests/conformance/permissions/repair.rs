//! The repair of the permissions that another version, umask or group has left on a disk.

use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;
use std::process::Command;

use holdfast_storage::StorageKey;

use super::{GROUP, disk, folder, is_root, mode, path, repair, set_mode};
use crate::mounts::LoopMount;
use crate::objects::{
    SIZE_MAX, archive_key, backup, error_text, key, list, noise, put, read_all, server,
};

/// Opens everything on a disk to all users, as versions before this one left it. Links are not
/// followed.
fn open_to_all(root: &Path) {
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        set_mode(&folder, 0o755);
        for entry in fs_err::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                set_mode(&entry.path(), 0o644);
            }
        }
    }
}

#[tokio::test]
async fn an_old_disk_is_closed_at_once_and_its_files_one_after_the_other() {
    let root = tempfile::tempdir().unwrap();
    let first = disk(root.path(), None);
    let mut second = archive_key(3, 1);
    second.server = server(2);
    let second = StorageKey::Archive(second);
    for key in [key(1), key(2), second] {
        put(&first, key, &noise(3)).await.unwrap();
    }
    open_to_all(root.path());
    let disk = disk(root.path(), None);
    assert_eq!(mode(root.path()), 0o700, "the root closes the whole disk");
    assert_eq!(mode(&root.path().join(".holdfast-disk")), 0o600);
    assert_eq!(mode(&path(root.path(), 1)), 0o644);
    // Stopped before the second server, as a kill would, and started again.
    let steps = std::cell::Cell::new(0);
    let is_stopped = || steps.replace(steps.get() + 1) == 1;
    assert_eq!(disk.repair_permissions(is_stopped).await.unwrap(), 3);
    assert_eq!(repair(&disk).await, 2);
    assert_eq!(repair(&disk).await, 0);
    for n in [1, 2] {
        assert_eq!(mode(&path(root.path(), n)), 0o600);
    }
    assert_eq!(mode(&root.path().join(second.path())), 0o600);
    for n in [1, 2] {
        assert_eq!(mode(&root.path().join(server(n).to_string())), 0o700);
    }
    assert!(read_all(&disk, key(1)).await == noise(3));
}

#[tokio::test]
async fn a_repair_follows_no_links_and_changes_only_files_of_the_disk() {
    let top = tempfile::tempdir().unwrap();
    let (root, outside) = (top.path().join("disk"), top.path().join("outside"));
    let disk = disk(&root, None);
    put(&disk, key(1), &noise(3)).await.unwrap();
    fs_err::create_dir(&outside).unwrap();
    let [linked, hard, inner] = ["linked", "hard", "x.tar.gz"].map(|name| outside.join(name));
    for file in [&linked, &hard, &inner] {
        fs_err::write(file, "mine").unwrap();
        set_mode(file, 0o644);
    }
    let object = |n| path(&root, n);
    symlink(&linked, object(2)).unwrap();
    fs_err::hard_link(&hard, object(3)).unwrap();
    let made = Command::new("mkfifo")
        .args(["-m", "644"])
        .arg(object(4))
        .status();
    assert!(made.unwrap().success());
    fs_err::create_dir(object(5)).unwrap();
    set_mode(&object(5), 0o755);
    // A folder of a server that is a link, to a folder with an object's name in it.
    fs_err::rename(&inner, outside.join(format!("{}.tar.gz", backup(1)))).unwrap();
    let inner = outside.join(format!("{}.tar.gz", backup(1)));
    symlink(&outside, root.join(server(2).to_string())).unwrap();
    let foreign = folder(&root).join("notes.txt");
    fs_err::write(&foreign, "mine").unwrap();
    set_mode(&foreign, 0o644);
    set_mode(&outside, 0o755);
    set_mode(&object(1), 0o666);

    assert_eq!(repair(&disk).await, 1, "only the archive");
    assert_eq!(mode(&object(1)), 0o600);
    for (path, expected) in [
        (&linked, 0o644),
        (&hard, 0o644),
        (&inner, 0o644),
        (&outside, 0o755),
        (&foreign, 0o644),
        (&object(4), 0o644),
        (&object(5), 0o755),
    ] {
        assert_eq!(mode(path), expected, "{}", path.display());
    }
    // An upload does not go through such a link either.
    let mut other = archive_key(9, 1);
    other.server = server(2);
    let refused = disk.begin(StorageKey::Archive(other), SIZE_MAX).await;
    let text = error_text(&refused.unwrap_err());
    assert!(text.contains("cannot open folder"), "{text}");
    assert_eq!(fs_err::read_dir(&outside).unwrap().count(), 3);
}

#[tokio::test]
async fn a_folder_with_other_files_keeps_its_mode_and_the_archives_in_it_are_closed() {
    let root = tempfile::tempdir().unwrap();
    fs_err::create_dir(root.path().join("a server's directory")).unwrap();
    set_mode(root.path(), 0o755);
    let disk = disk(root.path(), None);
    put(&disk, key(1), &noise(3)).await.unwrap();
    assert_eq!(repair(&disk).await, 0);
    assert_eq!(mode(root.path()), 0o755);
    assert_eq!(mode(&folder(root.path())), 0o700);
    // A folder like /tmp, even if it is empty.
    let shared = tempfile::tempdir().unwrap();
    set_mode(shared.path(), 0o1777);
    super::disk(shared.path(), None);
    assert_eq!(mode(shared.path()), 0o1777);
}

#[tokio::test]
async fn another_group_in_the_settings_is_given_to_existing_files() {
    if !is_root() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    put(&disk(root.path(), None), key(1), &noise(3))
        .await
        .unwrap();
    for (group, file, folder_mode) in [
        (Some(GROUP), 0o640, 0o750),
        (Some(GROUP + 1), 0o640, 0o750),
        (None, 0o600, 0o700),
    ] {
        let disk = disk(root.path(), group);
        assert_eq!(disk.readers(), group);
        assert_eq!(repair(&disk).await, 2, "the folder and the archive");
        assert_eq!(repair(&disk).await, 0);
        for (path, expected) in [
            (root.path(), folder_mode),
            (&folder(root.path()), folder_mode),
            (&path(root.path(), 1), file),
            (&root.path().join(".holdfast-disk"), file),
        ] {
            assert_eq!(mode(path), expected, "{} {group:?}", path.display());
            if let Some(group) = group {
                assert_eq!(fs_err::metadata(path).unwrap().gid(), group);
            }
        }
    }
}

#[tokio::test]
async fn a_folder_that_an_operator_shares_with_its_group_stays_shared() {
    if !is_root() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    // As systemd-tmpfiles makes it for an API and a worker of different users.
    std::os::unix::fs::chown(root.path(), Some(1234), Some(GROUP)).unwrap();
    set_mode(root.path(), 0o2770);
    let disk = disk(root.path(), None);
    assert_eq!(disk.readers(), Some(GROUP));
    put(&disk, key(1), &noise(3)).await.unwrap();
    assert_eq!(mode(root.path()), 0o2770);
    for (path, expected) in [
        (&folder(root.path()), 0o750),
        (&path(root.path(), 1), 0o640),
        (&root.path().join(".holdfast-disk"), 0o640),
    ] {
        assert_eq!(mode(path), expected, "{}", path.display());
        assert_eq!(fs_err::metadata(path).unwrap().gid(), GROUP);
    }
    assert_eq!(repair(&disk).await, 0);
}

#[tokio::test]
async fn files_of_other_users_are_left_and_do_not_fail_the_start() {
    if !is_root() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    put(&disk(root.path(), None), key(1), &noise(3))
        .await
        .unwrap();
    open_to_all(root.path());
    std::os::unix::fs::chown(path(root.path(), 1), Some(1234), None).unwrap();
    std::os::unix::fs::chown(root.path(), Some(1234), None).unwrap();
    let disk = disk(root.path(), None);
    assert_eq!(repair(&disk).await, 1, "the folder of the server");
    assert_eq!(mode(&path(root.path(), 1)), 0o644);
    assert_eq!(mode(root.path()), 0o755);
}

#[tokio::test]
async fn file_systems_without_modes_or_read_only_do_not_fail_a_repair() {
    if let Some(mount) = LoopMount::mount(16, &["mkfs.vfat"]) {
        let disk = disk(&mount.root(), None);
        put(&disk, key(1), &noise(3)).await.unwrap();
        assert_eq!(repair(&disk).await, 0);
    }
    let Some(mount) = LoopMount::mount(8, &["mkfs.ext4", "-q"]) else {
        return;
    };
    let disk = disk(&mount.root(), None);
    put(&disk, key(1), &noise(3)).await.unwrap();
    assert_eq!(mode(&mount.root()), 0o700, "it contains lost+found");
    open_to_all(&mount.root());
    let mut remount = Command::new("mount");
    let remounted = remount
        .args(["-o", "remount,ro"])
        .arg(mount.root())
        .status();
    assert!(remounted.unwrap().success());
    assert_eq!(repair(&disk).await, 0);
    assert_eq!(list(&disk, None).await, [key(1)]);
}
