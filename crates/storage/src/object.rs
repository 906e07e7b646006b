//! Entries of a disk's listings: complete objects and partial uploads.

use std::time::SystemTime;

use crate::key::StorageKey;

/// A complete object on a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: StorageKey,
    /// Its size on the disk, in bytes.
    pub size_bytes: u64,
    /// When it was written, by the disk's clock; `None` if the disk does not tell.
    pub written_at: Option<SystemTime>,
}

/// What an unfinished upload left on a disk. The upload may still be running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartialUpload {
    /// The key that the upload was for.
    pub key: StorageKey,
    /// The path or upload ID by which [`Disk::remove_partial`](crate::Disk::remove_partial) finds
    /// it.
    pub handle: String,
    /// When it was last written to, or else begun, by the disk's clock; `None` if the disk does not
    /// tell.
    pub written_at: Option<SystemTime>,
}
