//! A run of a schedule: its tasks one after another, as a state machine.
//!
//! A task ends when what it began has ended. After a failure, only *owed* tasks still run: those
//! that undo what an earlier task of this run did.

use super::{PowerAction, ScheduleTask, TaskAction};

/// How a task of a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepOutcome {
    /// It did what it should.
    Succeeded,
    /// It failed, or was cancelled.
    Failed,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunPosition {
    /// The last task that was begun, counted from 0; `None` at the start.
    pub begun: Option<usize>,
    /// Whether a task has failed after which the run does not continue. Then only owed tasks run.
    pub is_aborted: bool,
}

/// What a run does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// Begin a task.
    Begin {
        /// The task, counted from 0.
        task: usize,
        /// Whether it is owed: it runs whatever happens.
        is_owed: bool,
        /// Whether the run has been aborted.
        is_aborted: bool,
    },
    /// End the run. It has succeeded only if all its tasks have.
    End,
}

/// Returns what a run does after its last begun task has ended with `outcome`.
///
/// A task is owed if it follows a backup and undoes something that was begun before that backup: a
/// command after a command (`save-on` after `save-off`), or a start after a stop. It is owed even
/// if the first one failed, because that one may have had its effect.
///
/// ```
/// use holdfast_domain::schedule::{
///     NextStep, RunPosition, ScheduleTask, StepOutcome, TaskAction, next_step,
/// };
///
/// let task = |action| ScheduleTask {
///     action,
///     time_offset_seconds: 0,
///     continue_on_failure: false,
/// };
/// let tasks = [
///     task(TaskAction::Command("save-off".into())),
///     task(TaskAction::Backup(String::new())),
///     task(TaskAction::Command("save-on".into())),
/// ];
/// let backup = RunPosition { begun: Some(1), is_aborted: false };
/// let next = next_step(&tasks, backup, StepOutcome::Failed);
/// assert_eq!(next, NextStep::Begin { task: 2, is_owed: true, is_aborted: true });
/// ```
pub fn next_step(tasks: &[ScheduleTask], position: RunPosition, outcome: StepOutcome) -> NextStep {
    let ended = position.begun.and_then(|begun| tasks.get(begun));
    let is_aborted = position.is_aborted
        || (outcome == StepOutcome::Failed && ended.is_some_and(|task| !task.continue_on_failure));
    let first = position.begun.map_or(0, |begun| begun + 1);
    for task in first..tasks.len() {
        let is_owed = is_owed(tasks, task, first);
        if is_owed || !is_aborted {
            return NextStep::Begin {
                task,
                is_owed,
                is_aborted,
            };
        }
    }
    NextStep::End
}

/// Returns whether `task` undoes one of the first `begun` tasks, with a backup between them.
fn is_owed(tasks: &[ScheduleTask], task: usize, begun: usize) -> bool {
    let undoes = |earlier: &ScheduleTask| match tasks.get(task).map(|task| &task.action) {
        Some(TaskAction::Command(_)) => matches!(earlier.action, TaskAction::Command(_)),
        Some(TaskAction::Power(PowerAction::Start | PowerAction::Restart)) => matches!(
            earlier.action,
            TaskAction::Power(PowerAction::Stop | PowerAction::Kill)
        ),
        _ => false,
    };
    let is_backup = |task: &ScheduleTask| matches!(task.action, TaskAction::Backup(_));
    let before = tasks.get(..task).unwrap_or_default();
    let Some(last_backup) = before.iter().rposition(is_backup) else {
        return false;
    };
    before.iter().take(last_backup.min(begun)).any(undoes)
}

#[cfg(test)]
mod tests;
