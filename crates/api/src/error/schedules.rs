//! Why a request about schedules is refused: status, code and text, as panels have them.

use actix_web::http::StatusCode;

use holdfast_domain::schedule::{PAYLOAD_MAX_BYTES, SCHEDULES_MAX, TASKS_MAX, TaskNotAllowed};

/// Why a schedule or a task cannot be created, changed or run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ScheduleRefused {
    /// The cron expression is invalid, or never comes due.
    InvalidCron,
    /// The schedule has no tasks.
    NoTasks,
    /// The settings define the schedule.
    IsDefault,
    /// The schedule cannot have the task.
    Task(TaskNotAllowed),
    /// The server has the largest number of schedules.
    TooManySchedules,
    /// The tasks of the server have the largest payload in all.
    TooMuchPayload,
}

impl ScheduleRefused {
    pub(super) fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::InvalidCron | Self::NoTasks | Self::Task(TaskNotAllowed::Power(_)) => {
                (StatusCode::BAD_REQUEST, "DisplayException")
            }
            Self::TooManySchedules | Self::TooMuchPayload | Self::Task(TaskNotAllowed::TooMany) => {
                (StatusCode::BAD_REQUEST, "ServiceLimitExceededException")
            }
            Self::IsDefault => (StatusCode::CONFLICT, "ConflictHttpException"),
            Self::Task(TaskNotAllowed::NoBackups) => {
                (StatusCode::FORBIDDEN, "HttpForbiddenException")
            }
        }
    }

    pub(super) fn detail(&self) -> String {
        match self {
            Self::InvalidCron => {
                "The cron data provided does not evaluate to a valid expression.".into()
            }
            Self::NoTasks => {
                "Cannot process schedule for task execution: no tasks are registered.".into()
            }
            Self::IsDefault => {
                "This is the default schedule of all servers, which the operator's settings \
                 (schedules.default) define. If you delete it, this server gets no default \
                 schedule any more."
                    .into()
            }
            Self::Task(TaskNotAllowed::TooMany) => format!(
                "Schedules may not have more than {TASKS_MAX} tasks associated with them. Creating \
                 this task would put this schedule over the limit."
            ),
            Self::TooManySchedules => {
                format!("Servers may not have more than {SCHEDULES_MAX} schedules.")
            }
            Self::TooMuchPayload => format!(
                "The payloads of all tasks of a server may not have more than {PAYLOAD_MAX_BYTES} \
                 bytes."
            ),
            Self::Task(TaskNotAllowed::NoBackups) => {
                "A backup task cannot be created when the server's backup limit is set to 0.".into()
            }
            Self::Task(TaskNotAllowed::Power(why)) => {
                format!("The service is not set up for this task: {why}.")
            }
        }
    }
}
