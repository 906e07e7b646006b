//! The promises of `holdfast_storage`, held against a real folder.

use std::io::Read;
use std::path::Path;

use bytes::Bytes;
use holdfast_domain::{BackupId, DiskName, ServerId};
use holdfast_storage::{ArchiveKey, Disk, Error, LocalDisk, StorageKey};

const SERVER: &str = "d3aac109-45e1-4c23-9a84-c8d5f06b93a1";
const BACKUP: &str = "a4962fe6-90c8-4b89-ba62-a5d3b06426c0";

fn disk(root: &Path) -> Disk {
    Disk::Local(
        LocalDisk::open_root(DiskName::parse("local").expect("a name"), root).expect("a disk"),
    )
}

fn key(attempt: u32) -> StorageKey {
    StorageKey::Archive(ArchiveKey {
        server: server(),
        backup: backup(),
        attempt,
    })
}

fn server() -> ServerId {
    ServerId::parse(SERVER).expect("a UUID")
}

fn backup() -> BackupId {
    BackupId::parse(BACKUP).expect("a UUID")
}

async fn put(disk: &Disk, key: StorageKey, content: &'static [u8]) -> Result<(), Error> {
    let mut upload = disk.begin(key).await?;
    upload.write(Bytes::from_static(content)).await?;
    upload.finish().await
}

async fn read(disk: &Disk, key: StorageKey) -> String {
    let mut text = String::new();
    disk.open(key)
        .await
        .expect("an object")
        .read_to_string(&mut text)
        .expect("its text");
    text
}

#[tokio::test]
async fn nothing_is_visible_before_finish_and_everything_after() {
    let root = tempfile::tempdir().expect("a folder");
    let disk = disk(root.path());
    let mut upload = disk.begin(key(1)).await.expect("an upload");
    upload
        .write(Bytes::from_static(b"hello "))
        .await
        .expect("a write");
    assert!(matches!(
        disk.size(key(1)).await,
        Err(Error::NotFound { .. })
    ));
    assert!(matches!(
        disk.open(key(1)).await,
        Err(Error::NotFound { .. })
    ));
    assert_eq!(disk.partials().await.expect("a list").len(), 1);
    upload
        .write(Bytes::from_static(b"world"))
        .await
        .expect("a write");
    upload.finish().await.expect("an end");
    assert_eq!(disk.size(key(1)).await.expect("a size"), 11);
    assert_eq!(read(&disk, key(1)).await, "hello world");
    assert_eq!(disk.partials().await.expect("a list"), []);
    assert!(
        root.path()
            .join(format!("{SERVER}/{BACKUP}.tar.gz"))
            .is_file()
    );
}

#[tokio::test]
async fn an_upload_that_is_aborted_or_dropped_leaves_nothing() {
    let root = tempfile::tempdir().expect("a folder");
    let disk = disk(root.path());
    for abort in [true, false] {
        let mut upload = disk.begin(key(1)).await.expect("an upload");
        upload
            .write(Bytes::from_static(b"x"))
            .await
            .expect("a write");
        if abort {
            upload.abort().await.expect("an abort");
        } else {
            drop(upload);
        }
        assert!(matches!(
            disk.size(key(1)).await,
            Err(Error::NotFound { .. })
        ));
        assert_eq!(disk.partials().await.expect("a list"), []);
    }
}

#[tokio::test]
async fn what_a_killed_upload_left_is_found_and_removed() {
    let root = tempfile::tempdir().expect("a folder");
    let disk = disk(root.path());
    let mut upload = disk.begin(key(2)).await.expect("an upload");
    upload
        .write(Bytes::from_static(b"x"))
        .await
        .expect("a write");
    std::mem::forget(upload);
    let partials = disk.partials().await.expect("a list");
    assert_eq!(partials.iter().map(|p| p.key).collect::<Vec<_>>(), [key(2)]);
    disk.remove_partial(&partials[0]).await.expect("a removal");
    disk.remove_partial(&partials[0])
        .await
        .expect("a second removal");
    assert_eq!(disk.partials().await.expect("a list"), []);
}

#[tokio::test]
async fn a_second_writer_can_not_overwrite() {
    let root = tempfile::tempdir().expect("a folder");
    let disk = disk(root.path());
    put(&disk, key(1), b"first").await.expect("an object");
    assert!(matches!(
        put(&disk, key(1), b"second").await,
        Err(Error::Exists { .. })
    ));
    assert_eq!(read(&disk, key(1)).await, "first");
    assert_eq!(disk.partials().await.expect("a list"), []);
}

#[tokio::test]
async fn deleting_takes_every_attempt_of_one_backup_and_is_idempotent() {
    let root = tempfile::tempdir().expect("a folder");
    let disk = disk(root.path());
    let other = StorageKey::Archive(ArchiveKey {
        server: server(),
        backup: BackupId(holdfast_uuid(7)),
        attempt: 1,
    });
    for key in [key(1), key(2), other] {
        put(&disk, key, b"x").await.expect("an object");
    }
    for _ in 0..2 {
        disk.delete_backup(server(), backup())
            .await
            .expect("a deletion");
    }
    assert!(matches!(
        disk.size(key(1)).await,
        Err(Error::NotFound { .. })
    ));
    assert!(matches!(
        disk.size(key(2)).await,
        Err(Error::NotFound { .. })
    ));
    assert_eq!(disk.size(other).await.expect("a size"), 1);
    for _ in 0..2 {
        disk.delete(other).await.expect("a deletion");
    }
    disk.delete_backup(server(), backup())
        .await
        .expect("a deletion");
    assert!(!root.path().join(SERVER).exists(), "the empty folder stays");
}

fn holdfast_uuid(n: u128) -> uuid::Uuid {
    uuid::Uuid::from_u128(n)
}

#[tokio::test]
async fn a_disk_that_is_gone_is_an_error_and_never_a_success() {
    let parent = tempfile::tempdir().expect("a folder");
    let root = parent.path().join("disk");
    let disk = disk(&root);
    disk.check().await.expect("a healthy disk");
    fs_err::rename(&root, parent.path().join("away")).expect("a rename");
    assert!(disk.check().await.is_err());
    assert!(
        disk.begin(key(1)).await.is_err(),
        "an unmounted disk must not be made anew"
    );
    for missing in [disk.open(key(1)).await.err(), disk.size(key(1)).await.err()] {
        assert!(
            matches!(missing, Some(Error::Unavailable { .. })),
            "{missing:?}"
        );
    }
    assert!(disk.delete(key(1)).await.is_err());
    assert!(disk.delete_backup(server(), backup()).await.is_err());
    assert!(!root.exists());
}

#[test]
fn a_root_of_another_disk_or_a_file_is_refused_by_name() {
    let root = tempfile::tempdir().expect("a folder");
    disk(root.path());
    let other = LocalDisk::open_root(DiskName::parse("other").expect("a name"), root.path());
    assert!(error_text(other).contains("belongs to disk `local`"));
    let file = root.path().join("file");
    fs_err::write(&file, b"").expect("a file");
    let refused = LocalDisk::open_root(DiskName::parse("other").expect("a name"), &file);
    assert!(error_text(refused).contains("file"));
}

fn error_text<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    let error = result.expect_err("a refusal");
    match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
