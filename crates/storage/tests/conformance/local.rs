//! What only a folder has to hold.

use std::path::Path;

use holdfast_storage::{Disk, Error};

use crate::objects::{MOST, archive_key, backup, key, noise, put, server, told};
use crate::places::name;

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
