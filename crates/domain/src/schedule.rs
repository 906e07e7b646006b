//! Schedules: when a server's tasks run, and in which order.
//!
//! A schedule has a cron expression in a time zone and up to [`TASKS_MAX`] tasks. Each of its due
//! times becomes one run, or is recorded as missed. Nothing here reads a clock: `now` is an
//! argument, and it comes from the database.

mod cron;
mod default_schedule;
mod due;
mod model;
mod run;
mod task;
mod task_limits;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use cron::{Cron, CronFields, CronInvalid, Timezone};
pub use default_schedule::{DefaultSchedule, DefaultScheduleFixed};
pub use due::{DueTimes, JITTER_MAX_SECONDS, MissedPolicy, Timing, due_times};
pub use model::{
    LastResult, RunState, Schedule, ScheduleName, ScheduleRun, ScheduleSettings, StoredTask,
};
pub use run::{NextStep, RunPosition, StepOutcome, next_step};
pub use task::{
    COMMAND_MAX_BYTES, PAYLOAD_MAX_BYTES, PowerAction, SCHEDULES_MAX, ScheduleTask, TASKS_MAX,
    TIME_OFFSET_MAX_SECONDS, TaskAction, TaskActionKind, TaskRefused,
};
pub use task_limits::{PowerSupport, PowerUnsupported, TaskLimits, TaskNotAllowed};

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl $name {
            /// Parses decimal digits. Returns `None` for anything else.
            pub fn parse(text: &str) -> Option<Self> {
                let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
                // A leading zero would give the object a second URL.
                let is_canonical = text == "0" || !text.starts_with('0');
                (is_number && is_canonical).then(|| text.parse().ok().map(Self))?
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id!(
    /// The ID of a schedule.
    ScheduleId
);
number_id!(
    /// The ID of a task of a schedule.
    TaskId
);
number_id!(
    /// The ID of a run of a schedule.
    RunId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_in_decimal_digits_without_leading_zeros() {
        for (text, expected) in [
            ("7", Some(7)),
            ("0", Some(0)),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", None),
            ("007", None),
            ("+7", None),
            ("-7", None),
            ("", None),
            ("7a", None),
        ] {
            assert_eq!(ScheduleId::parse(text), expected.map(ScheduleId), "{text}");
        }
    }
}
