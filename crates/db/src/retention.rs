//! The backups that retention decides about, and the jobs that delete them.

use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use holdfast_domain::job::DeleteArgs;
use holdfast_domain::retention::{CandidateState, KeepRules, RetentionCandidate};
use holdfast_domain::schedule::ScheduleId;
use holdfast_domain::{BackupId, DiskName, JobId, JobKind, NodeName, ServerId};

use crate::error::Error;
use crate::jobs::{self, NewJob};
use crate::pool::{Database, Transaction};
use crate::servers;

/// How often a deletion is tried before the next run of retention tries again.
const MAX_ATTEMPTS: u32 = 3;

/// The settings of a server that retention uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionServer {
    /// The server.
    pub id: ServerId,
    /// The node.
    pub node: NodeName,
    /// The retention in days, if the server has its own.
    pub days: Option<u32>,
    /// The retention rules, if the server has its own.
    pub rules: Option<KeepRules>,
    /// The backup limit, if the server has its own.
    pub limit: Option<u32>,
    /// Whether the oldest backups above the limit are deleted.
    pub rotate: bool,
}

/// A backup that retention decides about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionBackup {
    /// The server.
    pub server: ServerId,
    /// The facts that decide.
    pub candidate: RetentionCandidate,
    /// The name.
    pub name: String,
    /// The disk that stores the archive.
    pub disk: DiskName,
    /// The node that created it.
    pub node: Option<NodeName>,
    /// The size of the archive, in bytes.
    pub size_bytes: u64,
}

struct RetentionServerRow {
    id: Uuid,
    node: String,
    retention_days: Option<i32>,
    keep: Option<String>,
    backup_limit: Option<i32>,
    rotate: bool,
}

impl TryFrom<RetentionServerRow> for RetentionServer {
    type Error = Error;

    fn try_from(row: RetentionServerRow) -> Result<Self, Error> {
        Ok(Self {
            id: ServerId(row.id),
            node: NodeName::parse(&row.node)
                .map_err(|_| Error::unreadable("node name", &row.node))?,
            // The schema allows no negative number.
            days: row.retention_days.and_then(|days| days.try_into().ok()),
            rules: row.keep.as_deref().map(servers::rules).transpose()?,
            limit: row.backup_limit.and_then(|limit| limit.try_into().ok()),
            rotate: row.rotate,
        })
    }
}

struct RetentionBackupRow {
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

impl TryFrom<RetentionBackupRow> for RetentionBackup {
    type Error = Error;

    fn try_from(row: RetentionBackupRow) -> Result<Self, Error> {
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

/// Selects the backups of servers, except those that are being deleted. An archive that is missing
/// or damaged is not good. An unfinished verification does not make a backup "in use".
macro_rules! select_backups_of_servers {
    ($executor:expr, $servers:expr) => {
        sqlx::query_as!(
            RetentionBackupRow,
            r#"SELECT b.server_id, b.id, b.name, b.disk, b.node, b.state, b.is_locked, b.size_bytes,
                      b.created_at,
                      b.missing_since IS NULL AND b.damaged_at IS NULL AS "is_good!",
                      u.backup_id IS NOT NULL AS "is_in_use!"
               FROM backups b
               LEFT JOIN (
                   SELECT backup_id, bool_or(kind = 'delete_backup') AS is_being_deleted FROM jobs
                   WHERE server_id = ANY ($1) AND kind <> 'verify_backup'
                       AND state IN ('available', 'scheduled', 'running')
                   GROUP BY backup_id
               ) u ON u.backup_id = b.id
               WHERE b.server_id = ANY ($1) AND u.is_being_deleted IS NOT TRUE"#,
            $servers,
        )
        .fetch_all($executor)
        .await
    };
}

/// Lists servers whose UUID is greater than `after`, in the order of the UUIDs. Servers that are
/// being deleted, or that a panel manages, are left out.
///
/// # Errors
/// If the database can't be read.
pub async fn list_servers(
    database: &Database,
    after: Option<ServerId>,
    limit: u32,
) -> Result<Vec<RetentionServer>, Error> {
    let rows = sqlx::query_as!(
        RetentionServerRow,
        "SELECT id, node, retention_days, keep, backup_limit, rotate FROM servers
         WHERE deleting_at IS NULL AND managed_by IS NULL AND id > $1 ORDER BY id LIMIT $2",
        after.map_or(Uuid::nil(), |server| server.0),
        i64::from(limit),
    )
    .fetch_all(database.pool())
    .await?;
    rows.into_iter().map(RetentionServer::try_from).collect()
}

/// Lists the backups of these servers.
///
/// # Errors
/// If the database can't be read.
pub async fn list_backups(
    database: &Database,
    servers: &[ServerId],
) -> Result<Vec<RetentionBackup>, Error> {
    let servers: Vec<Uuid> = servers.iter().map(|server| server.0).collect();
    let rows = select_backups_of_servers!(database.pool(), &servers)?;
    rows.into_iter().map(RetentionBackup::try_from).collect()
}

/// Locks a server until the transaction ends and lists its backups, so that no other process
/// decides about them. Returns `None` if the server is deleted or being deleted, or if a panel
/// manages it.
///
/// # Errors
/// If the database can't be read.
pub async fn lock_server(
    transaction: &mut Transaction,
    server: ServerId,
) -> Result<Option<(RetentionServer, Vec<RetentionBackup>)>, Error> {
    let row = sqlx::query_as!(
        RetentionServerRow,
        "SELECT id, node, retention_days, keep, backup_limit, rotate FROM servers
         WHERE id = $1 AND deleting_at IS NULL AND managed_by IS NULL FOR NO KEY UPDATE",
        server.0
    )
    .fetch_optional(transaction.connection())
    .await?;
    match row {
        Some(row) => Ok(Some((
            RetentionServer::try_from(row)?,
            list_locked_backups(transaction, server).await?,
        ))),
        None => Ok(None),
    }
}

/// Lists the backups of a server that this transaction has locked.
///
/// # Errors
/// If the database can't be read.
pub async fn list_locked_backups(
    transaction: &mut Transaction,
    server: ServerId,
) -> Result<Vec<RetentionBackup>, Error> {
    let rows = select_backups_of_servers!(transaction.connection(), &[server.0] as &[Uuid])?;
    rows.into_iter().map(RetentionBackup::try_from).collect()
}

/// Lists the backups of a schedule whose server this transaction has locked, except those that are
/// being deleted.
///
/// # Errors
/// If the database can't be read.
pub async fn list_backups_of_schedule(
    transaction: &mut Transaction,
    server: ServerId,
    schedule: ScheduleId,
) -> Result<Vec<RetentionBackup>, Error> {
    let own = sqlx::query_scalar!("SELECT id FROM backups WHERE schedule_id = $1", schedule.0)
        .fetch_all(transaction.connection())
        .await?;
    let mut backups = list_locked_backups(transaction, server).await?;
    backups.retain(|backup| own.contains(&backup.candidate.id.0));
    Ok(backups)
}

/// Locks a server until the transaction ends, if it rotates its backups. Otherwise returns `None`.
///
/// # Errors
/// If the database can't be read.
pub async fn lock_rotating_server(
    transaction: &mut Transaction,
    server: ServerId,
) -> Result<Option<RetentionServer>, Error> {
    let row = sqlx::query_as!(
        RetentionServerRow,
        "SELECT id, node, retention_days, keep, backup_limit, rotate FROM servers
         WHERE id = $1 AND rotate AND deleting_at IS NULL AND managed_by IS NULL FOR NO KEY UPDATE",
        server.0
    )
    .fetch_optional(transaction.connection())
    .await?;
    row.map(RetentionServer::try_from).transpose()
}

/// Enqueues the deletion of a backup by the service itself. Returns `None` if the backup has been
/// locked, or is in use, since it was listed.
///
/// # Errors
/// If the database can't be written.
pub async fn enqueue_deletion(
    transaction: &mut Transaction,
    backup: &RetentionBackup,
    node: &NodeName,
    reason: &str,
) -> Result<Option<JobId>, Error> {
    let id = backup.candidate.id;
    let row = sqlx::query!(
        "SELECT is_locked FROM backups WHERE id = $1 AND server_id = $2 FOR NO KEY UPDATE",
        id.0,
        backup.server.0,
    )
    .fetch_optional(transaction.connection())
    .await?;
    if row.is_none_or(|row| row.is_locked) {
        return Ok(None);
    }
    // A statement that had waited for the lock would still see the jobs from before the wait. So
    // the lock has a statement of its own.
    let is_in_use = sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT 1 FROM jobs
               WHERE server_id = $1 AND backup_id = $2 AND kind <> 'verify_backup'
                   AND state IN ('available', 'scheduled', 'running')
           ) AS "is_in_use!""#,
        backup.server.0,
        id.0,
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
        server: backup.server,
        backup: id,
        node,
        args: json!(args),
        max_attempts: MAX_ATTEMPTS,
        run: None,
    };
    Ok(Some(jobs::enqueue(transaction, &job).await?))
}
