//! A schedule and its runs, as the database holds them.

use chrono::{DateTime, Utc};

use super::{RunId, ScheduleId, ScheduleTask, TaskId, Timing};
use crate::id::{BackupId, ServerId};
use crate::name::{BackupName, NameRefused};
use crate::retention::KeepRules;

/// A schedule's name: trimmed, not empty, at most 191 characters, no NUL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleName(String);

impl ScheduleName {
    /// Parses and trims a name. Returns `None` for a blank one.
    ///
    /// # Errors
    /// [`NameRefused`] if it is too long or contains a NUL character.
    pub fn parse(text: &str) -> Result<Option<Self>, NameRefused> {
        // The rules for names of backups.
        let name = BackupName::parse(text)?;
        Ok(name.map(|name| Self(name.as_str().to_owned())))
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a user sets of a schedule.
#[derive(Clone, Debug)]
pub struct ScheduleSettings {
    /// The name.
    pub name: ScheduleName,
    /// When it is due.
    pub timing: Timing,
    /// Retention rules for its own backups.
    pub keep: Option<KeepRules>,
    /// Whether it runs by itself.
    pub is_active: bool,
    /// Whether it runs only while the server is online.
    pub only_when_online: bool,
}

/// A schedule of a server.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// The ID.
    pub id: ScheduleId,
    /// The server.
    pub server: ServerId,
    /// What the user has set.
    pub settings: ScheduleSettings,
    /// Whether it is the default schedule, which the settings of the service define.
    pub is_default: bool,
    /// The next due time. `None` while it is not active.
    pub next_due_at: Option<DateTime<Utc>>,
    /// When the run of the next due time begins.
    pub next_run_at: Option<DateTime<Utc>>,
    /// When its last run began.
    pub last_run_at: Option<DateTime<Utc>>,
    /// Whether a run of it is unfinished.
    pub is_processing: bool,
    /// How its last run ended.
    pub last_result: Option<LastResult>,
    /// The tasks, in their order.
    pub tasks: Vec<StoredTask>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When its settings were last changed.
    pub updated_at: DateTime<Utc>,
}

/// A task of a schedule, with its ID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTask {
    /// The ID.
    pub id: TaskId,
    /// Its number in the schedule, from 1.
    pub sequence: u32,
    /// The task.
    pub task: ScheduleTask,
    /// Whether a run that is not finished has not passed it yet.
    pub is_queued: bool,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

/// How the last run of a schedule ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastResult {
    /// The state of the run.
    pub state: RunState,
    /// When it ended.
    pub finished_at: DateTime<Utc>,
    /// The last backup that it created.
    pub backup: Option<BackupId>,
    /// The first failure: a sentence for users.
    pub error: Option<String>,
}

/// The state of a run. All but the first two are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// Another run of the server is not finished.
    Waiting,
    /// Its tasks run.
    Running,
    /// All its tasks have succeeded.
    Completed,
    /// One of its tasks has failed.
    Failed,
    /// It did nothing, because the server was not online.
    Skipped,
    /// It never began.
    Missed,
}

impl RunState {
    /// Every state.
    pub const ALL: [Self; 6] = [
        Self::Waiting,
        Self::Running,
        Self::Completed,
        Self::Failed,
        Self::Skipped,
        Self::Missed,
    ];

    /// Returns the state's name for clients and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Missed => "missed",
        }
    }

    /// Parses a state's name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }
}

/// A run of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleRun {
    /// The ID.
    pub id: RunId,
    /// The schedule, which may have been deleted.
    pub schedule: ScheduleId,
    /// The server.
    pub server: ServerId,
    /// The due time.
    pub due_at: DateTime<Utc>,
    /// Whether a user started it.
    pub is_manual: bool,
    /// The state.
    pub state: RunState,
    /// The first failure: a sentence for users.
    pub error: Option<String>,
    /// The last backup that it created.
    pub backup: Option<BackupId>,
    /// When its first task began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
}
