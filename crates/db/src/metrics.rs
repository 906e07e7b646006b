//! Metrics of the whole service, which no single process knows.
//!
//! Each query reads an index of unfinished jobs, of workers, of the last completed backups, of
//! schedules, or of what waits for a panel. So its cost does not grow with the history.

use chrono::{DateTime, Utc};

use holdfast_domain::schedule::ScheduleId;
use holdfast_domain::{JobKind, JobState, ServerId};

use crate::error::Error;
use crate::panel_callbacks::{self, CallbackCount};
use crate::pool::Database;
use crate::wings_servers;

/// The greatest number of rows of each metric, which bounds the size of the answer.
const ROWS_MAX: i64 = 10_000;

/// The metrics at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricsSnapshot {
    /// Unfinished jobs.
    pub unfinished: Vec<JobCount>,
    /// By node: workers with a heartbeat in the last 30 seconds. If all workers of a node die, the
    /// node stays for an hour, with 0.
    pub workers: Vec<(String, u64)>,
    /// By node and disk: free bytes, as reported by the workers.
    pub free_bytes: Vec<(String, String, u64)>,
    /// By server: when its last backup was completed. Servers without a backup are left out.
    pub last_backups: Vec<(ServerId, DateTime<Utc>)>,
    /// Active schedules that have succeeded.
    pub successes: Vec<ScheduleSuccess>,
    /// Schedules that are overdue, the most overdue first.
    pub overdue: Vec<OverdueSchedule>,
    /// By node: what the panel has not been told of yet. Nodes for which nothing waits are left
    /// out.
    pub callbacks: Vec<CallbackCount>,
    /// By node: servers that their panel no longer lists. Nodes without such a server are left out.
    pub absent_servers: Vec<(String, u64)>,
}

/// A schedule that has succeeded.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduleSuccess {
    /// The server.
    pub server: ServerId,
    /// The schedule.
    pub schedule: ScheduleId,
    /// When its last run that succeeded has ended.
    pub at: DateTime<Utc>,
}

/// A schedule that has not succeeded for twice its interval.
#[derive(Clone, Debug, PartialEq)]
pub struct OverdueSchedule {
    /// The server.
    pub server: ServerId,
    /// The schedule.
    pub schedule: ScheduleId,
    /// For how long it has been overdue, in seconds.
    pub seconds: f64,
}

/// The number of jobs of one node, kind and state.
#[derive(Clone, Debug, PartialEq)]
pub struct JobCount {
    /// The node.
    pub node: String,
    /// The kind.
    pub kind: JobKind,
    /// The state.
    pub state: JobState,
    /// The number of jobs.
    pub count: u64,
    /// How long the oldest job has been waiting for a worker, in seconds. 0 if none waits.
    pub waiting_seconds: f64,
}

/// Reads all metrics, with the last backups of the first `servers` servers, and as many schedules.
///
/// # Errors
/// If the database can't be read.
pub async fn read(database: &Database, servers: u32) -> Result<MetricsSnapshot, Error> {
    Ok(MetricsSnapshot {
        unfinished: unfinished(database).await?,
        workers: workers(database).await?,
        free_bytes: free_bytes(database).await?,
        last_backups: match servers {
            0 => Vec::new(),
            servers => last_backups(database, servers).await?,
        },
        successes: successes(database, servers).await?,
        overdue: overdue(database, servers).await?,
        callbacks: panel_callbacks::counts(database).await?,
        absent_servers: wings_servers::count_absent(database).await?,
    })
}

async fn unfinished(database: &Database) -> Result<Vec<JobCount>, Error> {
    let rows = sqlx::query!(
        r#"SELECT node, kind, state, count(*) AS "count!",
                  coalesce(extract(
                      epoch FROM max(now() - scheduled_at) FILTER (WHERE state = 'available')
                  ), 0)::float8 AS "waiting!"
           FROM jobs WHERE state IN ('available', 'scheduled', 'running')
           GROUP BY node, kind, state ORDER BY node, kind, state LIMIT $1"#,
        ROWS_MAX,
    )
    .fetch_all(database.pool())
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(JobCount {
                kind: JobKind::parse(&row.kind)
                    .ok_or_else(|| Error::unreadable("job kind", &row.kind))?,
                state: JobState::parse(&row.state)
                    .ok_or_else(|| Error::unreadable("job state", &row.state))?,
                node: row.node,
                count: row.count.unsigned_abs(),
                waiting_seconds: row.waiting,
            })
        })
        .collect()
}

async fn workers(database: &Database) -> Result<Vec<(String, u64)>, Error> {
    let rows = sqlx::query!(
        r#"SELECT node, count(*) FILTER (
                      WHERE last_heartbeat_at > now() - interval '30 seconds'
                  ) AS "count!"
           FROM workers GROUP BY node ORDER BY node LIMIT $1"#,
        ROWS_MAX,
    )
    .fetch_all(database.pool())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.node, row.count.unsigned_abs()))
        .collect())
}

async fn free_bytes(database: &Database) -> Result<Vec<(String, String, u64)>, Error> {
    let rows = sqlx::query!(
        r#"SELECT w.node, free.key AS "disk!", max(free.value::numeric)::bigint AS "bytes!"
           FROM workers w, LATERAL jsonb_each_text(w.disk_free_bytes) free
           WHERE w.last_heartbeat_at > now() - interval '1 minute'
           GROUP BY w.node, free.key ORDER BY w.node, free.key LIMIT $1"#,
        ROWS_MAX,
    )
    .fetch_all(database.pool())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.node, row.disk, row.bytes.unsigned_abs()))
        .collect())
}

async fn last_backups(
    database: &Database,
    servers: u32,
) -> Result<Vec<(ServerId, DateTime<Utc>)>, Error> {
    let rows = sqlx::query!(
        r#"SELECT s.id, b.completed_at AS "completed_at!"
           FROM (
               SELECT id FROM servers WHERE deleting_at IS NULL ORDER BY created_at, id LIMIT $1
           ) s
           CROSS JOIN LATERAL (
               SELECT completed_at FROM backups WHERE server_id = s.id AND state = 'completed'
               ORDER BY completed_at DESC LIMIT 1
           ) b"#,
        i64::from(servers),
    )
    .fetch_all(database.pool())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (ServerId(row.id), row.completed_at))
        .collect())
}

async fn successes(database: &Database, limit: u32) -> Result<Vec<ScheduleSuccess>, Error> {
    let rows = sqlx::query!(
        r#"SELECT id, server_id, last_success_at AS "at!" FROM schedules
           WHERE is_active AND last_success_at IS NOT NULL ORDER BY id LIMIT $1"#,
        i64::from(limit),
    )
    .fetch_all(database.pool())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| ScheduleSuccess {
            server: ServerId(row.server_id),
            schedule: ScheduleId(row.id),
            at: row.at,
        })
        .collect())
}

async fn overdue(database: &Database, limit: u32) -> Result<Vec<OverdueSchedule>, Error> {
    let rows = sqlx::query!(
        r#"SELECT id, server_id, extract(epoch FROM now() - overdue_at)::float8 AS "seconds!"
           FROM schedules WHERE overdue_at < now() ORDER BY overdue_at LIMIT $1"#,
        i64::from(limit),
    )
    .fetch_all(database.pool())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| OverdueSchedule {
            server: ServerId(row.server_id),
            schedule: ScheduleId(row.id),
            seconds: row.seconds,
        })
        .collect())
}
