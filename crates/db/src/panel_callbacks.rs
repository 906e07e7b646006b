//! The outbox of the panel: what it has not been told yet. Triggers write it, in the transaction
//! that ends a backup or a restore. A worker claims a row for a short time and writes under its
//! claim.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use holdfast_domain::{BackupId, NodeName, ServerId};

use crate::error::Error;
use crate::pool::Database;

/// How many rows are counted at most.
const COUNT_MAX: i64 = 100_000;

/// What the panel is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallbackKind {
    /// The end of a backup.
    Backup,
    /// The end of a restore.
    Restore,
}

impl CallbackKind {
    /// Returns the value in the database, which is also a label of metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Restore => "restore",
        }
    }

    fn parse(text: &str) -> Result<Self, Error> {
        [Self::Backup, Self::Restore]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| Error::unreadable("kind of a callback", text))
    }
}

/// A callback that a worker has claimed.
#[derive(Clone, Debug)]
pub struct ClaimedCallback {
    /// The server.
    pub server: ServerId,
    /// The backup, also of a restore.
    pub backup: BackupId,
    /// What the panel is told of.
    pub kind: CallbackKind,
    /// The body of the request.
    pub body: Value,
    /// How many attempts have failed that were not about the panel as a whole.
    pub attempts: u32,
    /// How long ago the backup or the restore ended.
    pub age: Duration,
    id: i64,
    claim: i64,
}

/// What waits for the panel on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingCallbacks {
    /// How many callbacks wait, up to 100,000.
    pub count: u64,
    /// When the oldest was written.
    pub oldest: DateTime<Utc>,
    /// Why the last failed attempt of one of the oldest failed; see [`record_failure`].
    pub last_error: Option<String>,
}

/// Claims up to `limit` callbacks of a node for `duration`: those that are due, the longest due
/// first. Of each backup, only the oldest can be claimed, so the panel is told in order.
///
/// # Errors
/// If the database can't be written.
pub async fn claim(
    database: &Database,
    node: &NodeName,
    duration: Duration,
    limit: usize,
) -> Result<Vec<ClaimedCallback>, Error> {
    let rows = sqlx::query!(
        r#"UPDATE panel_callbacks
         SET claim = claim + 1, claimed_until = now() + make_interval(secs => $2)
         WHERE id = ANY (ARRAY(
             SELECT c.id FROM panel_callbacks c
             WHERE c.node = $1 AND c.next_at <= now()
                 AND (c.claimed_until IS NULL OR c.claimed_until < now())
                 AND NOT EXISTS (
                     SELECT 1 FROM panel_callbacks earlier
                     WHERE earlier.backup_id = c.backup_id AND earlier.id < c.id
                 )
             ORDER BY c.next_at, c.id LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED
         ))
         RETURNING id, server_id, backup_id, kind, body, attempt, claim,
                   extract(epoch FROM now() - created_at)::float8 AS "age!""#,
        node.as_str(),
        duration.as_secs_f64(),
        i64::try_from(limit).unwrap_or(i64::MAX),
    )
    .fetch_all(database.pool())
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(ClaimedCallback {
                server: ServerId(row.server_id),
                backup: BackupId(row.backup_id),
                kind: CallbackKind::parse(&row.kind)?,
                body: row.body,
                attempts: row.attempt.unsigned_abs(),
                age: Duration::try_from_secs_f64(row.age).unwrap_or_default(),
                id: row.id,
                claim: row.claim,
            })
        })
        .collect()
}

/// Records that the panel has been told. Returns whether the claim still held.
///
/// # Errors
/// If the database can't be written.
pub async fn record_done(database: &Database, claimed: &ClaimedCallback) -> Result<bool, Error> {
    let done = sqlx::query!(
        "DELETE FROM panel_callbacks WHERE id = $1 AND claim = $2",
        claimed.id,
        claimed.claim,
    )
    .execute(database.pool())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Records a failed attempt, and schedules the next one after `wait`. `error` begins with a short
/// reason and a colon. `is_own` says that the failure is one of this callback, and not of the panel
/// as a whole; only such attempts are counted. Returns whether the claim still held.
///
/// # Errors
/// If the database can't be written.
pub async fn record_failure(
    database: &Database,
    claimed: &ClaimedCallback,
    error: &str,
    is_own: bool,
    wait: Duration,
) -> Result<bool, Error> {
    let done = sqlx::query!(
        "UPDATE panel_callbacks
         SET attempt = attempt + $3, last_error = $4, claimed_until = NULL,
             next_at = now() + make_interval(secs => $5)
         WHERE id = $1 AND claim = $2",
        claimed.id,
        claimed.claim,
        i32::from(is_own),
        error,
        wait.as_secs_f64(),
    )
    .execute(database.pool())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Returns whether a backup exists here that nothing deletes.
///
/// # Errors
/// If the database can't be read.
pub async fn is_kept(database: &Database, backup: BackupId) -> Result<bool, Error> {
    let is_kept = sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT 1 FROM backups
               WHERE id = $1 AND state = 'completed' AND deleting_at IS NULL
           ) AS "is_kept!""#,
        backup.0,
    )
    .fetch_one(database.pool())
    .await?;
    Ok(is_kept)
}

/// Returns what waits for the panel on a node; `None` if nothing does.
///
/// # Errors
/// If the database can't be read.
pub async fn waiting(
    database: &Database,
    node: &NodeName,
) -> Result<Option<WaitingCallbacks>, Error> {
    let row = sqlx::query!(
        r#"SELECT count(*) AS "count!", min(created_at) AS oldest,
                  (array_agg(last_error ORDER BY id) FILTER (WHERE last_error IS NOT NULL))[1]
                      AS last_error
           FROM (
               SELECT id, created_at, last_error FROM panel_callbacks
               WHERE node = $1 ORDER BY next_at, id LIMIT $2
           ) waiting"#,
        node.as_str(),
        COUNT_MAX,
    )
    .fetch_one(database.pool())
    .await?;
    Ok(row.oldest.map(|oldest| WaitingCallbacks {
        count: row.count.unsigned_abs(),
        oldest,
        last_error: row.last_error,
    }))
}

/// A panel that waits to be told, for the metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct CallbackCount {
    /// The node.
    pub node: String,
    /// How many callbacks wait.
    pub count: u64,
    /// How long the oldest has been waiting, in seconds.
    pub oldest_seconds: f64,
}

/// Counts what waits on each node, up to 100,000 callbacks in all.
///
/// # Errors
/// If the database can't be read.
pub async fn counts(database: &Database) -> Result<Vec<CallbackCount>, Error> {
    let rows = sqlx::query!(
        r#"SELECT node, count(*) AS "count!",
                  extract(epoch FROM now() - min(created_at))::float8 AS "oldest!"
           FROM (SELECT node, created_at FROM panel_callbacks ORDER BY id LIMIT $1) waiting
           GROUP BY node ORDER BY node"#,
        COUNT_MAX,
    )
    .fetch_all(database.pool())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| CallbackCount {
            node: row.node,
            count: row.count.unsigned_abs(),
            oldest_seconds: row.oldest,
        })
        .collect())
}
