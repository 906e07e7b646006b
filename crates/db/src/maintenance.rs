//! What maintenance has done and what is due, and the pruning of what nobody asks for any more.

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
    BackupOnDisk, StoredArchive, SweepRecord, archived, mark_found, mark_missing, traces,
};
pub use prune::{prune_activity, prune_jobs, prune_operations, prune_rates, prune_runs};

/// A run that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunId(i64);

/// A run as an operator sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Its number: later ones are greater.
    pub id: i64,
    /// What was done.
    pub task: String,
    /// With what, such as a disk; empty for the whole service.
    pub subject: String,
    /// By which worker.
    pub worker: String,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// What was found and done, by name: JSON.
    pub counts: Value,
    /// Why it could not be done, or not in full.
    pub error: Option<String>,
}

/// Says whether a task is due: no run of it has begun within `every`. What began in a time that has not come yet,
/// by a clock that was set back, does not count.
///
/// # Errors
/// When the database can't be read.
pub async fn is_due(
    database: &Database,
    task: &str,
    subject: &str,
    every: Duration,
) -> Result<bool, Error> {
    let due = sqlx::query_scalar!(
        r#"SELECT coalesce((
               SELECT started_at <= now() - make_interval(secs => $3) OR started_at > now() FROM maintenance_runs
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

/// Begins a run. Earlier ones of the same task and subject that have not ended never will: only one at a time runs.
///
/// # Errors
/// When the database can't be written.
pub async fn begin(
    database: &Database,
    task: &str,
    subject: &str,
    worker: &str,
) -> Result<RunId, Error> {
    sqlx::query!(
        "UPDATE maintenance_runs SET finished_at = now(), error = 'the process that ran it was gone before its end'
         WHERE id IN (
             SELECT id FROM maintenance_runs WHERE task = $1 AND subject = $2 ORDER BY id DESC LIMIT 10
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

/// Writes down how a run ended.
///
/// # Errors
/// When the database can't be written.
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

/// Writes down something that was done at once.
///
/// # Errors
/// When the database can't be written.
pub async fn note(
    database: &Database,
    task: &str,
    subject: &str,
    worker: &str,
    counts: &Value,
) -> Result<(), Error> {
    sqlx::query!(
        "INSERT INTO maintenance_runs (task, subject, worker, finished_at, counts) VALUES ($1, $2, $3, now(), $4)",
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
/// When the database can't be read.
pub async fn list(database: &Database, limit: u32) -> Result<Vec<Run>, Error> {
    let rows = sqlx::query!(
        "SELECT id, task, subject, worker, started_at, finished_at, counts, error FROM maintenance_runs
         ORDER BY id DESC LIMIT $1",
        i64::from(limit),
    )
    .fetch_all(database.pool())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Run {
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

/// Returns the database's time.
///
/// # Errors
/// When the database can't be read.
pub async fn now(database: &Database) -> Result<DateTime<Utc>, Error> {
    let now = sqlx::query_scalar!(r#"SELECT now() AS "now!""#);
    Ok(now.fetch_one(database.pool()).await?)
}
