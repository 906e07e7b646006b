//! Schedules that are due, and due times that were missed.

use chrono::{DateTime, TimeDelta, Utc};

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

/// The next due time of a schedule.
#[derive(Clone, Copy, Debug)]
pub(super) struct NextDue {
    schedule: ScheduleId,
    /// The due time, and when its run begins; `None` while the schedule is not active.
    times: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// The time from this due time to the one after it.
    interval: Option<TimeDelta>,
}

impl NextDue {
    pub(super) fn new(
        schedule: ScheduleId,
        timing: &Timing,
        times: Option<(DateTime<Utc>, DateTime<Utc>)>,
    ) -> Self {
        Self {
            schedule,
            times,
            interval: times.and_then(|(due, _)| timing.interval(due)),
        }
    }

    /// Returns the next due time of another schedule with the same timing. The delay differs.
    pub(super) fn for_schedule(self, schedule: ScheduleId, timing: &Timing) -> Self {
        let times = self
            .times
            .map(|(due, _)| (due, due + timing.delay(schedule)));
        Self {
            schedule,
            times,
            ..self
        }
    }
}

/// Sets the next due times of schedules, and when their runs begin.
pub(super) async fn set_next(
    transaction: &mut Transaction,
    schedules: &[NextDue],
) -> Result<(), Error> {
    let ids: Vec<i64> = schedules.iter().map(|next| next.schedule.0).collect();
    let times = schedules.iter().map(|next| next.times);
    let (due, begin): (Vec<_>, Vec<_>) = times.map(Option::unzip).unzip();
    let seconds = |next: &NextDue| next.interval.map(|interval| interval.num_seconds());
    let intervals: Vec<Option<i64>> = schedules.iter().map(seconds).collect();
    sqlx::query!(
        "UPDATE schedules s SET next_due_at = n.due, next_run_at = n.begin,
                interval_seconds = n.seconds,
                overdue_at = coalesce(s.overdue_at, overdue_at(n.begin, n.seconds))
         FROM unnest($1::bigint[], $2::timestamptz[], $3::timestamptz[], $4::bigint[])
             AS n (id, due, begin, seconds)
         WHERE s.id = n.id",
        &ids,
        due as _,
        begin as _,
        intervals as _,
    )
    .execute(transaction.connection())
    .await?;
    Ok(())
}
