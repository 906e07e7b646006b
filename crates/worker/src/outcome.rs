//! How an attempt of a job ended.

use std::fmt;

use holdfast_db::jobs::JobFailure;
use holdfast_domain::backup::CompletedBackup;
use holdfast_domain::error_chain::chain;

use crate::verify_archive::ArchiveVerdict;

/// What a job has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// Stored an archive.
    Created(CompletedBackup),
    /// Put the server's files back.
    Restored,
    /// Removed the archives.
    Deleted,
    /// Removed a server's archives, or left them as it was told.
    ServerDeleted,
    /// Read an archive back.
    Verified(ArchiveVerdict),
    /// Found nothing left to do.
    Nothing,
}

/// Why a job was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotDone {
    /// It was told to stop: the lease is lost, or the worker is going.
    Stopped,
    /// It may succeed later.
    Retry(JobFailure, Reason),
    /// It can't succeed.
    Final(JobFailure, Reason),
}

/// Why an attempt failed, in one word out of few: for counting, while its sentence is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The server's directory is not there, or is none.
    SourceMissing,
    /// The server's files can't be read.
    SourceUnreadable,
    /// The server's directory lies where none may be.
    Misplaced,
    /// An ignore pattern can't be used.
    Patterns,
    /// The archive grew larger than it may be.
    TooLarge,
    /// The server's node has no room to unpack.
    NoSpace,
    /// The stored archive is not what it was, or holds what can't be restored safely.
    ArchiveDamaged,
    /// The archive, or its backup, is not there, or lies where this node can't reach.
    ArchiveMissing,
    /// The server's files can't be put back.
    TargetUnwritable,
    /// Another process works on the server's files.
    Busy,
    /// The server can't be stopped, or may be running.
    ServerRunning,
    /// The disk has no room.
    DiskFull,
    /// The disk refuses, or is set up wrongly.
    DiskRefused,
    /// The disk can't be reached.
    DiskUnavailable,
    /// The database can't be used.
    Database,
    /// Something else, which the log tells of.
    Unexpected,
}

impl Reason {
    /// Returns its word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::SourceMissing => "source_missing",
            Self::SourceUnreadable => "source_unreadable",
            Self::Misplaced => "misplaced",
            Self::Patterns => "patterns",
            Self::TooLarge => "too_large",
            Self::NoSpace => "no_space",
            Self::ArchiveDamaged => "archive_damaged",
            Self::ArchiveMissing => "archive_missing",
            Self::TargetUnwritable => "target_unwritable",
            Self::Busy => "busy",
            Self::ServerRunning => "server_running",
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
            Error::Unavailable { .. } => Self::DiskUnavailable,
            Error::Damaged { .. } => Self::ArchiveDamaged,
        }
    }
}

/// The archive engine hands an error of its callback back, so it has to be a standard error.
impl std::error::Error for NotDone {}

impl fmt::Display for NotDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("the job was stopped"),
            Self::Retry(failure, _) | Self::Final(failure, _) => f.write_str(&failure.detail),
        }
    }
}

impl NotDone {
    /// A failure that trying again may mend.
    pub(crate) fn retry(sentence: impl Into<String>, detail: impl Into<String>) -> Self {
        let failure = JobFailure {
            sentence: sentence.into(),
            detail: detail.into(),
        };
        Self::Retry(failure, Reason::Unexpected)
    }

    /// A failure that trying again can't mend.
    pub(crate) fn terminal(sentence: impl Into<String>, detail: impl Into<String>) -> Self {
        let failure = JobFailure {
            sentence: sentence.into(),
            detail: detail.into(),
        };
        Self::Final(failure, Reason::Unexpected)
    }

    /// The same, counted under `reason`.
    #[must_use]
    pub(crate) fn because(self, reason: Reason) -> Self {
        match self {
            Self::Stopped => Self::Stopped,
            Self::Retry(failure, _) => Self::Retry(failure, reason),
            Self::Final(failure, _) => Self::Final(failure, reason),
        }
    }

    /// What the database's failure means for a job.
    pub(crate) fn database(error: &holdfast_db::Error) -> Self {
        Self::retry("The service's database could not be used.", chain(error))
            .because(Reason::Database)
    }

    /// What a disk's failure means for a job.
    pub(crate) fn disk(error: &holdfast_storage::Error) -> Self {
        use holdfast_storage::Error;
        let sentence = match error {
            Error::Full { disk, .. } => {
                format!("The storage `{disk}` has no space left for this backup.")
            }
            Error::NotFound { .. } => "The stored archive is missing.".to_owned(),
            Error::Denied { disk, .. } => format!(
                "The storage `{disk}` refused access. Whoever runs the service has to look at its \
                 credentials and permissions."
            ),
            Error::Misconfigured { disk, .. } => format!(
                "The storage `{disk}` is set up wrongly. Whoever runs the service has to look at \
                 its settings; the log says which."
            ),
            Error::Damaged { disk, .. } => {
                format!("What the storage `{disk}` holds of this backup is damaged.")
            }
            Error::UnknownDisk { disk } => {
                format!("The storage `{disk}` is not known to the server's node.")
            }
            Error::Exists { disk, .. } => {
                format!("The storage `{disk}` holds an archive of this name already.")
            }
            Error::Unavailable { disk, .. } => {
                format!("The storage `{disk}` could not be reached.")
            }
        };
        let failed = if error.may_pass() {
            Self::retry(sentence, chain(error))
        } else {
            Self::terminal(sentence, chain(error))
        };
        failed.because(Reason::of_disk(error))
    }

    /// A panic of the archive engine, whose thread ended with `error`.
    pub(crate) fn panicked(error: &tokio::task::JoinError) -> Self {
        Self::retry(
            "An unexpected error was encountered.",
            format!("the archive engine panicked: {error}"),
        )
    }
}
