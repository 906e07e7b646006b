//! Whether what lies on a disk may be removed because nobody needs it.
//!
//! Only what this database can prove to be left over is: that the database does not know something proves
//! nothing, since it may be new, or an older copy of itself, while the disk holds everybody's backups.

/// What the database says of the backup that an object belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupRecord {
    /// Whether it knows the server.
    pub is_server_known: bool,
    /// What it holds of the backup, if the archive is to lie on this disk.
    pub row: RecordState,
    /// Whether a job of the backup has not ended.
    pub is_in_use: bool,
    /// Whether it remembers that the backup was deleted.
    pub was_deleted: bool,
}

/// A backup as far as it decides about objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordState {
    /// There is none.
    None,
    /// There is one, whose archive lies on another disk.
    Elsewhere,
    /// It is being created.
    Creating,
    /// It has the archive that this attempt wrote.
    Completed {
        /// The attempt.
        attempt: u32,
    },
    /// It has no archive.
    Failed,
}

/// What becomes of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is needed.
    Needed,
    /// It is left over, for certain.
    LeftOver,
    /// Nobody here knows it: it is told of, and stays unless somebody says otherwise.
    Unknown,
}

/// Decides about an object of the attempt `attempt`.
pub fn fate(attempt: u32, traces: &BackupRecord) -> Fate {
    if traces.is_in_use {
        return Fate::Needed;
    }
    match traces.row {
        RecordState::Creating => Fate::Needed,
        RecordState::Completed { attempt: wrote } if wrote == attempt => Fate::Needed,
        // Every attempt has keys of its own, and the one that counted is another.
        RecordState::Completed { .. } | RecordState::Failed => Fate::LeftOver,
        RecordState::None if traces.is_server_known && traces.was_deleted => Fate::LeftOver,
        RecordState::None | RecordState::Elsewhere => Fate::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_proven_to_be_left_over_is() {
        let traces = |row, was_deleted| BackupRecord {
            is_server_known: true,
            row,
            is_in_use: false,
            was_deleted,
        };
        for (row, was_deleted, expected) in [
            (RecordState::Creating, false, Fate::Needed),
            (RecordState::Completed { attempt: 2 }, false, Fate::Needed),
            (RecordState::Completed { attempt: 1 }, false, Fate::LeftOver),
            (RecordState::Completed { attempt: 3 }, false, Fate::LeftOver),
            (RecordState::Failed, false, Fate::LeftOver),
            (RecordState::Elsewhere, false, Fate::Unknown),
            (RecordState::Elsewhere, true, Fate::Unknown),
            (RecordState::None, false, Fate::Unknown),
            (RecordState::None, true, Fate::LeftOver),
        ] {
            let known = traces(row, was_deleted);
            assert_eq!(fate(2, &known), expected, "{known:?}");
            let used = BackupRecord {
                is_in_use: true,
                ..known
            };
            assert_eq!(fate(2, &used), Fate::Needed, "{used:?}");
            let strange = BackupRecord {
                is_server_known: false,
                ..known
            };
            if row == RecordState::None {
                assert_eq!(fate(2, &strange), Fate::Unknown, "{strange:?}");
            }
        }
    }
}
