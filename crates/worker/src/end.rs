//! How an attempt of a job ended.

use holdfast_db::jobs::Failure;
use holdfast_domain::backup::Completed;
use holdfast_domain::report::chain;

use crate::examine::Verdict;

/// What a job has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// Stored an archive.
    Created(Completed),
    /// Put the server's files back.
    Restored,
    /// Removed the archives.
    Deleted,
    /// Removed a server's archives, or left them as it was told.
    ServerDeleted,
    /// Read an archive back.
    Verified(Verdict),
    /// Found nothing left to do.
    Nothing,
}

/// Why a job was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotDone {
    /// It was told to stop: the lease is lost, or the worker is going.
    Stopped,
    /// It may succeed later.
    Retry(Failure),
    /// It can't succeed.
    Final(Failure),
}

impl NotDone {
    /// A failure that trying again may mend.
    pub(crate) fn retry(sentence: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Retry(Failure {
            sentence: sentence.into(),
            detail: detail.into(),
        })
    }

    /// A failure that trying again can't mend.
    pub(crate) fn terminal(sentence: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Final(Failure {
            sentence: sentence.into(),
            detail: detail.into(),
        })
    }

    /// What the database's failure means for a job.
    pub(crate) fn database(error: &holdfast_db::Error) -> Self {
        Self::retry("The service's database could not be used.", chain(error))
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
        if error.may_pass() {
            Self::retry(sentence, chain(error))
        } else {
            Self::terminal(sentence, chain(error))
        }
    }
}
