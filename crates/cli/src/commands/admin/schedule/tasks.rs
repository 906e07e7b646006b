//! The tasks of a schedule as the command line knows them: one backup, and commands around it.

use holdfast_db::schedules::ScheduleUsage;
use holdfast_domain::ignore::IgnorePatterns;
use holdfast_domain::schedule::{
    PAYLOAD_MAX_BYTES, SCHEDULES_MAX, ScheduleId, ScheduleTask, TaskAction, TaskLimits,
};

use super::options::TaskOptions;
use crate::commands::schedule_values::ConsoleLine;
use crate::error::CommandError;
use crate::settings::Settings;

/// Returns the tasks of a new schedule.
///
/// # Errors
/// If the ignore patterns can't be read, or exceed a limit.
pub(super) fn around_a_backup(
    settings: &Settings,
    options: &TaskOptions,
) -> Result<Vec<ScheduleTask>, CommandError> {
    let patterns = ignored(settings, options)?.unwrap_or_default();
    let backup = ScheduleTask {
        time_offset_seconds: options.wait.unwrap_or_default(),
        ..task(TaskAction::Backup(patterns))
    };
    let commands = |lines: &[ConsoleLine]| commands(lines).collect::<Vec<_>>();
    let (before, after) = (commands(&options.before), commands(&options.after));
    Ok([before, vec![backup], after].concat())
}

/// Returns the tasks of a schedule that is changed, or `None` if they stay as they are.
///
/// # Errors
/// As [`around_a_backup`]. Also if the schedule has other tasks that an option would replace.
pub(super) fn changed(
    settings: &Settings,
    schedule: ScheduleId,
    old: &[ScheduleTask],
    options: &TaskOptions,
) -> Result<Option<Vec<ScheduleTask>>, CommandError> {
    let ignored = ignored(settings, options)?;
    let has_commands = !options.before.is_empty() || !options.after.is_empty();
    if ignored.is_none() && options.wait.is_none() && !has_commands {
        return Ok(None);
    }
    let is_backup = |task: &ScheduleTask| matches!(task.action, TaskAction::Backup(_));
    let are_commands = |tasks: &[ScheduleTask]| {
        let mut tasks = tasks.iter();
        tasks.all(|task| matches!(task.action, TaskAction::Command(_)))
    };
    let other_tasks = || {
        CommandError::new(format!(
            "schedule `{schedule}` has other tasks than one backup and commands around it: change \
             its tasks by the API"
        ))
    };
    let at = old.iter().position(is_backup).ok_or_else(other_tasks)?;
    let (before, rest) = old.split_at(at);
    let (backup, after) = rest.split_first().ok_or_else(other_tasks)?;
    if !are_commands(before) || !are_commands(after) {
        return Err(other_tasks());
    }
    let mut backup = backup.clone();
    if let Some(patterns) = ignored {
        backup.action = TaskAction::Backup(patterns);
    }
    if let Some(seconds) = options.wait {
        backup.time_offset_seconds = seconds;
    }
    let replaced = |lines: &[ConsoleLine], old: &[ScheduleTask]| match lines {
        [] => old.to_vec(),
        lines => commands(lines).collect(),
    };
    let (before, after) = (
        replaced(&options.before, before),
        replaced(&options.after, after),
    );
    Ok(Some([before, vec![backup], after].concat()))
}

/// Checks that a server's schedule may have these tasks. `usage` is that of the server without the
/// schedule.
///
/// # Errors
/// The rule that one of them breaks.
pub(super) fn check(
    limits: &TaskLimits,
    usage: &ScheduleUsage,
    tasks: &[ScheduleTask],
) -> Result<(), CommandError> {
    for (others, task) in tasks.iter().enumerate() {
        limits.check(others, &task.action).map_err(|error| {
            let kind = task.action.kind().as_str();
            CommandError::new(format!("the {kind} task is refused: {error}"))
        })?;
    }
    if usage.schedules >= SCHEDULES_MAX {
        return Err(CommandError::new(format!(
            "the server has {SCHEDULES_MAX} schedules, which is the maximum: delete one"
        )));
    }
    if usage.payload_bytes + payload_bytes(tasks) > PAYLOAD_MAX_BYTES {
        return Err(CommandError::new(format!(
            "the tasks of the server's schedules would have more than {PAYLOAD_MAX_BYTES} bytes of \
             patterns and commands in all"
        )));
    }
    Ok(())
}

/// Returns the total length of the payloads.
pub(super) fn payload_bytes(tasks: &[ScheduleTask]) -> u64 {
    let lengths = tasks.iter().map(|task| task.action.payload().len() as u64);
    lengths.sum()
}

fn commands(lines: &[ConsoleLine]) -> impl Iterator<Item = ScheduleTask> {
    let actions = lines.iter().filter_map(|line| line.0.clone());
    actions.map(task)
}

fn task(action: TaskAction) -> ScheduleTask {
    ScheduleTask {
        action,
        time_offset_seconds: 0,
        continue_on_failure: false,
    }
}

/// Reads the file with the ignore patterns.
fn ignored(settings: &Settings, options: &TaskOptions) -> Result<Option<String>, CommandError> {
    let Some(path) = &options.ignored else {
        return Ok(None);
    };
    let text = fs_err::read_to_string(path)?;
    let patterns = IgnorePatterns::parse([text.as_str()], settings.api.max_ignored_bytes);
    let patterns = patterns.map_err(|error| {
        CommandError::with_cause(format!("--ignored `{}`", path.display()), &error)
    })?;
    Ok(Some(patterns.lines().join("\n")))
}
