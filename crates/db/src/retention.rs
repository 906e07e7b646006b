//! The backups that retention decides about, and the jobs that remove what goes.

use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use holdfast_domain::activity::DeleteArgs;
use holdfast_domain::retention::{CandidateState, KeepRules, RetentionCandidate};
use holdfast_domain::{BackupId, DiskName, JobId, JobKind, NodeName, ServerId};

use crate::error::Error;
use crate::jobs::{self, NewJob};
use crate::pool::{Database, Transaction};
use crate::servers;

/// How often a deletion is tried before it is given up until the next time.
const MAX_ATTEMPTS: u32 = 3;

/// A server as far as retention goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionServer {
    /// Which one.
    pub id: ServerId,
    /// Its node.
    pub node: NodeName,
    /// Its own word about days.
    pub days: Option<u32>,
    /// Its own rules.
    pub rules: Option<KeepRules>,
    /// Its own limit of backups.
    pub limit: Option<u32>,
    /// Whether the oldest go when it has more.
    pub rotate: bool,
}

/// A backup that retention decides about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionBackup {
    /// Whose it is.
    pub server: ServerId,
    /// What decides.
    pub candidate: RetentionCandidate,
    /// What people call it.
    pub name: String,
    /// The disk that holds its archive.
    pub disk: DiskName,
    /// The node that made it.
    pub node: Option<NodeName>,
    /// The size of its archive, in bytes.
    pub size_bytes: u64,
}

struct ServerRow {
    id: Uuid,
    node: String,
    retention_days: Option<i32>,
    keep: Option<String>,
    backup_limit: Option<i32>,
    rotate: bool,
}

impl TryFrom<ServerRow> for RetentionServer {
    type Error = Error;

    fn try_from(row: ServerRow) -> Result<Self, Error> {
        Ok(Self {
            id: ServerId(row.id),
            node: NodeName::parse(&row.node)
                .map_err(|_| Error::unreadable("node name", &row.node))?,
            // The schema lets no negative number in.
            days: row.retention_days.and_then(|days| days.try_into().ok()),
            rules: row.keep.as_deref().map(servers::rules).transpose()?,
            limit: row.backup_limit.and_then(|limit| limit.try_into().ok()),
            rotate: row.rotate,
        })
    }
}

struct Row {
    server_id: Uuid,
    id: Uuid,
    name: String,
    disk: String,
    node: Option<String>,
    state: String,
    is_locked: bool,
    is_good: bool,
    is_in_use: bool,
    size_bytes: i64,
    created_at: DateTime<Utc>,
}

impl TryFrom<Row> for RetentionBackup {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let state = match row.state.as_str() {
            "creating" => CandidateState::Creating,
            "completed" => CandidateState::Completed {
                is_good: row.is_good,
            },
            "failed" => CandidateState::Failed,
            other => return Err(Error::unreadable("backup state", other)),
        };
        let node = |node: String| {
            NodeName::parse(&node).map_err(|_| Error::unreadable("node name", &node))
        };
        Ok(Self {
            server: ServerId(row.server_id),
            candidate: RetentionCandidate {
                id: BackupId(row.id),
                created_at: row.created_at,
                state,
                is_locked: row.is_locked,
                is_in_use: row.is_in_use,
            },
            name: row.name,
            disk: DiskName::parse(&row.disk)
                .map_err(|_| Error::unreadable("disk name", &row.disk))?,
            node: row.node.map(node).transpose()?,
            size_bytes: row.size_bytes.unsigned_abs(),
        })
    }
}

/// Selects the backups of servers that are not being deleted. What is known against an archive makes it no good;
/// that it waits for its verification keeps it from nothing.
macro_rules! select_held {
    ($executor:expr, $servers:expr) => {
        sqlx::query_as!(
            Row,
            r#"SELECT b.server_id, b.id, b.name, b.disk, b.node, b.state, b.is_locked, b.size_bytes, b.created_at,
                      b.missing_since IS NULL AND b.damaged_at IS NULL AS "is_good!", u.backup_id IS NOT NULL AS "is_in_use!"
               FROM backups b
               LEFT JOIN (
                   SELECT backup_id, bool_or(kind = 'delete_backup') AS is_going FROM jobs
                   WHERE server_id = ANY ($1) AND kind <> 'verify_backup'
                       AND state IN ('available', 'scheduled', 'running')
                   GROUP BY backup_id
               ) u ON u.backup_id = b.id
               WHERE b.server_id = ANY ($1) AND u.is_going IS NOT TRUE"#,
            $servers,
        )
        .fetch_all($executor)
        .await
    };
}

/// Lists some servers in the order of their numbers, those behind `after`; none that is being deleted.
///
/// # Errors
/// When the database can't be read.
pub async fn servers(
    database: &Database,
    after: Option<ServerId>,
    limit: u32,
) -> Result<Vec<RetentionServer>, Error> {
    let rows = sqlx::query_as!(
        ServerRow,
        "SELECT id, node, retention_days, keep, backup_limit, rotate FROM servers
         WHERE deleting_at IS NULL AND id > $1 ORDER BY id LIMIT $2",
        after.map_or(Uuid::nil(), |server| server.0),
        i64::from(limit),
    )
    .fetch_all(database.pool())
    .await?;
    rows.into_iter().map(RetentionServer::try_from).collect()
}

/// Lists the backups of some servers.
///
/// # Errors
/// When the database can't be read.
pub async fn held_by(
    database: &Database,
    servers: &[ServerId],
) -> Result<Vec<RetentionBackup>, Error> {
    let servers: Vec<Uuid> = servers.iter().map(|server| server.0).collect();
    let rows = select_held!(database.pool(), &servers)?;
    rows.into_iter().map(RetentionBackup::try_from).collect()
}

/// Locks a server until the transaction ends, and lists its backups: nobody else decides about them meanwhile.
/// `None` when it is gone or going.
///
/// # Errors
/// When the database can't be read.
pub async fn hold(
    transaction: &mut Transaction,
    server: ServerId,
) -> Result<Option<(RetentionServer, Vec<RetentionBackup>)>, Error> {
    let row = sqlx::query_as!(
        ServerRow,
        "SELECT id, node, retention_days, keep, backup_limit, rotate FROM servers
         WHERE id = $1 AND deleting_at IS NULL FOR NO KEY UPDATE",
        server.0
    )
    .fetch_optional(transaction.connection())
    .await?;
    match row {
        Some(row) => Ok(Some((
            RetentionServer::try_from(row)?,
            held_in(transaction, server).await?,
        ))),
        None => Ok(None),
    }
}

/// Lists the backups of a server that this transaction has locked.
///
/// # Errors
/// When the database can't be read.
pub async fn held_in(
    transaction: &mut Transaction,
    server: ServerId,
) -> Result<Vec<RetentionBackup>, Error> {
    let held = select_held!(transaction.connection(), &[server.0] as &[Uuid])?;
    held.into_iter().map(RetentionBackup::try_from).collect()
}

/// Finds a server whose oldest backups go when it has too many, and locks it until the transaction ends.
///
/// # Errors
/// When the database can't be read.
pub async fn rotating(
    transaction: &mut Transaction,
    server: ServerId,
) -> Result<Option<RetentionServer>, Error> {
    let row = sqlx::query_as!(
        ServerRow,
        "SELECT id, node, retention_days, keep, backup_limit, rotate FROM servers
         WHERE id = $1 AND rotate AND deleting_at IS NULL FOR NO KEY UPDATE",
        server.0
    )
    .fetch_optional(transaction.connection())
    .await?;
    row.map(RetentionServer::try_from).transpose()
}

/// Asks for the removal of a backup, in the name of the service. `None` when it has been locked, or taken to work
/// with, since it was looked at.
///
/// # Errors
/// When the database can't be written.
pub async fn remove(
    transaction: &mut Transaction,
    held: &RetentionBackup,
    node: &NodeName,
    reason: &str,
) -> Result<Option<JobId>, Error> {
    let backup = held.candidate.id;
    let row = sqlx::query!(
        "SELECT is_locked FROM backups WHERE id = $1 AND server_id = $2 FOR NO KEY UPDATE",
        backup.0,
        held.server.0,
    )
    .fetch_optional(transaction.connection())
    .await?;
    if row.is_none_or(|row| row.is_locked) {
        return Ok(None);
    }
    // In a statement of its own: one that waited for the lock would still see the jobs from before the wait.
    let is_in_use = sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT 1 FROM jobs WHERE server_id = $1 AND backup_id = $2 AND kind <> 'verify_backup'
                   AND state IN ('available', 'scheduled', 'running')
           ) AS "is_in_use!""#,
        held.server.0,
        backup.0,
    )
    .fetch_one(transaction.connection())
    .await?;
    if is_in_use {
        return Ok(None);
    }
    let args = DeleteArgs {
        origin: None,
        reason: Some(reason.to_owned()),
    };
    let job = NewJob {
        kind: JobKind::DeleteBackup,
        server: held.server,
        backup,
        node,
        args: json!(args),
        max_attempts: MAX_ATTEMPTS,
    };
    Ok(Some(jobs::enqueue(transaction, &job).await?))
}
