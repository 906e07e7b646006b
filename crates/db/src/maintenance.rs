//! Runs of maintenance tasks: which are due and what they did. Also the queries of sweeps and
//! pruning.

mod in_use;
mod leftovers;
mod prune;

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::error::Error;
use crate::pool::Database;

pub use in_use::disks_in_use;
pub use leftovers::{
    BackupOnDisk, StoredArchive, SweepRecord, find_records, list_archives, mark_found, mark_missing,
};
pub use prune::{prune_activity, prune_jobs, prune_operator_log, prune_rate_counts, prune_runs};

/// The ID of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunId(i64);

/// A run of a maintenance task, as operators see it.
#[derive(Clone, Debug, PartialEq)]
pub struct MaintenanceRun {
    /// The number of the run. Later runs have greater numbers.
    pub id: i64,
    /// The name of the task.
    pub task: String,
    /// What it worked on, such as a disk. Empty for the whole service.
    pub subject: String,
    /// The worker that ran it.
    pub worker: String,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// What it found and did: a JSON object of counts by name.
    pub counts: Value,
    /// Why it failed, in whole or in part.
    pub error: Option<String>,
}

/// Returns whether a task is due: no run has started within `every`. Starts in the future, from
/// before the clock was set back, do not count.
///
/// # Errors
/// If the database can't be read.
pub async fn is_due(
    database: &Database,
    task: &str,
    subject: &str,
    every: Duration,
) -> Result<bool, Error> {
    let due = sqlx::query_scalar!(
        r#"SELECT coalesce((
               SELECT started_at <= now() - make_interval(secs => $3) OR started_at > now()
               FROM maintenance_runs
               WHERE task = $1 AND subject = $2 ORDER BY id DESC LIMIT 1
           ), true) AS "due!""#,
        task,
        subject,
        every.as_secs_f64(),
    )
    .fetch_one(database.pool())
    .await?;
    Ok(due)
}

/// Starts a run. Unfinished earlier runs of the same task and subject are marked as failed, because
/// only one can run at a time.
///
/// # Errors
/// If the database can't be written.
pub async fn begin(
    database: &Database,
    task: &str,
    subject: &str,
    worker: &str,
) -> Result<RunId, Error> {
    sqlx::query!(
        "UPDATE maintenance_runs
         SET finished_at = now(), error = 'the process that ran it was gone before its end'
         WHERE id IN (
             SELECT id FROM maintenance_runs
             WHERE task = $1 AND subject = $2 ORDER BY id DESC LIMIT 10
         ) AND finished_at IS NULL",
        task,
        subject,
    )
    .execute(database.pool())
    .await?;
    let id = sqlx::query_scalar!(
        "INSERT INTO maintenance_runs (task, subject, worker) VALUES ($1, $2, $3) RETURNING id",
        task,
        subject,
        worker,
    )
    .fetch_one(database.pool())
    .await?;
    Ok(RunId(id))
}

/// Stores the result of a run.
///
/// # Errors
/// If the database can't be written.
pub async fn end(
    database: &Database,
    run: RunId,
    counts: &Value,
    error: Option<&str>,
) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE maintenance_runs SET finished_at = now(), counts = $2, error = $3
         WHERE id = $1 AND finished_at IS NULL",
        run.0,
        counts,
        error,
    )
    .execute(database.pool())
    .await?;
    Ok(())
}

/// Stores a run that has already ended.
///
/// # Errors
/// If the database can't be written.
pub async fn record_run(
    database: &Database,
    task: &str,
    subject: &str,
    worker: &str,
    counts: &Value,
) -> Result<(), Error> {
    sqlx::query!(
        "INSERT INTO maintenance_runs (task, subject, worker, finished_at, counts)
         VALUES ($1, $2, $3, now(), $4)",
        task,
        subject,
        worker,
        counts,
    )
    .execute(database.pool())
    .await?;
    Ok(())
}

/// Lists runs, newest first.
///
/// # Errors
/// If the database can't be read.
pub async fn list(database: &Database, limit: u32) -> Result<Vec<MaintenanceRun>, Error> {
    let rows = sqlx::query!(
        "SELECT id, task, subject, worker, started_at, finished_at, counts, error
         FROM maintenance_runs ORDER BY id DESC LIMIT $1",
        i64::from(limit),
    )
    .fetch_all(database.pool())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| MaintenanceRun {
            id: row.id,
            task: row.task,
            subject: row.subject,
            worker: row.worker,
            started_at: row.started_at,
            finished_at: row.finished_at,
            counts: row.counts,
            error: row.error,
        })
        .collect())
}

/// Returns the time of the database.
///
/// # Errors
/// If the database can't be read.
pub async fn now(database: &Database) -> Result<DateTime<Utc>, Error> {
    let now = sqlx::query_scalar!(r#"SELECT now() AS "now!""#);
    Ok(now.fetch_one(database.pool()).await?)
}
