//! The audit log: events on a server's backups and schedules, each with the user who caused it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::id::UserId;

/// The event that an entry of the audit log records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivityEvent {
    /// A backup was requested.
    Start,
    /// A backup completed.
    Complete,
    /// A backup failed.
    Fail,
    /// A download link was requested.
    Download,
    /// A backup was deleted.
    Delete,
    /// A backup was locked.
    Lock,
    /// A backup was unlocked.
    Unlock,
    /// A backup was renamed.
    Rename,
    /// A backup was cancelled.
    Cancel,
    /// A restore was requested.
    Restore,
    /// A restore completed.
    RestoreComplete,
    /// A restore failed.
    RestoreFailed,
    /// A verification was requested.
    Verify,
    /// A requested verification passed. Scheduled ones that pass are not logged.
    VerifyComplete,
    /// A verification found a damaged or missing archive.
    VerifyFailed,
    /// A run of a schedule has begun.
    ScheduleStart,
    /// A run of a schedule completed.
    ScheduleComplete,
    /// A run of a schedule failed.
    ScheduleFail,
    /// A run of a schedule did nothing, because the server was not online.
    ScheduleSkip,
    /// Due times of a schedule were missed.
    ScheduleMiss,
    /// A schedule was created.
    ScheduleCreate,
    /// The settings of a schedule were changed.
    ScheduleUpdate,
    /// A schedule was deleted.
    ScheduleDelete,
    /// A user has run a schedule.
    ScheduleExecute,
    /// A task was added to a schedule.
    TaskCreate,
    /// A task of a schedule was changed.
    TaskUpdate,
    /// A task of a schedule was deleted.
    TaskDelete,
}

impl ActivityEvent {
    /// Returns the event's name. Events that Pterodactyl's panel has too keep its spelling.
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
            Self::ScheduleStart => "server:schedule.start",
            Self::ScheduleComplete => "server:schedule.complete",
            Self::ScheduleFail => "server:schedule.fail",
            Self::ScheduleSkip => "server:schedule.skip",
            Self::ScheduleMiss => "server:schedule.miss",
            Self::ScheduleCreate => "server:schedule.create",
            Self::ScheduleUpdate => "server:schedule.update",
            Self::ScheduleDelete => "server:schedule.delete",
            Self::ScheduleExecute => "server:schedule.execute",
            Self::TaskCreate => "server:task.create",
            Self::TaskUpdate => "server:task.update",
            Self::TaskDelete => "server:task.delete",
        }
    }
}

/// The user, API key and address that a request came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestOrigin {
    /// The user who sent the request. `None` for a caller whose access the panel decides.
    pub user: Option<UserId>,
    /// The user's email address at the time, or `panel`.
    pub email: String,
    /// The public identifier of the API key. `session` or `panel` if there is none.
    pub key: String,
    /// The client's network address, if known.
    pub address: Option<IpAddr>,
}
