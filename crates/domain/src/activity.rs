//! What is written down of what is done to backups: for owners who ask "who was that?".

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::id::UserId;

/// Something that was done to a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivityEvent {
    /// It was asked for.
    Start,
    /// It completed.
    Complete,
    /// It failed.
    Fail,
    /// A download link was asked for.
    Download,
    /// It was deleted.
    Delete,
    /// It was locked.
    Lock,
    /// It was unlocked.
    Unlock,
    /// It was given another name.
    Rename,
    /// It was called off.
    Cancel,
    /// A restore was asked for.
    Restore,
    /// A restore completed.
    RestoreComplete,
    /// A restore failed.
    RestoreFailed,
    /// A verification was asked for.
    Verify,
    /// A verification that somebody had asked for found the archive whole.
    VerifyComplete,
    /// A verification found the archive damaged or missing.
    VerifyFailed,
}

impl ActivityEvent {
    /// Returns the event's name, as Pterodactyl's panel spells those that it has.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "server:backup.start",
            Self::Complete => "server:backup.complete",
            Self::Fail => "server:backup.fail",
            Self::Download => "server:backup.download",
            Self::Delete => "server:backup.delete",
            Self::Lock => "server:backup.lock",
            Self::Unlock => "server:backup.unlock",
            Self::Rename => "server:backup.rename",
            Self::Cancel => "server:backup.cancel",
            Self::Restore => "server:backup.restore",
            Self::RestoreComplete => "server:backup.restore-complete",
            Self::RestoreFailed => "server:backup.restore-failed",
            Self::Verify => "server:backup.verify",
            Self::VerifyComplete => "server:backup.verify-complete",
            Self::VerifyFailed => "server:backup.verify-failed",
        }
    }
}

/// Who asked, with which key, from where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestOrigin {
    /// Who.
    pub user: UserId,
    /// That user's address at the time.
    pub email: String,
    /// The public part of the key.
    pub key: String,
    /// The caller's network address.
    pub address: Option<IpAddr>,
}

/// The arguments of a verification, kept as JSON in the job's row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyArgs {
    /// Who wanted it; none when the schedule did.
    #[serde(default)]
    pub origin: Option<RequestOrigin>,
}

/// The arguments of a deletion, kept as JSON in the job's row: the worker that did it writes down who
/// wanted it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteArgs {
    /// Who wanted it; none when the service itself did.
    #[serde(default)]
    pub origin: Option<RequestOrigin>,
    /// Why the service itself did.
    #[serde(default)]
    pub reason: Option<String>,
}
