//! Schedules: finding and listing. Their tasks, runs and storage are in the submodules.

mod batch;
mod default;
mod due;
mod history;
mod prune;
mod quota;
mod runs;
mod save;
mod tasks;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use holdfast_domain::schedule::{
    Cron, CronFields, LastResult, MissedPolicy, RunState, Schedule, ScheduleId, ScheduleName,
    ScheduleSettings, StoredTask, Timezone, Timing,
};
use holdfast_domain::{BackupId, ServerId};

pub use batch::{DueDecision, begin_first_tasks, insert_runs, lock_due};
pub use default::apply_default;
pub use due::{DueSchedule, insert_missed, list_due};
pub use history::{ManualRun, abandon, run_now, runs_of};
pub use prune::prune_runs;
pub use quota::{ScheduleUsage, usage};
pub use runs::{
    ActiveRun, begin_task, finish, list_ready, lock_ready, postpone, record_failure, start,
};
pub use save::{delete, insert, keep_rules, update};
pub use tasks::{delete_task, insert_task, replace_tasks, update_task};

use crate::error::Error;
use crate::pool::{Database, Transaction};
use crate::servers::rules;

struct ScheduleRow {
    id: i64,
    server_id: Uuid,
    name: String,
    minute: String,
    hour: String,
    day_of_month: String,
    month: String,
    day_of_week: String,
    timezone: String,
    jitter_seconds: i32,
    missed: String,
    keep: Option<String>,
    is_active: bool,
    only_when_online: bool,
    is_default: bool,
    next_due_at: Option<DateTime<Utc>>,
    next_run_at: Option<DateTime<Utc>>,
    last_run_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    is_processing: bool,
    result_state: Option<String>,
    result_finished_at: Option<DateTime<Utc>>,
    result_backup: Option<Uuid>,
    result_error: Option<String>,
}

impl ScheduleRow {
    fn timing(&self) -> Result<Timing, Error> {
        let fields = CronFields {
            minute: self.minute.clone(),
            hour: self.hour.clone(),
            day_of_month: self.day_of_month.clone(),
            month: self.month.clone(),
            day_of_week: self.day_of_week.clone(),
        };
        let text = fields.to_string();
        Ok(Timing {
            cron: Cron::parse(fields).map_err(|_| Error::unreadable("cron expression", &text))?,
            timezone: Timezone::parse(&self.timezone)
                .ok_or_else(|| Error::unreadable("time zone", &self.timezone))?,
            jitter_seconds: self.jitter_seconds.unsigned_abs(),
            missed: MissedPolicy::parse(&self.missed)
                .ok_or_else(|| Error::unreadable("policy for missed runs", &self.missed))?,
        })
    }

    fn into_schedule(self, tasks: Vec<StoredTask>) -> Result<Schedule, Error> {
        let timing = self.timing()?;
        let name = ScheduleName::parse(&self.name).ok().flatten();
        let name = name.ok_or_else(|| Error::unreadable("name of a schedule", &self.name))?;
        let last_result = match (&self.result_state, self.result_finished_at) {
            (Some(state), Some(finished_at)) => Some(LastResult {
                state: RunState::parse(state)
                    .ok_or_else(|| Error::unreadable("state of a run", state))?,
                finished_at,
                backup: self.result_backup.map(BackupId),
                error: self.result_error,
            }),
            _ => None,
        };
        Ok(Schedule {
            id: ScheduleId(self.id),
            server: ServerId(self.server_id),
            settings: ScheduleSettings {
                name,
                timing,
                keep: self.keep.as_deref().map(rules).transpose()?,
                is_active: self.is_active,
                only_when_online: self.only_when_online,
            },
            is_default: self.is_default,
            next_due_at: self.next_due_at,
            next_run_at: self.next_run_at,
            last_run_at: self.last_run_at,
            is_processing: self.is_processing,
            last_result,
            tasks,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

macro_rules! select_schedules {
    ($executor:expr, $fetch:ident, $tail:tt $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            ScheduleRow,
            "SELECT s.id, s.server_id, s.name, s.minute, s.hour, s.day_of_month, s.month,
                    s.day_of_week, s.timezone, s.jitter_seconds, s.missed, s.keep, s.is_active,
                    s.only_when_online, s.is_default, s.next_due_at, s.next_run_at, s.last_run_at,
                    s.created_at, s.updated_at,
                    EXISTS (
                        SELECT 1 FROM schedule_runs u
                        WHERE u.server_id = s.server_id AND u.schedule_id = s.id
                            AND u.state IN ('waiting', 'running') AND NOT u.is_abandoned
                    ) AS \"is_processing!\",
                    r.state AS \"result_state?\", r.finished_at AS \"result_finished_at?\",
                    r.backup_id AS \"result_backup?\", r.error AS \"result_error?\"
             FROM schedules s
             LEFT JOIN LATERAL (
                 SELECT state, finished_at, backup_id, error FROM schedule_runs r
                 WHERE r.schedule_id = s.id AND r.finished_at IS NOT NULL
                 ORDER BY r.id DESC LIMIT 1
             ) r ON true "
                + $tail,
            $($argument),*
        )
        .$fetch($executor)
        .await
    };
}

/// Finds a schedule of a server.
///
/// # Errors
/// If the database can't be read.
pub async fn find(
    database: &Database,
    server: ServerId,
    schedule: ScheduleId,
) -> Result<Option<Schedule>, Error> {
    let mut transaction = database.begin().await?;
    find_in(&mut transaction, server, schedule).await
}

/// Finds a schedule of a server, as a transaction has left it.
///
/// # Errors
/// If the database can't be read.
pub async fn find_in(
    transaction: &mut Transaction,
    server: ServerId,
    schedule: ScheduleId,
) -> Result<Option<Schedule>, Error> {
    let row = select_schedules!(
        transaction.connection(),
        fetch_optional,
        "WHERE s.id = $1 AND s.server_id = $2",
        schedule.0,
        server.0,
    )?;
    match row {
        None => Ok(None),
        Some(row) => {
            let mut tasks = tasks::list(transaction, &[schedule.0]).await?;
            let tasks = tasks.remove(&schedule).unwrap_or_default();
            row.into_schedule(tasks).map(Some)
        }
    }
}

/// Lists the schedules of a server, oldest first.
///
/// # Errors
/// If the database can't be read.
pub async fn list(database: &Database, server: ServerId) -> Result<Vec<Schedule>, Error> {
    let mut transaction = database.begin().await?;
    let rows = select_schedules!(
        transaction.connection(),
        fetch_all,
        "WHERE s.server_id = $1 ORDER BY s.id",
        server.0,
    )?;
    with_tasks(&mut transaction, rows).await
}

/// Lists a page of the schedules after one, oldest first. Filters by server if one is given.
///
/// # Errors
/// If the database can't be read.
pub async fn page(
    database: &Database,
    server: Option<ServerId>,
    after: ScheduleId,
    limit: u32,
) -> Result<Vec<Schedule>, Error> {
    let mut transaction = database.begin().await?;
    let rows = match server {
        Some(server) => select_schedules!(
            transaction.connection(),
            fetch_all,
            "WHERE s.server_id = $1 AND s.id > $2 ORDER BY s.id LIMIT $3",
            server.0,
            after.0,
            i64::from(limit),
        ),
        None => select_schedules!(
            transaction.connection(),
            fetch_all,
            "WHERE s.id > $1 ORDER BY s.id LIMIT $2",
            after.0,
            i64::from(limit),
        ),
    }?;
    with_tasks(&mut transaction, rows).await
}

async fn with_tasks(
    transaction: &mut Transaction,
    rows: Vec<ScheduleRow>,
) -> Result<Vec<Schedule>, Error> {
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let mut tasks = tasks::list(transaction, &ids).await?;
    rows.into_iter()
        .map(|row| {
            let tasks = tasks.remove(&ScheduleId(row.id)).unwrap_or_default();
            row.into_schedule(tasks)
        })
        .collect()
}

/// Finds schedules, as a transaction has left them.
async fn find_all_in(transaction: &mut Transaction, ids: &[i64]) -> Result<Vec<Schedule>, Error> {
    let connection = transaction.connection();
    let rows = select_schedules!(connection, fetch_all, "WHERE s.id = ANY ($1)", ids)?;
    with_tasks(transaction, rows).await
}

/// Returns the server of a schedule.
///
/// # Errors
/// If the database can't be read.
pub async fn server_of(
    database: &Database,
    schedule: ScheduleId,
) -> Result<Option<ServerId>, Error> {
    let server = sqlx::query_scalar!("SELECT server_id FROM schedules WHERE id = $1", schedule.0)
        .fetch_optional(database.pool())
        .await?;
    Ok(server.map(ServerId))
}
