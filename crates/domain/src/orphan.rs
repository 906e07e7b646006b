//! Whether what lies on a disk may be removed because nobody needs it.
//!
//! Only what this database can prove to be left over is: that the database does not know something proves
//! nothing, since it may be new, or an older copy of itself, while the disk holds everybody's backups.

/// What the database says of the backup that an object belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traces {
    /// Whether it knows the server.
    pub is_server_known: bool,
    /// What it holds of the backup, if the archive is to lie on this disk.
    pub row: Row,
    /// Whether a job of the backup has not ended.
    pub is_in_use: bool,
    /// Whether it remembers that the backup was deleted.
    pub was_deleted: bool,
}

/// A backup as far as it decides about objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
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
pub fn fate(attempt: u32, traces: &Traces) -> Fate {
    if traces.is_in_use {
        return Fate::Needed;
    }
    match traces.row {
        Row::Creating => Fate::Needed,
        Row::Completed { attempt: wrote } if wrote == attempt => Fate::Needed,
        // Every attempt has keys of its own, and the one that counted is another.
        Row::Completed { .. } | Row::Failed => Fate::LeftOver,
        Row::None if traces.is_server_known && traces.was_deleted => Fate::LeftOver,
        Row::None | Row::Elsewhere => Fate::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_proven_to_be_left_over_is() {
        let traces = |row, was_deleted| Traces {
            is_server_known: true,
            row,
            is_in_use: false,
            was_deleted,
        };
        for (row, was_deleted, expected) in [
            (Row::Creating, false, Fate::Needed),
            (Row::Completed { attempt: 2 }, false, Fate::Needed),
            (Row::Completed { attempt: 1 }, false, Fate::LeftOver),
            (Row::Completed { attempt: 3 }, false, Fate::LeftOver),
            (Row::Failed, false, Fate::LeftOver),
            (Row::Elsewhere, false, Fate::Unknown),
            (Row::Elsewhere, true, Fate::Unknown),
            (Row::None, false, Fate::Unknown),
            (Row::None, true, Fate::LeftOver),
        ] {
            let known = traces(row, was_deleted);
            assert_eq!(fate(2, &known), expected, "{known:?}");
            let used = Traces {
                is_in_use: true,
                ..known
            };
            assert_eq!(fate(2, &used), Fate::Needed, "{used:?}");
            let strange = Traces {
                is_server_known: false,
                ..known
            };
            if row == Row::None {
                assert_eq!(fate(2, &strange), Fate::Unknown, "{strange:?}");
            }
        }
    }
}
