//! What whoever watches the service wants to know of what is stored: figures that no single process knows.
//!
//! Each question walks an index of what has not ended, of workers, or of the last completed backup of each
//! server, however much there has been.

use chrono::{DateTime, Utc};

use holdfast_domain::{JobKind, JobState, ServerId};

use crate::error::Error;
use crate::pool::Database;

/// How many lines each answer has at most, so that no number of nodes makes it grow without end.
const LINES_MAX: i64 = 10_000;

/// Figures of one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricsSnapshot {
    /// Jobs that have not ended.
    pub unfinished: Vec<JobCount>,
    /// By node: how many of its workers were heard of within the last half minute. A node stays here for an
    /// hour after the last one has gone without a word.
    pub workers: Vec<(String, u64)>,
    /// By node and disk: how many bytes can still be written, as its workers have said.
    pub free_bytes: Vec<(String, String, u64)>,
    /// When the newest backup of a server was completed, for servers that have one.
    pub last_backups: Vec<(ServerId, DateTime<Utc>)>,
}

/// The jobs of one node, kind and state.
#[derive(Clone, Debug, PartialEq)]
pub struct JobCount {
    /// The node.
    pub node: String,
    /// What they do.
    pub kind: JobKind,
    /// Where they stand.
    pub state: JobState,
    /// How many they are.
    pub count: u64,
    /// For how long the oldest has waited for a worker, in seconds; 0 when none waits.
    pub waiting_seconds: f64,
}

/// Reads all figures, with the last backups of the first `servers` servers.
///
/// # Errors
/// When the database can't be read.
pub async fn read(database: &Database, servers: u32) -> Result<MetricsSnapshot, Error> {
    Ok(MetricsSnapshot {
        unfinished: unfinished(database).await?,
        workers: workers(database).await?,
        free_bytes: free_bytes(database).await?,
        last_backups: match servers {
            0 => Vec::new(),
            servers => last_backups(database, servers).await?,
        },
    })
}

async fn unfinished(database: &Database) -> Result<Vec<JobCount>, Error> {
    let rows = sqlx::query!(
        r#"SELECT node, kind, state, count(*) AS "count!",
                  coalesce(extract(epoch FROM max(now() - scheduled_at) FILTER (WHERE state = 'available')), 0)::float8
                      AS "waiting!"
           FROM jobs WHERE state IN ('available', 'scheduled', 'running')
           GROUP BY node, kind, state ORDER BY node, kind, state LIMIT $1"#,
        LINES_MAX,
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
        r#"SELECT node, count(*) FILTER (WHERE last_heartbeat_at > now() - interval '30 seconds') AS "count!"
           FROM workers GROUP BY node ORDER BY node LIMIT $1"#,
        LINES_MAX,
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
        LINES_MAX,
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
           FROM (SELECT id FROM servers WHERE deleting_at IS NULL ORDER BY created_at, id LIMIT $1) s
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
