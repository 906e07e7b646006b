//! How an attempt of a job ended.

use std::fmt;

use holdfast_db::jobs::JobFailure;
use holdfast_domain::backup::{BackupNotes, CompletedBackup};
use holdfast_domain::error_chain::chain;

use crate::backup_mode::BackupMode;
use crate::verify_archive::ArchiveVerdict;

/// What a job that succeeded has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JobSuccess {
    /// Stored the archive of a backup.
    Created(CompletedBackup, BackupMode),
    /// Restored the server's files, with these notes.
    Restored(BackupNotes),
    /// Removed the backup's objects.
    Deleted,
    /// Removed the server's archives, or kept them as requested.
    ServerDeleted,
    /// Verified an archive.
    Verified(ArchiveVerdict),
    /// Ran a task of a schedule.
    TaskRun,
    /// There was nothing left to do.
    NothingToDo,
}

/// Why an attempt of a job did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JobError {
    /// It was stopped: the job was cancelled, its lease was lost, or the worker shuts down.
    Stopped,
    /// It failed, and a later attempt may succeed.
    Retryable(JobFailure, FailureReason),
    /// It failed, and so would every later attempt.
    Permanent(JobFailure, FailureReason),
}

/// Why an attempt failed, as a label of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureReason {
    /// The server's directory does not exist, or is not a directory.
    SourceMissing,
    /// The server's files can't be read.
    SourceUnreadable,
    /// The settings do not allow a server's directory there.
    DirectoryNotAllowed,
    /// An ignore pattern can't be used.
    InvalidPatterns,
    /// The archive grew larger than the limit.
    TooLarge,
    /// The job ran longer than the limit.
    OutOfTime,
    /// The server's node has too little space to restore.
    NoSpace,
    /// The stored archive has changed, or holds entries that can't be restored safely.
    ArchiveDamaged,
    /// The archive or its backup does not exist, or is out of reach of this node.
    ArchiveMissing,
    /// The server's files can't be written.
    TargetUnwritable,
    /// Another process restores the server.
    Busy,
    /// The server runs or may run, and can't be stopped.
    ServerRunning,
    /// The server's power driver can't run the task of a schedule.
    PowerDriver,
    /// The disk is full.
    DiskFull,
    /// The disk refuses access, or is misconfigured.
    DiskRefused,
    /// The disk can't be reached.
    DiskUnavailable,
    /// The database can't be used.
    Database,
    /// Another reason, which is in the log.
    Unexpected,
}

/// Returns the notes of an archive or restore in the form in which they are stored.
pub(crate) fn stored_notes(notes: &holdfast_archive::Notes) -> BackupNotes {
    BackupNotes {
        count: notes.count,
        first: notes.first.iter().map(ToString::to_string).collect(),
    }
}

impl FailureReason {
    /// Returns the label.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::SourceMissing => "source_missing",
            Self::SourceUnreadable => "source_unreadable",
            Self::DirectoryNotAllowed => "misplaced",
            Self::InvalidPatterns => "patterns",
            Self::TooLarge => "too_large",
            Self::OutOfTime => "out_of_time",
            Self::NoSpace => "no_space",
            Self::ArchiveDamaged => "archive_damaged",
            Self::ArchiveMissing => "archive_missing",
            Self::TargetUnwritable => "target_unwritable",
            Self::Busy => "busy",
            Self::ServerRunning => "server_running",
            Self::PowerDriver => "power_driver",
            Self::DiskFull => "disk_full",
            Self::DiskRefused => "disk_refused",
            Self::DiskUnavailable => "disk_unavailable",
            Self::Database => "database",
            Self::Unexpected => "unexpected",
        }
    }

    fn of_disk(error: &holdfast_storage::Error) -> Self {
        use holdfast_storage::Error;
        match error {
            Error::NotFound { .. } | Error::UnknownDisk { .. } => Self::ArchiveMissing,
            Error::Full { .. } => Self::DiskFull,
            Error::Denied { .. } | Error::Misconfigured { .. } | Error::Exists { .. } => {
                Self::DiskRefused
            }
            Error::Unavailable { .. } | Error::CopyFailed { .. } => Self::DiskUnavailable,
            Error::Damaged { .. } => Self::ArchiveDamaged,
        }
    }
}

impl std::error::Error for JobError {}

impl fmt::Display for JobError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => formatter.write_str("the job was stopped"),
            Self::Retryable(failure, _) | Self::Permanent(failure, _) => {
                formatter.write_str(&failure.detail)
            }
        }
    }
}

impl JobError {
    /// Creates an error after which the job is tried again.
    ///
    /// Users see `sentence`; `detail` goes to the log.
    pub(crate) fn retryable(sentence: impl Into<String>, detail: impl Into<String>) -> Self {
        let failure = JobFailure {
            sentence: sentence.into(),
            detail: detail.into(),
        };
        Self::Retryable(failure, FailureReason::Unexpected)
    }

    /// Creates an error after which the job is not tried again.
    ///
    /// Users see `sentence`; `detail` goes to the log.
    pub(crate) fn permanent(sentence: impl Into<String>, detail: impl Into<String>) -> Self {
        let failure = JobFailure {
            sentence: sentence.into(),
            detail: detail.into(),
        };
        Self::Permanent(failure, FailureReason::Unexpected)
    }

    /// Sets the reason under which the failure is counted.
    #[must_use]
    pub(crate) fn with_reason(self, reason: FailureReason) -> Self {
        match self {
            Self::Stopped => Self::Stopped,
            Self::Retryable(failure, _) => Self::Retryable(failure, reason),
            Self::Permanent(failure, _) => Self::Permanent(failure, reason),
        }
    }

    /// Returns whether the reason is that the archive is damaged or missing.
    pub(crate) fn is_about_archive(&self) -> bool {
        match self {
            Self::Stopped => false,
            Self::Retryable(_, reason) | Self::Permanent(_, reason) => matches!(
                reason,
                FailureReason::ArchiveDamaged | FailureReason::ArchiveMissing
            ),
        }
    }

    /// Maps an error of the database.
    pub(crate) fn database(error: &holdfast_db::Error) -> Self {
        Self::retryable("The service's database could not be used.", chain(error))
            .with_reason(FailureReason::Database)
    }

    /// Maps an error of a disk.
    pub(crate) fn disk(error: &holdfast_storage::Error) -> Self {
        use holdfast_storage::{Error, Shortage};
        let sentence = match error {
            Error::Full { disk, shortage, .. } => match shortage {
                Shortage::Space => {
                    format!("The storage `{disk}` has no space left for this backup.")
                }
                Shortage::Inodes => format!(
                    "The storage `{disk}` has no inodes left: its file system can store no more \
                     files."
                ),
                Shortage::Quota => {
                    format!("The storage `{disk}` has no quota left for this backup.")
                }
                Shortage::FileSize => {
                    format!("The storage `{disk}` can't store an archive of this size.")
                }
            },
            Error::NotFound { .. } => "The stored archive is missing.".to_owned(),
            Error::Denied { disk, .. } => format!(
                "The storage `{disk}` refused access. The operator of the service has to check its \
                 credentials and permissions."
            ),
            Error::Misconfigured { disk, .. } => format!(
                "The storage `{disk}` is misconfigured. The operator of the service has to check \
                 its settings; the log has the details."
            ),
            Error::Damaged { disk, .. } => {
                format!("The objects of this backup on the storage `{disk}` are damaged.")
            }
            Error::UnknownDisk { disk } => {
                format!("The storage `{disk}` is unknown to the server's node.")
            }
            Error::Exists { disk, .. } => {
                format!("The storage `{disk}` already holds an archive of this name.")
            }
            Error::Unavailable { disk, .. } => {
                format!("The storage `{disk}` could not be reached.")
            }
            Error::CopyFailed { disk, .. } => {
                format!("The storage `{disk}` could not copy an earlier archive.")
            }
        };
        let failed = if error.is_temporary() {
            Self::retryable(sentence, chain(error))
        } else {
            Self::permanent(sentence, chain(error))
        };
        failed.with_reason(FailureReason::of_disk(error))
    }

    /// Maps a panic of the archive engine.
    pub(crate) fn panicked(error: &tokio::task::JoinError) -> Self {
        Self::retryable(
            "An unexpected error was encountered.",
            format!("the archive engine panicked: {error}"),
        )
    }
}

#[cfg(test)]
mod tests {
    use holdfast_storage::Error;

    use super::*;

    #[test]
    fn only_a_damaged_or_missing_archive_is_blamed() {
        let (disk, object) = ("local".to_owned(), "an archive".to_owned());
        let missing = Error::NotFound {
            object: object.clone(),
        };
        let damaged = Error::Damaged {
            disk: disk.clone(),
            object: object.clone(),
            source: "flipped".into(),
        };
        let away = Error::Unavailable {
            disk,
            object,
            source: "unmounted".into(),
        };
        for (error, is_blamed) in [(missing, true), (damaged, true), (away, false)] {
            assert_eq!(JobError::disk(&error).is_about_archive(), is_blamed);
        }
        let full = JobError::permanent("No space.", "`/tmp` is full");
        let full = full.with_reason(FailureReason::NoSpace);
        assert!(!full.is_about_archive() && !JobError::Stopped.is_about_archive());
    }
}
