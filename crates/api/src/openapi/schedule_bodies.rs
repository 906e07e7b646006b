//! The request bodies of schedules.
#![expect(
    dead_code,
    reason = "only the shapes are used: handlers read bodies field by field"
)]

use utoipa::ToSchema;

use super::enums;

/// The body of a request that creates or changes a schedule. The five cron fields have the syntax
/// of cron(8).
#[derive(ToSchema)]
pub(crate) struct ScheduleBody {
    #[schema(min_length = 1, max_length = 191, example = "Nightly")]
    name: String,
    #[schema(min_length = 1, example = "0")]
    minute: String,
    #[schema(min_length = 1, example = "4")]
    hour: String,
    #[schema(min_length = 1, example = "*")]
    day_of_month: String,
    #[schema(min_length = 1, example = "*")]
    month: String,
    #[schema(min_length = 1, example = "*")]
    day_of_week: String,
    /// Whether it runs by itself. Default: false, also when a schedule is changed.
    #[schema(example = true)]
    is_active: Option<bool>,
    /// Whether its runs are skipped while the server is not online. Default: false, also when a
    /// schedule is changed.
    only_when_online: Option<bool>,
    /// The IANA name of a time zone. Absent: not changed. Default: `schedules.timezone` of the
    /// settings.
    #[schema(example = "Europe/Berlin")]
    timezone: Option<String>,
    /// The longest delay of a run after its due time. Absent: not changed. Default: 0.
    #[schema(maximum = 86400)]
    jitter_seconds: Option<u32>,
    /// What happens to due times at which the service did not run. Absent: not changed. Default:
    /// `run_once`.
    #[schema(schema_with = enums::missed_policy, required = false)]
    missed: Option<String>,
    /// Retention rules for the backups of this schedule alone: any of `within` (days), `last`,
    /// `hourly`, `daily`, `weekly` and `monthly`. Absent: not changed. Default: none.
    #[schema(example = "last=7")]
    keep: Option<String>,
}

/// The body of a request that changes some fields of a schedule. Absent fields keep their value.
#[derive(ToSchema)]
pub(crate) struct ScheduleFieldsBody {
    #[schema(min_length = 1, max_length = 191, example = "Nightly")]
    name: Option<String>,
    #[schema(min_length = 1, example = "30")]
    minute: Option<String>,
    #[schema(min_length = 1)]
    hour: Option<String>,
    #[schema(min_length = 1)]
    day_of_month: Option<String>,
    #[schema(min_length = 1)]
    month: Option<String>,
    #[schema(min_length = 1)]
    day_of_week: Option<String>,
    is_active: Option<bool>,
    only_when_online: Option<bool>,
    timezone: Option<String>,
    #[schema(maximum = 86400)]
    jitter_seconds: Option<u32>,
    #[schema(schema_with = enums::missed_policy, required = false)]
    missed: Option<String>,
    keep: Option<String>,
}

/// The body of a request that creates or changes a task.
#[derive(ToSchema)]
pub(crate) struct TaskBody {
    #[schema(schema_with = enums::task_action, required = true)]
    action: String,
    /// For `backup`: ignore patterns, one per line. For `power`: `start`, `stop`, `restart` or
    /// `kill`. For `command`: the line for the server's console. Required unless `action` is
    /// `backup`.
    #[schema(example = "*.log\ncache/")]
    payload: Option<String>,
    /// Seconds after the end of the task before it.
    #[schema(maximum = 900)]
    time_offset: u32,
    /// The number of the task in its schedule, from 1. Default: the end for a new task, and no
    /// change for others.
    #[schema(minimum = 1)]
    sequence_id: Option<u32>,
    /// Whether later tasks run even if this one has failed. Default: false, also when a task is
    /// changed.
    continue_on_failure: Option<bool>,
}
