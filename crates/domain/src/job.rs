//! Jobs: their kinds, states, arguments and progress.
//!
//! The API enqueues jobs and workers run them. The two share only this module and `db::jobs`.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::activity::RequestOrigin;
use crate::restore_paths::{PathsRefused, RestorePaths};
use crate::schedule::PowerAction;

/// The kind of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobKind {
    /// Archives a server's directory to a disk.
    CreateBackup,
    /// Restores an archive into the server's directory.
    RestoreBackup,
    /// Deletes an archive from its disk, then the backup's row.
    DeleteBackup,
    /// Deletes a server, with or without its archives.
    DeleteServer,
    /// Reads an archive back and compares its hash with the recorded one.
    VerifyBackup,
    /// Sends a command to a server's console, or changes its power state, for a schedule.
    RunTask,
}

impl JobKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::CreateBackup,
        Self::RestoreBackup,
        Self::DeleteBackup,
        Self::DeleteServer,
        Self::VerifyBackup,
        Self::RunTask,
    ];

    /// Returns the kind's name in the job table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CreateBackup => "create_backup",
            Self::RestoreBackup => "restore_backup",
            Self::DeleteBackup => "delete_backup",
            Self::DeleteServer => "delete_server",
            Self::VerifyBackup => "verify_backup",
            Self::RunTask => "run_task",
        }
    }

    /// Parses a kind's name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.as_str() == text)
    }

    /// Returns the priority of new jobs of this kind. Lower numbers run first.
    pub fn priority(self) -> i16 {
        match self {
            Self::CreateBackup | Self::RestoreBackup | Self::DeleteBackup | Self::DeleteServer => 0,
            Self::RunTask => PROMPT_MAX,
            Self::VerifyBackup => LOW_PRIORITY_MIN,
        }
    }
}

/// The last priority that belongs to [`WorkerSlot::Prompt`].
const PROMPT_MAX: i16 = -100;
/// The first priority that belongs to [`WorkerSlot::LowPriority`].
const LOW_PRIORITY_MIN: i16 = 100;
/// The priority of a scheduled verification: after the requested ones.
pub const SCHEDULED_VERIFICATION_PRIORITY: i16 = LOW_PRIORITY_MIN + 10;

/// The slots of a worker. Each runs jobs of one range of priorities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerSlot {
    /// Tasks of schedules that take seconds. They run in separate slots, since a command such as
    /// `save-on` must not wait for the backups of other servers.
    Prompt,
    /// Backups, restores and deletions, which a user waits for.
    Normal,
    /// Verifications. They run in a separate slot, so that they never delay other jobs.
    LowPriority,
}

impl WorkerSlot {
    /// Returns the priorities of the slot's jobs.
    pub fn priorities(self) -> RangeInclusive<i16> {
        match self {
            Self::Prompt => i16::MIN..=PROMPT_MAX,
            Self::Normal => PROMPT_MAX + 1..=LOW_PRIORITY_MIN - 1,
            Self::LowPriority => LOW_PRIORITY_MIN..=i16::MAX,
        }
    }
}

/// The state of a job. The last three are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Waiting for a worker.
    Available,
    /// Waiting for its scheduled time.
    Scheduled,
    /// A worker holds its lease.
    Running,
    /// Ended with success.
    Completed,
    /// Ended on request, before it completed.
    Cancelled,
    /// Failed, without a further attempt.
    Discarded,
}

impl JobState {
    /// Every state.
    pub const ALL: [Self; 6] = [
        Self::Available,
        Self::Scheduled,
        Self::Running,
        Self::Completed,
        Self::Cancelled,
        Self::Discarded,
    ];

    /// Returns the state's name in the job table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Discarded => "discarded",
        }
    }

    /// Parses a state's name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }

    /// Returns whether the state is final.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled | Self::Discarded)
    }
}

/// The arguments of a job that restores a backup, stored as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "StoredRestoreArgs", into = "StoredRestoreArgs")]
pub struct RestoreArgs {
    /// Whether files that are not in the backup are removed.
    pub truncate: bool,
    /// The files and folders to restore; `None` for all.
    pub paths: Option<RestorePaths>,
    /// Whether the panel has requested the restore, and has to be told how it ended.
    pub panel: bool,
}

/// The stored form of [`RestoreArgs`].
///
/// A worker that does not know paths would restore everything. It requires `truncate`, so a job
/// with paths states `truncate_paths` instead, and such a worker fails it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct StoredRestoreArgs {
    #[serde(skip_serializing_if = "Option::is_none")]
    truncate: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    truncate_paths: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    paths: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    panel: bool,
}

/// Stored arguments of a restore that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum StoredArgsRefused {
    #[error("`truncate` belongs to a restore without paths, `truncate_paths` to one with paths")]
    Truncate,
    #[error(transparent)]
    Paths(#[from] PathsRefused),
}

impl From<RestoreArgs> for StoredRestoreArgs {
    fn from(args: RestoreArgs) -> Self {
        let RestoreArgs {
            truncate,
            paths,
            panel,
        } = args;
        Self {
            truncate: paths.is_none().then_some(truncate),
            truncate_paths: paths.is_some().then_some(truncate),
            paths: paths.map_or_else(Vec::new, |paths| paths.as_slice().to_vec()),
            panel,
        }
    }
}

impl TryFrom<StoredRestoreArgs> for RestoreArgs {
    type Error = StoredArgsRefused;

    fn try_from(stored: StoredRestoreArgs) -> Result<Self, Self::Error> {
        let (truncate, paths) = match (stored.truncate, stored.truncate_paths) {
            (Some(truncate), None) if stored.paths.is_empty() => (truncate, None),
            (None, Some(truncate)) => (truncate, Some(RestorePaths::parse(stored.paths)?)),
            _ => return Err(StoredArgsRefused::Truncate),
        };
        Ok(Self {
            truncate,
            paths,
            panel: stored.panel,
        })
    }
}

/// The arguments of a job that verifies a backup, stored as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyArgs {
    /// The request that started it; `None` for a scheduled verification.
    #[serde(default)]
    pub origin: Option<RequestOrigin>,
}

/// The arguments of a job that deletes a backup, stored as JSON. The worker copies them to the
/// audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteArgs {
    /// The request that started it; `None` if the service itself did.
    #[serde(default)]
    pub origin: Option<RequestOrigin>,
    /// Why the service started it, such as the retention rule.
    #[serde(default)]
    pub reason: Option<String>,
}

/// The arguments of a job that runs a task of a schedule, stored as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunTaskArgs {
    /// Ask whether the server is online. The job fails if it is not.
    RequireOnline,
    /// Change the power state.
    Power(PowerAction),
    /// Send a line to the console.
    Command(String),
}

/// What happens to a server's archives when the server is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerBackupsAction {
    /// Delete them from their disks.
    Delete,
    /// Keep them on their disks, and delete only their rows.
    Keep,
}

impl ServerBackupsAction {
    /// Every action.
    pub const ALL: [Self; 2] = [Self::Delete, Self::Keep];

    /// Returns the action's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Keep => "keep",
        }
    }

    /// Parses an action's name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|f| f.as_str() == text)
    }
}

/// The arguments of a job that deletes a server, stored as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteServerArgs {
    /// What happens to the server's archives.
    pub backups: ServerBackupsAction,
}

/// The current step of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Waiting for a worker.
    Queued,
    /// Counting files and bytes.
    Scanning,
    /// Reading, compressing and storing files.
    Archiving,
    /// Completing the upload, which makes the archive durable and visible.
    Uploading,
    /// Reading the archive and checking its SHA-256.
    Verifying,
    /// Unpacking files and exchanging the directories.
    Restoring,
    /// Deleting the archive.
    Deleting,
}

/// The progress of a job. Totals are 0 until they are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobProgress {
    /// The current step.
    pub phase: Phase,
    /// Source bytes processed.
    pub bytes_done: u64,
    /// Source bytes in total.
    pub bytes_total: u64,
    /// Files processed.
    pub files_done: u64,
    /// Files in total.
    pub files_total: u64,
    /// Whether the job runs slower than it could, because the node is under pressure.
    #[serde(default)]
    pub slowed: bool,
}

impl JobProgress {
    /// Returns the progress of a job at the start of `phase`.
    pub fn begin(phase: Phase) -> Self {
        Self {
            phase,
            bytes_done: 0,
            bytes_total: 0,
            files_done: 0,
            files_total: 0,
            slowed: false,
        }
    }

    /// Returns the percentage done, 0.0 to 100.0 with one decimal: of bytes, or of files if there
    /// are no bytes.
    ///
    /// ```
    /// use holdfast_domain::JobProgress;
    /// use holdfast_domain::job::Phase;
    ///
    /// let mut progress = JobProgress::begin(Phase::Archiving);
    /// (progress.bytes_done, progress.bytes_total) = (1, 3);
    /// assert_eq!(progress.percent(), 33.3);
    /// ```
    pub fn percent(&self) -> f64 {
        let (done, total) = if self.bytes_total > 0 {
            (self.bytes_done, self.bytes_total)
        } else {
            (self.files_done, self.files_total)
        };
        if total == 0 {
            return 0.0;
        }
        // A file may grow while it is read, so `done` can exceed `total`.
        let tenths = u128::from(done.min(total)) * 1000 / u128::from(total);
        f64::from(u32::try_from(tenths).unwrap_or(1000)) / 10.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_is_of_bytes_or_of_files_and_at_most_100() {
        let at = |bytes_done, bytes_total, files_done, files_total| {
            JobProgress {
                phase: Phase::Archiving,
                bytes_done,
                bytes_total,
                files_done,
                files_total,
                slowed: false,
            }
            .percent()
        };
        for (found, expected) in [
            (at(0, 0, 0, 0), 0.0),
            (at(1, 3, 0, 1), 33.3),
            (at(5, 4, 0, 1), 100.0),
            (at(0, 0, 1, 2), 50.0),
            (at(u64::MAX, u64::MAX, 0, 0), 100.0),
        ] {
            assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
        }
    }

    #[test]
    fn each_kind_of_job_belongs_to_one_slot() {
        let slots = [
            WorkerSlot::Prompt,
            WorkerSlot::Normal,
            WorkerSlot::LowPriority,
        ];
        for kind in JobKind::ALL {
            let expected = match kind {
                JobKind::RunTask => WorkerSlot::Prompt,
                JobKind::VerifyBackup => WorkerSlot::LowPriority,
                _ => WorkerSlot::Normal,
            };
            for slot in slots {
                let belongs = slot.priorities().contains(&kind.priority());
                assert_eq!(belongs, slot == expected, "{kind:?} {slot:?}");
            }
        }
        assert!(
            WorkerSlot::LowPriority
                .priorities()
                .contains(&SCHEDULED_VERIFICATION_PRIORITY)
        );
    }

    #[test]
    fn names_are_parsed_as_formatted() {
        for kind in JobKind::ALL {
            assert_eq!(JobKind::parse(kind.as_str()), Some(kind));
        }
        for state in JobState::ALL {
            assert_eq!(JobState::parse(state.as_str()), Some(state));
        }
    }
}
