//! One step of a run: begins its next task, or ends it.

use std::time::Duration;

use serde_json::json;

use holdfast_db::jobs::{self, NewJob};
use holdfast_db::schedules::{self, ActiveRun};
use holdfast_db::{Error, Transaction, servers};
use holdfast_domain::job::RunTaskArgs;
use holdfast_domain::schedule::{
    NextStep, RunId, RunPosition, RunState, ScheduleTask, StepOutcome, TaskAction, next_step,
};
use holdfast_domain::{BackupId, JobKind, Server};

use super::backup::{self, BackupStart};
use crate::context::Context;

/// How long a run waits before it looks again whether another run or job of its server has ended.
const BUSY_WAIT: Duration = Duration::from_secs(5);
/// How often a task is tried.
const ATTEMPTS: u32 = 3;
/// How often an owed task is tried: over about a quarter of an hour.
const OWED_ATTEMPTS: u32 = 20;

/// Brings a run to its next state. Returns whether anything has changed.
pub(super) async fn advance_run(context: &Context, run: RunId) -> Result<bool, Error> {
    let mut transaction = context.database.begin().await?;
    let Some(run) = schedules::lock_ready(&mut transaction, run).await? else {
        return Ok(false);
    };
    let is_changed = decide(context, &mut transaction, run).await?;
    transaction.commit().await?;
    Ok(is_changed)
}

async fn decide(
    context: &Context,
    transaction: &mut Transaction,
    run: ActiveRun,
) -> Result<bool, Error> {
    let found = servers::lock_and_find(transaction, run.server).await?;
    let Some((server, load)) = found else {
        // The server is being deleted, and takes its files with it.
        let why = "The server is being deleted.";
        schedules::record_failure(transaction, run.id, why).await?;
        schedules::finish(transaction, &run, RunState::Failed).await?;
        return Ok(true);
    };
    if run.state == RunState::Waiting && !schedules::start(transaction, run.id).await? {
        wait(transaction, &run, run.task, run.is_aborted, BUSY_WAIT).await?;
        return Ok(false);
    }
    match run.outcome {
        Some(outcome) => end_task(context, transaction, &server, &run, outcome).await,
        None if run.task.is_some_and(|task| task >= run.tasks.len()) => {
            let why = "The schedule has no tasks.";
            schedules::record_failure(transaction, run.id, why).await?;
            schedules::finish(transaction, &run, RunState::Failed).await?;
            Ok(true)
        }
        None => begin(context, transaction, &server, &load, &run).await,
    }
}

/// Decides what follows the task that has ended.
async fn end_task(
    context: &Context,
    transaction: &mut Transaction,
    server: &Server,
    run: &ActiveRun,
    outcome: StepOutcome,
) -> Result<bool, Error> {
    if run.task.is_none() && outcome == StepOutcome::Failed {
        schedules::finish(transaction, run, RunState::Skipped).await?;
        return Ok(true);
    }
    let ended = run.task.and_then(|task| run.tasks.get(task));
    if outcome == StepOutcome::Succeeded
        && ended.is_some_and(|task| matches!(task.action, TaskAction::Backup(_)))
    {
        backup::retain(context, transaction, server, run.schedule).await?;
    }
    let position = RunPosition {
        begun: run.task,
        is_aborted: run.is_aborted,
    };
    match next_step(&run.tasks, position, outcome) {
        NextStep::Begin {
            task, is_aborted, ..
        } => {
            let offset = run
                .tasks
                .get(task)
                .map_or(0, |task| task.time_offset_seconds);
            let delay = Duration::from_secs(offset.into());
            wait(transaction, run, Some(task), is_aborted, delay).await?;
        }
        NextStep::End => {
            // A failure was recorded with the task.
            let failed = run.error.is_some() || outcome == StepOutcome::Failed;
            let state = if failed {
                RunState::Failed
            } else {
                RunState::Completed
            };
            schedules::finish(transaction, run, state).await?;
            tracing::info!(
                server = %run.server,
                schedule = %run.schedule,
                run = %run.id,
                state = state.as_str(),
                error = run.error,
                "a run of a schedule has ended"
            );
        }
    }
    Ok(true)
}

/// Begins the current task.
async fn begin(
    context: &Context,
    transaction: &mut Transaction,
    server: &Server,
    load: &holdfast_domain::limit::ServerLoad,
    run: &ActiveRun,
) -> Result<bool, Error> {
    let is_owed = is_owed(run);
    if !is_owed && (run.is_deleted || run.is_aborted) {
        return fail(transaction, run, "The schedule was deleted.").await;
    }
    let args = match run.task.and_then(|task| run.tasks.get(task)) {
        None => RunTaskArgs::RequireOnline,
        Some(ScheduleTask { action, .. }) => match action {
            TaskAction::Power(action) => RunTaskArgs::Power(*action),
            TaskAction::Command(line) => RunTaskArgs::Command(line.clone()),
            TaskAction::Backup(patterns) => {
                return begin_backup(context, transaction, server, load, run, patterns).await;
            }
        },
    };
    let job = NewJob {
        kind: JobKind::RunTask,
        server: server.id,
        backup: BackupId::NONE,
        node: &server.node,
        args: json!(args),
        max_attempts: if is_owed { OWED_ATTEMPTS } else { ATTEMPTS },
        run: Some(run.id),
    };
    let job = jobs::enqueue(transaction, &job).await?;
    schedules::begin_task(transaction, run.id, run.task, run.is_aborted, job, None).await?;
    Ok(true)
}

async fn begin_backup(
    context: &Context,
    transaction: &mut Transaction,
    server: &Server,
    load: &holdfast_domain::limit::ServerLoad,
    run: &ActiveRun,
    patterns: &str,
) -> Result<bool, Error> {
    let begun = backup::begin(context, transaction, server, load, run, patterns).await?;
    match begun {
        BackupStart::Begun(job, backup) => {
            let (task, is_aborted) = (run.task, run.is_aborted);
            schedules::begin_task(transaction, run.id, task, is_aborted, job, Some(backup)).await?;
        }
        BackupStart::Busy => {
            wait(transaction, run, run.task, run.is_aborted, BUSY_WAIT).await?;
            return Ok(false);
        }
        BackupStart::Refused(sentence) => {
            schedules::record_failure(transaction, run.id, &sentence).await?;
            let failed = Some(StepOutcome::Failed);
            let (task, is_aborted) = (run.task, run.is_aborted);
            schedules::postpone(
                transaction,
                run.id,
                task,
                is_aborted,
                failed,
                Duration::ZERO,
            )
            .await?;
        }
    }
    Ok(true)
}

/// Returns whether the current task undoes an earlier one. After an abort, no other task begins.
fn is_owed(run: &ActiveRun) -> bool {
    run.task.is_some_and(|task| {
        let before = RunPosition {
            begun: task.checked_sub(1),
            is_aborted: true,
        };
        let next = next_step(&run.tasks, before, StepOutcome::Succeeded);
        matches!(next, NextStep::Begin { task: next, .. } if next == task)
    })
}

/// Ends the current task before it has begun.
async fn fail(
    transaction: &mut Transaction,
    run: &ActiveRun,
    sentence: &str,
) -> Result<bool, Error> {
    schedules::record_failure(transaction, run.id, sentence).await?;
    let (task, is_aborted, failed) = (run.task, run.is_aborted, Some(StepOutcome::Failed));
    schedules::postpone(
        transaction,
        run.id,
        task,
        is_aborted,
        failed,
        Duration::ZERO,
    )
    .await?;
    Ok(true)
}

async fn wait(
    transaction: &mut Transaction,
    run: &ActiveRun,
    task: Option<usize>,
    is_aborted: bool,
    delay: Duration,
) -> Result<(), Error> {
    schedules::postpone(transaction, run.id, task, is_aborted, None, delay).await
}
