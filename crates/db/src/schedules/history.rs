//! Runs that users begin or stop, and the runs of the past.

use holdfast_domain::schedule::{RunId, RunState, Schedule, ScheduleId, ScheduleRun};
use holdfast_domain::{BackupId, ServerId};

use super::runs::{NewRun, insert_waiting};
use crate::error::Error;
use crate::pool::{Database, Transaction};

/// What became of a request to run a schedule now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManualRun {
    /// A run has begun, or waits for the current run of the server.
    Begun(RunId),
    /// A run of the schedule waits already.
    IsWaiting,
    /// The schedule has no tasks.
    NoTasks,
}

/// Begins a run of a schedule now, whatever its due times are. The caller has locked the server.
///
/// # Errors
/// If the database can't be read or written.
pub async fn run_now(
    transaction: &mut Transaction,
    schedule: &Schedule,
) -> Result<ManualRun, Error> {
    if schedule.tasks.is_empty() {
        return Ok(ManualRun::NoTasks);
    }
    let row = sqlx::query!(
        r#"SELECT now() AS "now!", EXISTS (
               SELECT 1 FROM schedule_runs
               WHERE server_id = $1 AND schedule_id = $2 AND state = 'waiting'
           ) AS "is_waiting!""#,
        schedule.server.0,
        schedule.id.0,
    )
    .fetch_one(transaction.connection())
    .await?;
    if row.is_waiting {
        return Ok(ManualRun::IsWaiting);
    }
    let run = NewRun {
        schedule,
        due_at: row.now,
        is_manual: true,
    };
    let inserted = insert_waiting(transaction, &[run]).await?;
    Ok(match inserted.first() {
        Some((run, _)) => ManualRun::Begun(*run),
        // A due time came at the same microsecond.
        None => ManualRun::IsWaiting,
    })
}

/// Lets the unfinished runs of a schedule begin no further tasks but owed ones, because the
/// schedule was switched on or off. The schedule no longer waits for them.
///
/// # Errors
/// If the database can't be written.
pub async fn abandon(
    transaction: &mut Transaction,
    server: ServerId,
    schedule: ScheduleId,
) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE schedule_runs SET
             is_abandoned = true, is_aborted = true, error = coalesce(error, $3),
             state = CASE state WHEN 'waiting' THEN 'failed' ELSE state END,
             finished_at = CASE state WHEN 'waiting' THEN now() END,
             ready_at = CASE state WHEN 'waiting' THEN NULL ELSE ready_at END
         WHERE server_id = $1 AND schedule_id = $2 AND state IN ('waiting', 'running')",
        server.0,
        schedule.0,
        "The schedule was switched on or off before the run had ended.",
    )
    .execute(transaction.connection())
    .await?;
    Ok(())
}

/// Lists the latest runs of a schedule, newest first.
///
/// # Errors
/// If the database can't be read.
pub async fn runs_of(
    database: &Database,
    schedule: ScheduleId,
    limit: u32,
) -> Result<Vec<ScheduleRun>, Error> {
    let rows = sqlx::query!(
        "SELECT id, server_id, due_at, is_manual, state, error, backup_id, started_at, finished_at
         FROM schedule_runs WHERE schedule_id = $1 ORDER BY id DESC LIMIT $2",
        schedule.0,
        i64::from(limit),
    )
    .fetch_all(database.pool())
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(ScheduleRun {
                id: RunId(row.id),
                schedule,
                server: ServerId(row.server_id),
                due_at: row.due_at,
                is_manual: row.is_manual,
                state: RunState::parse(&row.state)
                    .ok_or_else(|| Error::unreadable("state of a run", &row.state))?,
                error: row.error,
                backup: row.backup_id.map(BackupId),
                started_at: row.started_at,
                finished_at: row.finished_at,
            })
        })
        .collect()
}
