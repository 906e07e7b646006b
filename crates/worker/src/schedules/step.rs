//! One step of a run: begins its next task, or ends it.

use std::time::Duration;

use serde_json::{Value, json};

use holdfast_db::jobs::{self, NewJob};
use holdfast_db::schedules::{self, ActiveRun};
use holdfast_db::{Error, Transaction, activity, servers};
use holdfast_domain::activity::ActivityEvent;
use holdfast_domain::job::RunTaskArgs;
use holdfast_domain::limit::ServerLoad;
use holdfast_domain::schedule::{
    NextStep, RunId, RunPosition, RunState, Schedule, ScheduleTask, StepOutcome, TaskAction,
    next_step,
};
use holdfast_domain::{BackupId, JobKind, Server, ServerId};

use super::backup::{self, ATTEMPTS, BackupStart};
use crate::context::Context;
use crate::jobs::run_task::NOT_RUNNING;

/// How long a run waits before it looks again whether another run or job of its server has ended.
const BUSY_WAIT: Duration = Duration::from_secs(5);
/// How often an owed task is tried: over about a quarter of an hour.
const OWED_ATTEMPTS: u32 = 20;

/// What begins a task.
pub(super) enum TaskStart {
    /// A job that runs it by the power driver.
    Run(RunTaskArgs),
    /// A backup with these ignore patterns.
    Backup(String),
}

impl TaskStart {
    /// Returns the start of a task; without a task, of the check whether the server is online.
    fn of(task: Option<&ScheduleTask>) -> Self {
        match task.map(|task| &task.action) {
            None => Self::Run(RunTaskArgs::RequireOnline),
            Some(TaskAction::Power(action)) => Self::Run(RunTaskArgs::Power(*action)),
            Some(TaskAction::Command(line)) => Self::Run(RunTaskArgs::Command(line.clone())),
            Some(TaskAction::Backup(patterns)) => Self::Backup(patterns.clone()),
        }
    }

    /// Returns the start of a schedule's first task; `None` without tasks.
    pub(super) fn first_of(schedule: &Schedule) -> Option<Self> {
        let first = &schedule.tasks.first()?.task;
        Some(match schedule.settings.only_when_online {
            true => Self::of(None),
            false => Self::of(Some(first)),
        })
    }
}

/// A locked server, with the facts that decide whether it can take a job. `None` if it is being
/// deleted.
type LockedServer = Option<(Server, ServerLoad)>;

/// Brings a run to its next state. Returns whether anything has changed.
pub(super) async fn advance_run(
    context: &Context,
    run: RunId,
    server: ServerId,
) -> Result<bool, Error> {
    let mut transaction = context.database.begin().await?;
    let server = servers::lock_and_find(&mut transaction, server).await?;
    let Some(run) = schedules::lock_ready(&mut transaction, run).await? else {
        return Ok(false);
    };
    let is_changed = decide(context, &mut transaction, server, run).await?;
    transaction.commit().await?;
    Ok(is_changed)
}

/// Brings a locked run of a locked server to its next state. Returns whether anything has changed.
async fn decide(
    context: &Context,
    transaction: &mut Transaction,
    server: LockedServer,
    run: ActiveRun,
) -> Result<bool, Error> {
    let Some((server, load)) = server else {
        // The server is being deleted, and takes its files with it.
        let why = "The server is being deleted.";
        schedules::record_failure(transaction, run.id, why).await?;
        finish(transaction, &run, RunState::Failed, Some(why)).await?;
        return Ok(true);
    };
    if run.state == RunState::Waiting {
        if !schedules::start(transaction, run.id).await? {
            wait(transaction, &run, run.task, run.is_aborted, BUSY_WAIT).await?;
            return Ok(false);
        }
        let event = ActivityEvent::ScheduleStart;
        record(transaction, &run, event, &json!({ "due_at": run.due_at })).await?;
    }
    match run.outcome {
        Some(outcome) => end_task(context, transaction, &server, &run, outcome).await,
        None if run.task.is_some_and(|task| task >= run.tasks.len()) => {
            let why = "The schedule has no tasks.";
            schedules::record_failure(transaction, run.id, why).await?;
            finish(transaction, &run, RunState::Failed, Some(why)).await?;
            Ok(true)
        }
        None => begin(context, transaction, &server, &load, &run).await,
    }
}

/// Ends a run, and records the end in the audit log.
async fn finish(
    transaction: &mut Transaction,
    run: &ActiveRun,
    state: RunState,
    error: Option<&str>,
) -> Result<(), Error> {
    schedules::finish(transaction, run, state).await?;
    let event = match state {
        RunState::Completed => ActivityEvent::ScheduleComplete,
        RunState::Skipped => ActivityEvent::ScheduleSkip,
        _ => ActivityEvent::ScheduleFail,
    };
    let properties = match error {
        Some(error) => json!({ "due_at": run.due_at, "error": error }),
        None => json!({ "due_at": run.due_at }),
    };
    record(transaction, run, event, &properties).await?;
    tracing::info!(
        server = %run.server,
        schedule = %run.schedule,
        run = %run.id,
        state = state.as_str(),
        error,
        "a run of a schedule has ended"
    );
    Ok(())
}

async fn record(
    transaction: &mut Transaction,
    run: &ActiveRun,
    event: ActivityEvent,
    properties: &Value,
) -> Result<(), Error> {
    let (server, schedule) = (run.server, run.schedule);
    activity::record_schedule(transaction, event, server, schedule, None, properties).await
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
        // Whether the server is online may also be unknown, because the driver has failed.
        let error = run.error.as_deref();
        let state = match error {
            Some(NOT_RUNNING) => RunState::Skipped,
            _ => RunState::Failed,
        };
        finish(transaction, run, state, error).await?;
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
            finish(transaction, run, state, run.error.as_deref()).await?;
        }
    }
    Ok(true)
}

/// Begins the current task.
async fn begin(
    context: &Context,
    transaction: &mut Transaction,
    server: &Server,
    load: &ServerLoad,
    run: &ActiveRun,
) -> Result<bool, Error> {
    let is_owed = is_owed(run);
    if !is_owed && (run.is_deleted || run.is_aborted) {
        return fail(transaction, run, "The schedule was deleted.").await;
    }
    let task = run.task.and_then(|task| run.tasks.get(task));
    let args = match TaskStart::of(task) {
        TaskStart::Run(args) => args,
        TaskStart::Backup(patterns) => {
            return begin_backup(context, transaction, server, load, run, &patterns).await;
        }
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
    load: &ServerLoad,
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
        BackupStart::Refused(sentence) => return fail(transaction, run, &sentence).await,
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
