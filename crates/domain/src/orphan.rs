//! Decides whether an object on a disk is orphaned, so that a sweep may delete it.
//!
//! An object is orphaned only if the database proves it. A missing row proves nothing: the database
//! may be new or restored from an older copy, while the disk still holds every archive.

/// The database's record of the backup that an object belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupRecord {
    /// Whether the server has a row.
    pub is_server_known: bool,
    /// The backup's row.
    pub row: RecordState,
    /// Whether the backup has an unfinished job.
    pub is_in_use: bool,
    /// Whether the audit log or the job table shows that the backup was deleted.
    pub was_deleted: bool,
}

/// The state of a backup's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordState {
    /// There is no row.
    None,
    /// The backup's archive is on another disk.
    OnOtherDisk,
    /// The backup is being created.
    Creating,
    /// The backup has an archive.
    Completed {
        /// The attempt that wrote the archive.
        attempt: u32,
    },
    /// The backup failed and has no archive.
    Failed,
}

/// Whether an object is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectStatus {
    /// A backup needs it.
    Needed,
    /// No backup needs it. It may be deleted.
    Orphaned,
    /// The database has no record of it. It is reported, and deleted only on explicit request.
    Unknown,
}

/// Returns the status of an object that attempt `attempt` wrote.
///
/// ```
/// use holdfast_domain::orphan::{BackupRecord, ObjectStatus, RecordState, object_status};
///
/// let record = BackupRecord {
///     is_server_known: true,
///     row: RecordState::Completed { attempt: 2 },
///     is_in_use: false,
///     was_deleted: false,
/// };
/// assert_eq!(object_status(1, &record), ObjectStatus::Orphaned);
/// assert_eq!(object_status(2, &record), ObjectStatus::Needed);
/// ```
pub fn object_status(attempt: u32, record: &BackupRecord) -> ObjectStatus {
    if record.is_in_use {
        return ObjectStatus::Needed;
    }
    match record.row {
        RecordState::Creating => ObjectStatus::Needed,
        RecordState::Completed { attempt: stored } if stored == attempt => ObjectStatus::Needed,
        // Each attempt has its own keys, and another attempt wrote the archive.
        RecordState::Completed { .. } | RecordState::Failed => ObjectStatus::Orphaned,
        RecordState::None if record.is_server_known && record.was_deleted => ObjectStatus::Orphaned,
        RecordState::None | RecordState::OnOtherDisk => ObjectStatus::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_orphaned_only_if_the_database_proves_it() {
        let record = |row, was_deleted| BackupRecord {
            is_server_known: true,
            row,
            is_in_use: false,
            was_deleted,
        };
        for (row, was_deleted, expected) in [
            (RecordState::Creating, false, ObjectStatus::Needed),
            (
                RecordState::Completed { attempt: 2 },
                false,
                ObjectStatus::Needed,
            ),
            (
                RecordState::Completed { attempt: 1 },
                false,
                ObjectStatus::Orphaned,
            ),
            (
                RecordState::Completed { attempt: 3 },
                false,
                ObjectStatus::Orphaned,
            ),
            (RecordState::Failed, false, ObjectStatus::Orphaned),
            (RecordState::OnOtherDisk, false, ObjectStatus::Unknown),
            (RecordState::OnOtherDisk, true, ObjectStatus::Unknown),
            (RecordState::None, false, ObjectStatus::Unknown),
            (RecordState::None, true, ObjectStatus::Orphaned),
        ] {
            let known = record(row, was_deleted);
            assert_eq!(object_status(2, &known), expected, "{known:?}");
            let used = BackupRecord {
                is_in_use: true,
                ..known
            };
            assert_eq!(object_status(2, &used), ObjectStatus::Needed, "{used:?}");
            let unknown = BackupRecord {
                is_server_known: false,
                ..known
            };
            if row == RecordState::None {
                assert_eq!(
                    object_status(2, &unknown),
                    ObjectStatus::Unknown,
                    "{unknown:?}"
                );
            }
        }
    }
}
