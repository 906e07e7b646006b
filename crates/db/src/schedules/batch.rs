//! Begins many runs in one transaction, with a few statements for all of them.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use holdfast_domain::schedule::{RunId, Schedule, ScheduleId};
use holdfast_domain::{BackupId, JobId, ServerId};

use super::due::{DueSchedule, NextDue, set_next};
use super::runs::{NewRun, insert_waiting};
use crate::error::Error;
use crate::pool::Transaction;

/// What the leader has decided about a schedule that is due.
#[derive(Clone, Debug)]
pub struct DueDecision<'a> {
    /// The schedule.
    pub schedule: &'a Schedule,
    /// The due time that runs now.
    pub run: Option<DateTime<Utc>>,
    /// The next due time, and when its run begins.
    pub next: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

/// Locks schedules that are due, each after its server. Schedules that are no longer due, and those
/// that another transaction has locked or whose server it has locked, are left out.
///
/// # Errors
/// If the database can't be read.
pub async fn lock_due(
    transaction: &mut Transaction,
    due: &[(ScheduleId, ServerId)],
) -> Result<Vec<DueSchedule>, Error> {
    let (ids, servers): (Vec<i64>, Vec<Uuid>) = due
        .iter()
        .map(|(schedule, server)| (schedule.0, server.0))
        .unzip();
    let servers = sqlx::query_scalar!(
        "SELECT id FROM servers WHERE id = ANY ($1) FOR NO KEY UPDATE SKIP LOCKED",
        &servers,
    )
    .fetch_all(transaction.connection())
    .await?;
    let rows = sqlx::query!(
        r#"SELECT id, next_due_at AS "due_at!", now() AS "now!" FROM schedules
           WHERE id = ANY ($1) AND server_id = ANY ($2) AND next_run_at <= now()
           FOR NO KEY UPDATE SKIP LOCKED"#,
        &ids,
        &servers,
    )
    .fetch_all(transaction.connection())
    .await?;
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let mut schedules = super::find_all_in(transaction, &ids).await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            let schedule = schedules.iter().position(|found| found.id.0 == row.id)?;
            Some(DueSchedule {
                schedule: schedules.swap_remove(schedule),
                due_at: row.due_at,
                now: row.now,
            })
        })
        .collect())
}

/// Sets the next due times of schedules, and inserts their runs, which wait. Returns each new run
/// with its schedule. A due time that has a run already gets no other one.
///
/// # Errors
/// If the database can't be written.
pub async fn insert_runs(
    transaction: &mut Transaction,
    decisions: &[DueDecision<'_>],
) -> Result<Vec<(RunId, ScheduleId)>, Error> {
    let next: Vec<NextDue> = decisions
        .iter()
        .map(|d| NextDue::new(d.schedule.id, &d.schedule.settings.timing, d.next))
        .collect();
    set_next(transaction, &next).await?;
    let runs: Vec<NewRun<'_>> = decisions
        .iter()
        .filter_map(|d| {
            Some(NewRun {
                schedule: d.schedule,
                due_at: d.run?,
                is_manual: false,
            })
        })
        .collect();
    insert_waiting(transaction, &runs).await
}

/// Makes waiting runs running ones, whose first tasks are these jobs. The caller has locked their
/// servers, and no other run of them is running.
///
/// # Errors
/// If the database can't be written.
pub async fn begin_first_tasks(
    transaction: &mut Transaction,
    begun: &[(RunId, JobId, Option<BackupId>)],
) -> Result<(), Error> {
    let runs: Vec<i64> = begun.iter().map(|(run, _, _)| run.0).collect();
    let jobs: Vec<i64> = begun.iter().map(|(_, job, _)| job.0).collect();
    let backups: Vec<Option<Uuid>> = begun
        .iter()
        .map(|(_, _, backup)| backup.map(|backup| backup.0))
        .collect();
    sqlx::query!(
        "UPDATE schedule_runs r SET state = 'running', started_at = now(), job_id = b.job,
                backup_id = b.backup, ready_at = NULL
         FROM unnest($1::bigint[], $2::bigint[], $3::uuid[]) AS b (run, job, backup)
         WHERE r.id = b.run",
        &runs,
        &jobs,
        backups as _,
    )
    .execute(transaction.connection())
    .await?;
    Ok(())
}
