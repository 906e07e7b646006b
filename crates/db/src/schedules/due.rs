//! Schedules that are due, and due times that were missed.

use chrono::{DateTime, Utc};

use holdfast_domain::ServerId;
use holdfast_domain::schedule::{Schedule, ScheduleId, Timing};

use crate::error::Error;
use crate::pool::{Database, Transaction};

/// A schedule that is due, locked until the transaction ends.
#[derive(Clone, Debug)]
pub struct DueSchedule {
    /// The schedule.
    pub schedule: Schedule,
    /// Its next due time.
    pub due_at: DateTime<Utc>,
    /// The time of the database.
    pub now: DateTime<Utc>,
}

/// Lists schedules that are due, with their servers, the most overdue first.
///
/// # Errors
/// If the database can't be read.
pub async fn list_due(
    database: &Database,
    limit: u32,
) -> Result<Vec<(ScheduleId, ServerId)>, Error> {
    let rows = sqlx::query!(
        "SELECT id, server_id FROM schedules WHERE next_run_at <= now()
         ORDER BY next_run_at LIMIT $1",
        i64::from(limit),
    )
    .fetch_all(database.pool())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (ScheduleId(row.id), ServerId(row.server_id)))
        .collect())
}

/// Records due times that did not run.
///
/// # Errors
/// If the database can't be written.
pub async fn insert_missed(
    transaction: &mut Transaction,
    schedule: &Schedule,
    due_at: &[DateTime<Utc>],
    why: &str,
) -> Result<(), Error> {
    sqlx::query!(
        "INSERT INTO schedule_runs (schedule_id, server_id, due_at, state, finished_at, error)
         SELECT $1, $2, due_at, 'missed', now(), $4 FROM unnest($3::timestamptz[]) due_at
         ON CONFLICT ON CONSTRAINT schedule_runs_due DO NOTHING",
        schedule.id.0,
        schedule.server.0,
        due_at,
        why,
    )
    .execute(transaction.connection())
    .await?;
    Ok(())
}

/// Sets the next due time of a schedule, and when its run begins.
pub(super) async fn set_next(
    transaction: &mut Transaction,
    schedule: ScheduleId,
    timing: &Timing,
    next: Option<(DateTime<Utc>, DateTime<Utc>)>,
) -> Result<(), Error> {
    let interval = next.and_then(|(due, _)| timing.interval(due));
    sqlx::query!(
        "UPDATE schedules SET next_due_at = $2, next_run_at = $3, interval_seconds = $4,
                overdue_at = coalesce(overdue_at, overdue_at($3, $4))
         WHERE id = $1",
        schedule.0,
        next.map(|(due, _)| due),
        next.map(|(_, begin)| begin),
        interval.map(|interval| interval.num_seconds()),
    )
    .execute(transaction.connection())
    .await?;
    Ok(())
}
