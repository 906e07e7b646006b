//! The tasks of a schedule.

use serde::{Deserialize, Serialize};

/// The maximum number of schedules that users create for a server. Lists show all of them.
pub const SCHEDULES_MAX: u64 = 250;
/// The maximum length of the payloads of all tasks of a server, in bytes.
pub const PAYLOAD_MAX_BYTES: u64 = 1 << 20;
/// The maximum number of tasks of a schedule.
pub const TASKS_MAX: usize = 10;
/// The maximum delay of a task after the one before it.
pub const TIME_OFFSET_MAX_SECONDS: u32 = 900;
/// The maximum length of a console command, in bytes. Consoles of game servers read lines of at
/// most 4 KiB.
pub const COMMAND_MAX_BYTES: usize = 4000;

/// A change of a server's power state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PowerAction {
    /// Start it.
    Start,
    /// Stop it, and wait until it has stopped.
    Stop,
    /// Stop it, then start it.
    Restart,
    /// Stop it at once.
    Kill,
}

impl PowerAction {
    /// Every action.
    pub const ALL: [Self; 4] = [Self::Start, Self::Stop, Self::Restart, Self::Kill];

    /// Returns the action's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Kill => "kill",
        }
    }

    /// Parses an action's name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.as_str() == text)
    }
}

/// The kinds of tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskActionKind {
    /// Creates a backup.
    Backup,
    /// Changes the server's power state.
    Power,
    /// Sends a line to the server's console.
    Command,
}

impl TaskActionKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Backup, Self::Power, Self::Command];

    /// Returns the kind's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Power => "power",
            Self::Command => "command",
        }
    }

    /// Parses a kind's name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.as_str() == text)
    }
}

/// What a task does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", content = "payload", rename_all = "snake_case")]
pub enum TaskAction {
    /// Creates a backup with these ignore patterns, one a line.
    Backup(String),
    /// Changes the server's power state.
    Power(PowerAction),
    /// Sends a line to the server's console.
    Command(String),
}

/// Why a task's payload is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaskRefused {
    /// It is blank, and the action needs one.
    #[error("the payload is missing")]
    PayloadMissing,
    /// It names no power action.
    #[error("the payload must be start, stop, restart or kill")]
    NoPowerAction,
    /// It has more than [`COMMAND_MAX_BYTES`] bytes.
    #[error("the command is longer than {COMMAND_MAX_BYTES} bytes")]
    CommandTooLong,
    /// It has control characters, such as a line break, which would make it two commands.
    #[error("the command must be one line without control characters")]
    CommandNotOneLine,
}

impl TaskAction {
    /// Makes an action of its kind and payload. The patterns of a backup are checked by
    /// [`IgnorePatterns`](crate::ignore::IgnorePatterns).
    ///
    /// # Errors
    /// [`TaskRefused`]
    pub fn new(kind: TaskActionKind, payload: &str) -> Result<Self, TaskRefused> {
        match kind {
            TaskActionKind::Backup => Ok(Self::Backup(payload.to_owned())),
            TaskActionKind::Power => match payload.trim() {
                "" => Err(TaskRefused::PayloadMissing),
                action => PowerAction::parse(action)
                    .map(Self::Power)
                    .ok_or(TaskRefused::NoPowerAction),
            },
            TaskActionKind::Command => match payload.trim() {
                "" => Err(TaskRefused::PayloadMissing),
                command if command.len() > COMMAND_MAX_BYTES => Err(TaskRefused::CommandTooLong),
                command if command.chars().any(char::is_control) => {
                    Err(TaskRefused::CommandNotOneLine)
                }
                command => Ok(Self::Command(command.to_owned())),
            },
        }
    }

    /// Returns the action's kind.
    pub fn kind(&self) -> TaskActionKind {
        match self {
            Self::Backup(_) => TaskActionKind::Backup,
            Self::Power(_) => TaskActionKind::Power,
            Self::Command(_) => TaskActionKind::Command,
        }
    }

    /// Returns the payload as the API and the database hold it.
    pub fn payload(&self) -> &str {
        match self {
            Self::Backup(patterns) => patterns,
            Self::Power(action) => action.as_str(),
            Self::Command(command) => command,
        }
    }
}

/// A task of a schedule, in a form that a run copies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleTask {
    /// What it does.
    #[serde(flatten)]
    pub action: TaskAction,
    /// The delay after the end of the task before it, in seconds.
    pub time_offset_seconds: u32,
    /// Whether the next task runs even if this one has failed.
    pub continue_on_failure: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_fits_its_action() {
        use TaskActionKind::{Backup, Command, Power};
        let long = "x".repeat(COMMAND_MAX_BYTES);
        let too_long = "x".repeat(COMMAND_MAX_BYTES + 1);
        for (kind, payload, expected) in [
            (Backup, "", Ok(TaskAction::Backup(String::new()))),
            (
                Backup,
                "*.log\ncache/",
                Ok(TaskAction::Backup("*.log\ncache/".into())),
            ),
            (
                Power,
                "restart",
                Ok(TaskAction::Power(PowerAction::Restart)),
            ),
            (Power, "", Err(TaskRefused::PayloadMissing)),
            (Power, "explode", Err(TaskRefused::NoPowerAction)),
            (
                Command,
                " save-off ",
                Ok(TaskAction::Command("save-off".into())),
            ),
            (Command, &long, Ok(TaskAction::Command(long.clone()))),
            (Command, &too_long, Err(TaskRefused::CommandTooLong)),
            (Command, " ", Err(TaskRefused::PayloadMissing)),
            (
                Command,
                "say hi\nop me",
                Err(TaskRefused::CommandNotOneLine),
            ),
            (
                Command,
                "say \u{1b}[2J",
                Err(TaskRefused::CommandNotOneLine),
            ),
        ] {
            assert_eq!(
                TaskAction::new(kind, payload),
                expected,
                "{kind:?} {payload:?}"
            );
        }
    }

    #[test]
    fn a_task_of_a_run_reads_as_it_was_written() {
        for action in [
            TaskAction::Backup("*.log".into()),
            TaskAction::Power(PowerAction::Stop),
            TaskAction::Command("save-on".into()),
        ] {
            let task = ScheduleTask {
                action,
                time_offset_seconds: 5,
                continue_on_failure: true,
            };
            assert_eq!(
                TaskAction::new(task.action.kind(), task.action.payload()),
                Ok(task.action.clone())
            );
        }
    }
}
