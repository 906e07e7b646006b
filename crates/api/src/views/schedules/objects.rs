//! The fields of schedules and tasks, for answers and for the OpenAPI document.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// All schedules of a server. The list has no pages.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScheduleList {
    /// Always `list`.
    #[schema(example = "list")]
    pub(crate) object: &'static str,
    pub(crate) data: Vec<ScheduleObject>,
}

/// A schedule.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScheduleObject {
    /// Always `server_schedule`.
    #[schema(example = "server_schedule")]
    pub(crate) object: &'static str,
    pub(crate) attributes: ScheduleAttributes,
}

/// A schedule, with its tasks.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScheduleAttributes {
    #[schema(minimum = 1)]
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) cron: CronView,
    /// Whether it runs by itself.
    pub(crate) is_active: bool,
    /// Whether a run of it waits or runs.
    pub(crate) is_processing: bool,
    /// Whether its runs are skipped while the server is not online.
    pub(crate) only_when_online: bool,
    /// When its last run was created.
    #[schema(format = DateTime)]
    pub(crate) last_run_at: Option<String>,
    /// When its next run begins, jitter included. Null while it is not active.
    #[schema(format = DateTime)]
    pub(crate) next_run_at: Option<String>,
    #[schema(format = DateTime)]
    pub(crate) created_at: String,
    #[schema(format = DateTime)]
    pub(crate) updated_at: String,
    /// The IANA name of the time zone that `cron` is evaluated in.
    #[schema(example = "Europe/Berlin")]
    pub(crate) timezone: &'static str,
    /// The longest delay of a run after its due time. The delay of a schedule is always the same.
    pub(crate) jitter_seconds: u32,
    /// What happens to due times at which the service did not run: `run_once` or `skip`.
    #[schema(example = "run_once")]
    pub(crate) missed: &'static str,
    /// Retention rules for the backups of this schedule alone.
    #[schema(example = "last=7")]
    pub(crate) keep: Option<String>,
    /// How its last run ended. Null before the first one has ended.
    pub(crate) last_result: Option<LastResultView>,
    pub(crate) relationships: ScheduleRelationships,
}

/// The five fields of a cron expression.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CronView {
    #[schema(example = "*")]
    pub(crate) day_of_week: String,
    #[schema(example = "*")]
    pub(crate) day_of_month: String,
    #[schema(example = "*")]
    pub(crate) month: String,
    #[schema(example = "4")]
    pub(crate) hour: String,
    #[schema(example = "0")]
    pub(crate) minute: String,
}

/// How a run ended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LastResultView {
    /// `completed`, `failed`, `skipped` (the server was not online) or `missed` (it never began).
    #[schema(example = "completed")]
    pub(crate) status: &'static str,
    #[schema(format = DateTime)]
    pub(crate) finished_at: String,
    /// UUID of the last backup that the run has created.
    pub(crate) backup: Option<Uuid>,
    /// The first failure, as a sentence.
    pub(crate) error: Option<String>,
}

/// The objects that belong to a schedule.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScheduleRelationships {
    pub(crate) tasks: TaskList,
}

/// The tasks of a schedule, in their order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskList {
    /// Always `list`.
    #[schema(example = "list")]
    pub(crate) object: &'static str,
    pub(crate) data: Vec<TaskObject>,
}

/// A task of a schedule.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskObject {
    /// Always `schedule_task`.
    #[schema(example = "schedule_task")]
    pub(crate) object: &'static str,
    pub(crate) attributes: TaskAttributes,
}

/// What a task does, and when.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskAttributes {
    #[schema(minimum = 1)]
    pub(crate) id: i64,
    /// The number of the task in its schedule, from 1.
    pub(crate) sequence_id: u32,
    /// `backup`, `power` or `command`.
    #[schema(example = "backup")]
    pub(crate) action: &'static str,
    /// The ignore patterns of a backup, the power action, or the command.
    #[schema(example = "*.log\ncache/")]
    pub(crate) payload: String,
    /// Seconds after the end of the task before it.
    pub(crate) time_offset: u32,
    /// Whether a run that is not finished has not passed the task yet.
    pub(crate) is_queued: bool,
    /// Whether later tasks run even if this one has failed.
    pub(crate) continue_on_failure: bool,
    #[schema(format = DateTime)]
    pub(crate) created_at: String,
    #[schema(format = DateTime)]
    pub(crate) updated_at: String,
}
