//! The one error enum of the crate: what stopped an archive from being made, checked or restored.
//!
//! Texts are lowercase, name the thing, and never repeat their source. What only concerns a single
//! file of a backup is no error but a [`Note`](crate::Note).

use std::io;
use std::path::{Path, PathBuf};

/// What can stop the engine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// [`Control::cancel`](crate::Control::cancel) was called.
    #[error("cancelled")]
    Cancelled,

    /// A step on the file system failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb: `open`, `create`.
        action: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// The writer of the archive or of its index failed.
    #[error("cannot write the archive")]
    Output(#[source] io::Error),

    /// The directory to archive is not there.
    #[error("the directory {} does not exist", path.display())]
    SourceMissing {
        /// The directory that was named.
        path: PathBuf,
    },

    /// The path is something else than a directory.
    #[error("{} is not a directory", path.display())]
    NotADirectory {
        /// The path that was named.
        path: PathBuf,
    },

    /// The archive grew beyond what is allowed.
    #[error("the archive is larger than the {limit_bytes} bytes allowed")]
    TooLarge {
        /// The limit, in bytes of the compressed archive.
        limit_bytes: u64,
    },

    /// The archive is not the one that was made.
    #[error("the archive's sha-256 is {found} instead of {expected}")]
    HashMismatch {
        /// The hash on record, in hexadecimal.
        expected: String,
        /// The hash of what was read, in hexadecimal.
        found: String,
    },

    /// The archive or its index is damaged.
    #[error("the archive is damaged: {reason}")]
    Corrupt {
        /// What is wrong with it.
        reason: String,
    },

    /// An entry that could write outside of the destination, or that no honest archive holds.
    #[error("the archive's entry {entry:?} is refused: {reason}")]
    Hostile {
        /// The entry's name, lossy.
        entry: String,
        /// Why it is refused.
        reason: String,
    },

    /// There is not enough room to unpack beside the destination.
    #[error("not enough disk space: {needed} bytes are needed and {available} are available")]
    NoSpace {
        /// Bytes that unpacking takes, as far as it is known.
        needed: u64,
        /// Bytes that are free.
        available: u64,
    },

    /// Another process restores this directory.
    #[error("{} is being restored by another process", path.display())]
    Busy {
        /// The directory.
        path: PathBuf,
    },

    /// The caller's check stopped the restore right before the swap.
    #[error("the restore was refused")]
    Refused(
        /// The error of [`BeforeSwap`](crate::BeforeSwap).
        #[source]
        Box<dyn std::error::Error + Send + Sync>,
    ),

    /// An ignore pattern breaks a limit.
    #[error("the ignore pattern {pattern:?} is refused: {reason}")]
    Pattern {
        /// The pattern, cut to a readable length.
        pattern: String,
        /// Which limit it breaks.
        reason: String,
    },

    /// Another disk is mounted inside of the directory to restore.
    #[error("a disk is mounted at {}, inside of the directory to restore", path.display())]
    MountedInside {
        /// Where it is mounted.
        path: PathBuf,
    },

    /// The staging folder lies on another file system than the directory to restore.
    #[error(
        "the staging folder {} is not on the file system of {}",
        staging.display(),
        destination.display()
    )]
    StagingElsewhere {
        /// The folder that was named for staging.
        staging: PathBuf,
        /// The directory to restore.
        destination: PathBuf,
    },
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io {
            action,
            path: path.to_path_buf(),
            source: source.into(),
        }
    }

    pub(crate) fn corrupt(reason: impl Into<String>) -> Self {
        Self::Corrupt {
            reason: reason.into(),
        }
    }

    pub(crate) fn hostile(entry: &[u8], reason: impl Into<String>) -> Self {
        Self::Hostile {
            entry: lossy(entry),
            reason: reason.into(),
        }
    }

    /// Says whether a full disk (or quota) is what stopped the work, wherever it was met.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        match self {
            Self::NoSpace { .. } => true,
            Self::Io { source, .. } | Self::Output(source) => is_full(source),
            _ => false,
        }
    }
}

/// Says whether the system refused a write for lack of room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// A name for people: invalid UTF-8 replaced, very long ones cut.
pub(crate) fn lossy(path: &[u8]) -> String {
    const LONGEST: usize = 1024;
    if path.len() <= LONGEST {
        return String::from_utf8_lossy(path).into_owned();
    }
    format!("{}…", String::from_utf8_lossy(&path[..LONGEST]))
}
