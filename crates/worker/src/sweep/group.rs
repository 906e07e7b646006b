//! The objects of one backup on a disk, as a sweep compares them with the database.

use holdfast_db::maintenance::BackupOnDisk;
use holdfast_storage::{Object, StorageKey};

/// The objects of one backup.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) of: BackupOnDisk,
    pub(super) objects: Vec<Object>,
}

impl Group {
    /// Returns whether the group holds the archive that `attempt` wrote.
    pub(super) fn has_archive_of(&self, attempt: u32) -> bool {
        let is_it = |object: &Object| match object.key {
            StorageKey::Archive(key) => key.attempt == attempt,
            StorageKey::Index(_) | StorageKey::Manifest(_) => false,
        };
        self.objects.iter().any(is_it)
    }
}
