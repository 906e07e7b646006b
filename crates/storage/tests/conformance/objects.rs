//! Keys, contents and helpers of the tests.

use bytes::Bytes;
use uuid::Uuid;

use holdfast_domain::{BackupId, ServerId};
use holdfast_storage::{ArchiveKey, Disk, Error, ObjectReader, PartialUpload, StorageKey};

/// The announced maximum size of uploads.
pub(crate) const SIZE_MAX: u64 = 1 << 30;

pub(crate) fn server(n: u128) -> ServerId {
    ServerId(Uuid::from_u128(
        0xd3aa_c109_45e1_4c23_9a84_0000_0000_0000 + n,
    ))
}

pub(crate) fn backup(n: u128) -> BackupId {
    BackupId(Uuid::from_u128(
        0xa496_2fe6_90c8_4b89_ba62_0000_0000_0000 + n,
    ))
}

/// Returns the key of an attempt of backup `n` of server 1.
pub(crate) fn archive_key(n: u128, attempt: u32) -> ArchiveKey {
    ArchiveKey {
        server: server(1),
        backup: backup(n),
        attempt,
    }
}

pub(crate) fn key(n: u128) -> StorageKey {
    StorageKey::Archive(archive_key(n, 1))
}

/// Returns pseudo-random bytes.
pub(crate) fn noise(length: usize) -> Bytes {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64 ^ length as u64 | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

/// Writes an object, in chunks whose size divides neither parts nor buffers.
pub(crate) async fn put(disk: &Disk, key: StorageKey, content: &Bytes) -> Result<(), Error> {
    let mut upload = disk.begin(key, SIZE_MAX).await?;
    for piece in content.chunks(999_983) {
        upload.write(content.slice_ref(piece)).await?;
    }
    upload.finish().await
}

/// Returns all partial uploads.
pub(crate) async fn partials(disk: &Disk) -> Vec<PartialUpload> {
    let mut listing = disk.partials();
    let mut found = Vec::new();
    while let Some(page) = listing.next_page().await.unwrap() {
        found.extend(page);
    }
    found
}

pub(crate) async fn read_all(disk: &Disk, key: StorageKey) -> Bytes {
    collect(disk.read(key, 0..u64::MAX).await.unwrap())
        .await
        .unwrap()
}

pub(crate) async fn collect(mut reader: ObjectReader) -> Result<Bytes, Error> {
    let mut found = Vec::new();
    while let Some(piece) = reader.next().await? {
        assert!(!piece.is_empty(), "a piece has bytes");
        found.extend_from_slice(&piece);
    }
    assert_eq!(reader.left_bytes(), 0);
    Ok(found.into())
}

/// Asserts that a key can't be read, queried or listed.
pub(crate) async fn assert_invisible(disk: &Disk, key: StorageKey) {
    for missing in [
        disk.size(key).await.err(),
        disk.read(key, 0..1).await.err(),
        disk.read(key, 0..0).await.err(),
    ] {
        assert!(
            matches!(missing, Some(Error::NotFound { .. })),
            "{missing:?}"
        );
    }
    let listed = list(disk, Some(key.archive().server)).await;
    assert!(!listed.contains(&key), "{listed:?}");
}

pub(crate) async fn list(disk: &Disk, server: Option<ServerId>) -> Vec<StorageKey> {
    let mut listing = disk.list(server);
    let mut found = Vec::new();
    while let Some(page) = listing.next_page().await.unwrap() {
        found.extend(page.into_iter().map(|object| object.key));
    }
    found
}

/// Returns an error with its sources, as logs show it.
pub(crate) fn error_text(error: &Error) -> String {
    holdfast_domain::error_chain::chain(error)
}
