//! Runs of schedules: which ones need a decision, and what was decided.
//!
//! Two leaders at the same time do no harm: each row is locked before it is read, rows that another
//! transaction has locked are skipped, and a due time can have only one run.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use holdfast_domain::schedule::{RunId, RunState, Schedule, ScheduleId, ScheduleTask, StepOutcome};
use holdfast_domain::{BackupId, JobId, ServerId};

use crate::error::Error;
use crate::pool::{Database, Transaction};

/// A run to be inserted.
#[derive(Clone, Debug)]
pub(super) struct NewRun<'a> {
    /// The schedule.
    pub(super) schedule: &'a Schedule,
    /// The due time.
    pub(super) due_at: DateTime<Utc>,
    /// Whether a user started it.
    pub(super) is_manual: bool,
}

/// A run that needs a decision, locked until the transaction ends.
#[derive(Clone, Debug)]
pub struct ActiveRun {
    /// The ID.
    pub id: RunId,
    /// The schedule.
    pub schedule: ScheduleId,
    /// Whether the schedule was deleted.
    pub is_deleted: bool,
    /// The server.
    pub server: ServerId,
    /// The due time.
    pub due_at: DateTime<Utc>,
    /// Waiting or running.
    pub state: RunState,
    /// The tasks.
    pub tasks: Vec<ScheduleTask>,
    /// The current task, counted from 0; `None` for the check whether the server is online.
    pub task: Option<usize>,
    /// Whether only owed tasks are left, after a failure.
    pub is_aborted: bool,
    /// How the current task ended; `None` if it has not begun.
    pub outcome: Option<StepOutcome>,
    /// The first failure.
    pub error: Option<String>,
}

impl NewRun<'_> {
    /// Returns the task that the run begins with; `None` for the check whether the server is
    /// online.
    fn first_task(&self) -> Option<usize> {
        (!self.schedule.settings.only_when_online).then_some(0)
    }
}

/// Inserts waiting runs with copies of their schedules' tasks. Returns each new run with its
/// schedule. A due time that has a run already gets no other one.
pub(super) async fn insert_waiting(
    transaction: &mut Transaction,
    runs: &[NewRun<'_>],
) -> Result<Vec<(RunId, ScheduleId)>, Error> {
    let ids: Vec<i64> = runs.iter().map(|run| run.schedule.id.0).collect();
    let servers: Vec<Uuid> = runs.iter().map(|run| run.schedule.server.0).collect();
    let due: Vec<DateTime<Utc>> = runs.iter().map(|run| run.due_at).collect();
    let manual: Vec<bool> = runs.iter().map(|run| run.is_manual).collect();
    let first: Vec<i32> = runs.iter().map(|run| number(run.first_task())).collect();
    let tasks: Vec<Value> = runs
        .iter()
        .map(|run| {
            let tasks = run.schedule.tasks.iter().map(|stored| &stored.task);
            serde_json::to_value(tasks.collect::<Vec<_>>()).unwrap_or_default()
        })
        .collect();
    let rows = sqlx::query!(
        "WITH inserted AS (
             INSERT INTO schedule_runs (schedule_id, server_id, due_at, is_manual, state, tasks,
                                        task, ready_at)
             SELECT r.schedule, r.server, r.due, r.manual, 'waiting', r.tasks, r.task, now()
             FROM unnest($1::bigint[], $2::uuid[], $3::timestamptz[], $4::bool[], $5::jsonb[],
                         $6::int[]) AS r (schedule, server, due, manual, tasks, task)
             ON CONFLICT ON CONSTRAINT schedule_runs_due DO NOTHING
             RETURNING id, schedule_id
         ), begun AS (
             UPDATE schedules s SET last_run_at = now()
             FROM inserted WHERE s.id = inserted.schedule_id
         )
         SELECT id, schedule_id FROM inserted",
        &ids,
        &servers,
        &due,
        &manual,
        &tasks,
        &first,
    )
    .fetch_all(transaction.connection())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (RunId(row.id), ScheduleId(row.schedule_id)))
        .collect())
}

/// Lists runs that need a decision, with their servers, the longest-waiting first.
///
/// # Errors
/// If the database can't be read.
pub async fn list_ready(database: &Database, limit: u32) -> Result<Vec<(RunId, ServerId)>, Error> {
    let rows = sqlx::query!(
        "SELECT id, server_id FROM schedule_runs WHERE ready_at <= now()
         ORDER BY ready_at, id LIMIT $1",
        i64::from(limit),
    )
    .fetch_all(database.pool())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (RunId(row.id), ServerId(row.server_id)))
        .collect())
}

/// Locks a run that needs a decision, after its server. Returns `None` if it no longer does, or if
/// another transaction has locked it.
///
/// # Errors
/// If the database can't be read.
pub async fn lock_ready(
    transaction: &mut Transaction,
    run: RunId,
) -> Result<Option<ActiveRun>, Error> {
    let row = sqlx::query!(
        r#"SELECT schedule_id, server_id, due_at, state, tasks, task AS "task!", is_aborted,
                  has_succeeded, error,
                  NOT EXISTS (SELECT 1 FROM schedules s WHERE s.id = r.schedule_id)
                      AS "is_deleted!"
           FROM schedule_runs r
           WHERE id = $1 AND ready_at <= now() FOR NO KEY UPDATE SKIP LOCKED"#,
        run.0,
    )
    .fetch_optional(transaction.connection())
    .await?;
    let Some(row) = row else { return Ok(None) };
    let tasks = serde_json::from_value(row.tasks)
        .map_err(|_| Error::unreadable("list of tasks", format!("of run {run}")))?;
    let outcome = row.has_succeeded.map(|succeeded| match succeeded {
        true => StepOutcome::Succeeded,
        false => StepOutcome::Failed,
    });
    Ok(Some(ActiveRun {
        id: run,
        schedule: ScheduleId(row.schedule_id),
        is_deleted: row.is_deleted,
        server: ServerId(row.server_id),
        due_at: row.due_at,
        state: RunState::parse(&row.state)
            .ok_or_else(|| Error::unreadable("state of a run", &row.state))?,
        tasks,
        task: usize::try_from(row.task).ok(),
        is_aborted: row.is_aborted,
        outcome,
        error: row.error,
    }))
}

/// Makes a waiting run a running one. Returns `false` if another run of the server is running. The
/// caller has locked the server.
///
/// # Errors
/// If the database can't be written.
pub async fn start(transaction: &mut Transaction, run: RunId) -> Result<bool, Error> {
    let done = sqlx::query!(
        "UPDATE schedule_runs r SET state = 'running', started_at = now()
         WHERE r.id = $1 AND r.state = 'waiting' AND NOT EXISTS (
             SELECT 1 FROM schedule_runs o WHERE o.server_id = r.server_id AND o.state = 'running'
         )",
        run.0,
    )
    .execute(transaction.connection())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Records that a task has begun. The run is ready again when the job ends.
///
/// # Errors
/// If the database can't be written.
pub async fn begin_task(
    transaction: &mut Transaction,
    run: RunId,
    task: Option<usize>,
    is_aborted: bool,
    job: JobId,
    backup: Option<BackupId>,
) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE schedule_runs SET task = $2, is_aborted = $3, job_id = $4, has_succeeded = NULL,
                ready_at = NULL, backup_id = coalesce($5, backup_id)
         WHERE id = $1",
        run.0,
        number(task),
        is_aborted,
        job.0,
        backup.map(|backup| backup.0),
    )
    .execute(transaction.connection())
    .await?;
    Ok(())
}

/// Sets the current task, how it has ended if it has, and when the run is ready again.
///
/// # Errors
/// If the database can't be written.
pub async fn postpone(
    transaction: &mut Transaction,
    run: RunId,
    task: Option<usize>,
    is_aborted: bool,
    outcome: Option<StepOutcome>,
    wait: Duration,
) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE schedule_runs SET task = $2, is_aborted = $3, job_id = NULL, has_succeeded = $4,
                ready_at = now() + make_interval(secs => $5)
         WHERE id = $1",
        run.0,
        number(task),
        is_aborted,
        outcome.map(|outcome| outcome == StepOutcome::Succeeded),
        wait.as_secs_f64(),
    )
    .execute(transaction.connection())
    .await?;
    Ok(())
}

/// Records the first failure of a run. Later ones change nothing.
///
/// # Errors
/// If the database can't be written.
pub async fn record_failure(
    transaction: &mut Transaction,
    run: RunId,
    sentence: &str,
) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE schedule_runs SET error = coalesce(error, $2) WHERE id = $1",
        run.0,
        sentence,
    )
    .execute(transaction.connection())
    .await?;
    Ok(())
}

/// Ends a run, and lets the next run of its server begin.
///
/// # Errors
/// If the database can't be written.
pub async fn finish(
    transaction: &mut Transaction,
    run: &ActiveRun,
    state: RunState,
) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE schedule_runs SET state = $2, finished_at = now(), ready_at = NULL WHERE id = $1",
        run.id.0,
        state.as_str(),
    )
    .execute(transaction.connection())
    .await?;
    if matches!(state, RunState::Completed | RunState::Skipped) {
        sqlx::query!(
            "UPDATE schedules SET
                 last_success_at = CASE WHEN $2 THEN now() ELSE last_success_at END,
                 overdue_at = overdue_at(next_run_at, interval_seconds)
             WHERE id = $1",
            run.schedule.0,
            state == RunState::Completed,
        )
        .execute(transaction.connection())
        .await?;
    }
    sqlx::query!(
        "UPDATE schedule_runs SET ready_at = now()
         WHERE id = (
             SELECT id FROM schedule_runs WHERE server_id = $1 AND state = 'waiting'
             ORDER BY id LIMIT 1
         )",
        run.server.0,
    )
    .execute(transaction.connection())
    .await?;
    Ok(())
}

pub(super) fn number(task: Option<usize>) -> i32 {
    task.map_or(-1, |task| i32::try_from(task).unwrap_or(i32::MAX))
}
