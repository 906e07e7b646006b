//! Which tasks a schedule of a server may have.

use super::{PowerAction, TASKS_MAX, TaskAction};

/// What the power driver can do for the tasks of schedules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PowerSupport {
    /// Nothing: there is no driver.
    #[default]
    None,
    /// It can stop servers, and do the rest as far as the settings have commands for it.
    Commands {
        /// It can start servers.
        can_start: bool,
        /// It can kill servers.
        can_kill: bool,
        /// It can send lines to consoles.
        can_send: bool,
    },
    /// All kinds of tasks.
    All,
}

/// Why the power driver can't run a task: the setting to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PowerUnsupported {
    /// There is no driver.
    #[error("power.driver is \"none\"; set it to \"docker\" or \"command\"")]
    NoDriver,
    /// The driver needs a command that is not set.
    #[error("{0} is not set")]
    NoCommand(&'static str),
}

impl PowerSupport {
    /// Checks that the driver can run a task. Backups need no driver.
    ///
    /// # Errors
    /// [`PowerUnsupported`]
    pub fn check(self, action: &TaskAction) -> Result<(), PowerUnsupported> {
        match action {
            TaskAction::Backup(_) => Ok(()),
            TaskAction::Power(action) => self.check_power(*action),
            TaskAction::Command(_) => self.check_command(),
        }
    }

    /// Checks that the driver can change the power state of a server.
    ///
    /// # Errors
    /// [`PowerUnsupported`]
    pub fn check_power(self, action: PowerAction) -> Result<(), PowerUnsupported> {
        match (self, action) {
            (Self::None, _) => Err(PowerUnsupported::NoDriver),
            (
                Self::Commands {
                    can_start: false, ..
                },
                PowerAction::Start | PowerAction::Restart,
            ) => Err(PowerUnsupported::NoCommand("power.start_command")),
            (
                Self::Commands {
                    can_kill: false, ..
                },
                PowerAction::Kill,
            ) => Err(PowerUnsupported::NoCommand("power.kill_command")),
            (Self::Commands { .. } | Self::All, _) => Ok(()),
        }
    }

    /// Checks that the driver can send lines to consoles.
    ///
    /// # Errors
    /// [`PowerUnsupported`]
    pub fn check_command(self) -> Result<(), PowerUnsupported> {
        match self {
            Self::None => Err(PowerUnsupported::NoDriver),
            Self::Commands {
                can_send: false, ..
            } => Err(PowerUnsupported::NoCommand("power.console_command")),
            Self::Commands { .. } | Self::All => Ok(()),
        }
    }
}

/// What limits the tasks of a server's schedules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskLimits {
    /// The server's limit of backups; 0 means that none may be created.
    pub backups: u32,
    /// What the power driver can do.
    pub power: PowerSupport,
}

/// Why a schedule can't have a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaskNotAllowed {
    /// The schedule has [`TASKS_MAX`] other tasks.
    #[error("a schedule can have at most {TASKS_MAX} tasks")]
    TooMany,
    /// The server may have no backups.
    #[error("the server's backup limit is 0")]
    NoBackups,
    /// The power driver can't run it.
    #[error("the service is not set up for this task: {0}")]
    Power(PowerUnsupported),
}

impl TaskLimits {
    /// Checks a task of a schedule that has `others` other tasks.
    ///
    /// # Errors
    /// [`TaskNotAllowed`]
    pub fn check(&self, others: usize, action: &TaskAction) -> Result<(), TaskNotAllowed> {
        if others >= TASKS_MAX {
            return Err(TaskNotAllowed::TooMany);
        }
        if self.backups == 0 && matches!(action, TaskAction::Backup(_)) {
            return Err(TaskNotAllowed::NoBackups);
        }
        self.power.check(action).map_err(TaskNotAllowed::Power)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_the_driver_cannot_run_is_refused_with_the_setting_to_change() {
        let commands = |can_start, can_kill, can_send| PowerSupport::Commands {
            can_start,
            can_kill,
            can_send,
        };
        let command = TaskAction::Command("save-off".into());
        let power = TaskAction::Power;
        for (support, action, expected) in [
            (PowerSupport::None, command.clone(), "power.driver is"),
            (
                PowerSupport::None,
                power(PowerAction::Stop),
                "power.driver is",
            ),
            (PowerSupport::None, TaskAction::Backup(String::new()), ""),
            (PowerSupport::All, command.clone(), ""),
            (PowerSupport::All, power(PowerAction::Kill), ""),
            (
                commands(true, true, false),
                command.clone(),
                "power.console_command is not set",
            ),
            (commands(false, false, true), command, ""),
            (
                commands(false, true, true),
                power(PowerAction::Start),
                "power.start_command is not set",
            ),
            (
                commands(false, true, true),
                power(PowerAction::Restart),
                "power.start_command is not set",
            ),
            (commands(false, true, true), power(PowerAction::Stop), ""),
            (
                commands(true, false, true),
                power(PowerAction::Kill),
                "power.kill_command is not set",
            ),
        ] {
            let limits = TaskLimits {
                backups: 1,
                power: support,
            };
            let refused = limits.check(TASKS_MAX - 1, &action).err();
            let text = refused.map_or(String::new(), |refused| refused.to_string());
            assert_eq!(text.is_empty(), expected.is_empty(), "{action:?}: {text}");
            assert!(text.contains(expected), "{action:?}: {text}");
        }
    }

    #[test]
    fn a_schedule_has_at_most_ten_tasks_and_no_backup_where_the_limit_is_0() {
        let backup = TaskAction::Backup(String::new());
        let command = TaskAction::Command("save-off".into());
        let limits = TaskLimits {
            backups: 0,
            power: PowerSupport::All,
        };
        assert_eq!(limits.check(9, &command), Ok(()));
        assert_eq!(limits.check(10, &command), Err(TaskNotAllowed::TooMany));
        assert_eq!(limits.check(0, &backup), Err(TaskNotAllowed::NoBackups));
        let limits = TaskLimits {
            backups: 1,
            ..limits
        };
        assert_eq!(limits.check(0, &backup), Ok(()));
    }
}
