//! The error type of the crate.
//!
//! Texts are lowercase, name the object, and never repeat their source. A problem with a single
//! file of a backup is not an error but a [`Note`](crate::Note).

use std::io;
use std::path::{Path, PathBuf};

use crate::file_system::is_disk_full;

/// The reason why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// [`Control::cancel`](crate::Control::cancel) was called.
    #[error("cancelled")]
    Cancelled,

    /// A file system operation failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// The operation, as a verb: `open`, `create`.
        action: &'static str,
        /// The path of the operation.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },

    /// The writer of the archive or of the index failed.
    #[error("cannot write the archive")]
    Output(#[source] io::Error),

    /// The directory to archive does not exist.
    #[error("the directory {} does not exist", path.display())]
    SourceMissing {
        /// The directory.
        path: PathBuf,
    },

    /// The path is not a directory.
    #[error("{} is not a directory", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },

    /// The archive is larger than allowed.
    #[error("the archive is larger than the {limit_bytes} bytes allowed")]
    TooLarge {
        /// The limit, in bytes of the compressed archive.
        limit_bytes: u64,
    },

    /// The archive does not have its recorded hash.
    #[error("the archive's sha-256 is {found} instead of {expected}")]
    HashMismatch {
        /// The recorded hash, in hexadecimal.
        expected: String,
        /// The hash of the bytes that were read, in hexadecimal.
        found: String,
    },

    /// The previous archive or its index is damaged, or cannot be read. A new archive can be
    /// created without it.
    #[error("the previous archive cannot be reused: {reason}")]
    PreviousUnusable {
        /// What is wrong with it.
        reason: String,
    },

    /// Nothing is wrong with the previous archive, but it was created otherwise, or is too large to
    /// be reused. A new archive can be created without it.
    #[error("the previous archive cannot be reused: {reason}")]
    PreviousUnsuitable {
        /// Why it cannot be reused.
        reason: String,
    },

    /// The archive or its index is damaged.
    #[error("the archive is damaged: {reason}")]
    Corrupt {
        /// What is damaged.
        reason: String,
    },

    /// The file is not a `.tar.gz` or a `.tar`, but of another known format.
    #[error("the archive is {format}: {remedy} first")]
    OtherFormat {
        /// What the file is.
        format: &'static str,
        /// How to get the files out of it.
        remedy: &'static str,
    },

    /// The process has no right to a folder that it needs.
    #[error(
        "user {user} cannot {action} the folder {}, which belongs to user {owner} and has mode \
         {mode:04o}: change its mode, or run as its owner",
        folder.display()
    )]
    NoAccess {
        /// What is not allowed, as a verb: `read`, `write into`, `pass through`.
        action: &'static str,
        /// The folder.
        folder: PathBuf,
        /// Its mode.
        mode: u32,
        /// The user ID of its owner.
        owner: u32,
        /// The user ID of the process.
        user: u32,
    },

    /// An entry could write outside of the destination, or no honest archive holds such an entry.
    #[error("the archive's entry {entry:?} is refused: {reason}")]
    Hostile {
        /// The name of the entry, with invalid UTF-8 replaced.
        entry: String,
        /// Why it is refused.
        reason: String,
    },

    /// There is not enough space to unpack the archive.
    #[error("not enough disk space: {needed} bytes are needed and {available} are available")]
    NoSpace {
        /// Bytes needed, as far as known.
        needed: u64,
        /// Free bytes.
        available: u64,
    },

    /// The file system can store no more files, although it has free bytes.
    #[error("no inodes are left: the file system of {} can store no more files", path.display())]
    NoInodes {
        /// The folder that was written to.
        path: PathBuf,
    },

    /// The quota of the user or group is used up.
    #[error("the disk quota on the file system of {} is used up", path.display())]
    QuotaExceeded {
        /// The folder that was written to.
        path: PathBuf,
    },

    /// The system starts no more threads for this user or container.
    #[error(
        "cannot start a thread: raise the limit of processes and threads (ulimit -u, TasksMax of \
         systemd, or the pids limit of the container)"
    )]
    Threads(
        /// The error of the system.
        #[source]
        io::Error,
    ),

    /// Another process is restoring this directory.
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

    /// An ignore pattern exceeds a limit.
    #[error("the ignore pattern {pattern:?} is refused: {reason}")]
    Pattern {
        /// The pattern, shortened to a readable length.
        pattern: String,
        /// The limit.
        reason: String,
    },

    /// The ignore patterns take more time than any list that is written by hand.
    #[error(
        "the ignore patterns took {seconds} s for {entries} files and folders; use fewer wildcards"
    )]
    SlowPatterns {
        /// The time for matching, in seconds.
        seconds: u64,
        /// The number of entries that were matched.
        entries: u32,
    },

    /// A disk is mounted inside of the directory to restore.
    #[error("a file system is mounted at {}, inside the directory to restore", path.display())]
    MountedInside {
        /// The mount point.
        path: PathBuf,
    },

    /// The directory to restore, or an entry in it, cannot be moved. Nothing was changed.
    #[error("{} cannot be moved: {reason}", path.display())]
    Immovable {
        /// The directory or entry.
        path: PathBuf,
        /// What forbids it.
        reason: &'static str,
    },

    /// A path to restore is not in the archive.
    #[error("the archive has no `{path}`")]
    NotInArchive {
        /// The path, with invalid UTF-8 replaced.
        path: String,
    },

    /// Something in the directory is in the way of a path to restore. Nothing was changed.
    #[error("`{path}` is in the way: {reason}")]
    InTheWay {
        /// The entry in the directory, with invalid UTF-8 replaced.
        path: String,
        /// Why nothing can be restored there.
        reason: &'static str,
    },

    /// Files cannot be moved from the staging folder to the directory to restore: it is on another
    /// file system, mount or subvolume, or is not encrypted as the directory is.
    #[error(
        "files cannot be moved from the staging folder {} to {}: both must be on one mount, in \
         one subvolume, and encrypted with one key or not at all",
        staging.display(),
        destination.display()
    )]
    StagingElsewhere {
        /// The staging folder.
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

    /// Returns whether used up space, inodes or quota is the reason.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        match self {
            Self::NoSpace { .. } | Self::NoInodes { .. } | Self::QuotaExceeded { .. } => true,
            Self::Io { source, .. } | Self::Output(source) => is_disk_full(source),
            _ => false,
        }
    }
}

/// Returns a name for messages: invalid UTF-8 is replaced, and long names are cut.
pub(crate) fn lossy(path: &[u8]) -> String {
    const MAX_SHOWN: usize = 1024;
    if path.len() <= MAX_SHOWN {
        return String::from_utf8_lossy(path).into_owned();
    }
    format!("{}…", String::from_utf8_lossy(&path[..MAX_SHOWN]))
}
