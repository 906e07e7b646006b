//! Servers, and what a caller is to one.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use holdfast_domain::limit::Load;
use holdfast_domain::name::{DiskName, NodeName};
use holdfast_domain::server::ServerLimits;
use holdfast_domain::{
    JobKind, Permission, Server, ServerId, ServerRef, ServerState, Standing, UserId,
};

use crate::connect::{Database, Transaction};
use crate::error::Error;

struct Row {
    id: Uuid,
    owner_id: Uuid,
    name: String,
    directory: String,
    node: String,
    disk: Option<String>,
    state: String,
    backup_limit: Option<i32>,
    max_backup_bytes: Option<i64>,
    quota_bytes: Option<i64>,
    retention_days: Option<i32>,
    created_at: DateTime<Utc>,
    permissions: Option<Vec<String>>,
}

impl TryFrom<Row> for Server {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        Ok(Self {
            id: ServerId(row.id),
            owner: UserId(row.owner_id),
            name: row.name,
            directory: PathBuf::from(row.directory),
            node: NodeName::parse(&row.node)
                .map_err(|_| Error::unreadable("node name", &row.node))?,
            disk: row
                .disk
                .map(|disk| {
                    DiskName::parse(&disk).map_err(|_| Error::unreadable("disk name", &disk))
                })
                .transpose()?,
            state: ServerState::parse(&row.state)
                .ok_or_else(|| Error::unreadable("server state", &row.state))?,
            // The schema lets no negative number in.
            limits: ServerLimits {
                backups: row.backup_limit.and_then(|n| n.try_into().ok()),
                max_backup_bytes: row.max_backup_bytes.and_then(|n| n.try_into().ok()),
                quota_bytes: row.quota_bytes.and_then(|n| n.try_into().ok()),
                retention_days: row.retention_days.and_then(|n| n.try_into().ok()),
            },
            created_at: row.created_at,
        })
    }
}

/// Stores a new server, or the changed settings of one that is there.
///
/// # Errors
/// [`Error::Conflict`] when another server begins with the same eight digits, [`Error::Missing`]
/// when its owner is not there.
pub async fn save(database: &Database, server: &Server) -> Result<(), Error> {
    let limits = &server.limits;
    let directory = server.directory.to_string_lossy();
    sqlx::query!(
        "INSERT INTO servers (id, owner_id, name, directory, node, disk, state, backup_limit, max_backup_bytes,
                              quota_bytes, retention_days, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         ON CONFLICT (id) DO UPDATE SET
             owner_id = EXCLUDED.owner_id, name = EXCLUDED.name, directory = EXCLUDED.directory,
             node = EXCLUDED.node, disk = EXCLUDED.disk, state = EXCLUDED.state,
             backup_limit = EXCLUDED.backup_limit, max_backup_bytes = EXCLUDED.max_backup_bytes,
             quota_bytes = EXCLUDED.quota_bytes, retention_days = EXCLUDED.retention_days",
        server.id.0,
        server.owner.0,
        server.name,
        directory.as_ref(),
        server.node.as_str(),
        server.disk.as_ref().map(DiskName::as_str),
        server.state.as_str(),
        limits.backups.map(|n| i32::try_from(n).unwrap_or(i32::MAX)),
        limits.max_backup_bytes.map(|n| i64::try_from(n).unwrap_or(i64::MAX)),
        limits.quota_bytes.map(|n| i64::try_from(n).unwrap_or(i64::MAX)),
        limits.retention_days.map(|n| i32::try_from(n).unwrap_or(i32::MAX)),
        server.created_at,
    )
    .execute(database.pool())
    .await?;
    Ok(())
}

macro_rules! select_servers {
    ($executor:expr, $fetch:ident, $tail:tt $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            Row,
            "SELECT s.id, s.owner_id, s.name, s.directory, s.node, s.disk, s.state, s.backup_limit,
                    s.max_backup_bytes, s.quota_bytes, s.retention_days, s.created_at,
                    u.permissions AS \"permissions?\"
             FROM servers s LEFT JOIN subusers u ON u.server_id = s.id AND u.user_id = $1 "
                + $tail,
            $($argument),*
        )
        .$fetch($executor)
        .await
    };
}

/// Finds a server as one user sees it, with what that user is to it. A server that the user has no
/// part in is not found.
///
/// # Errors
/// When the database can't be read.
pub async fn find_for(
    database: &Database,
    server: &ServerRef,
    user: UserId,
    is_admin: bool,
) -> Result<Option<(Server, Standing)>, Error> {
    let pool = database.pool();
    let row = match server {
        ServerRef::Id(id) => select_servers!(pool, fetch_optional, "WHERE s.id = $2", user.0, id.0),
        ServerRef::Short(text) => {
            select_servers!(
                pool,
                fetch_optional,
                "WHERE s.identifier = $2",
                user.0,
                text
            )
        }
    }?;
    let Some(mut row) = row else { return Ok(None) };
    let permissions = row.permissions.take();
    let server = Server::try_from(row)?;
    let standing = if server.owner == user {
        Standing::Owner
    } else if is_admin {
        Standing::Admin
    } else if let Some(permissions) = permissions {
        Standing::Subuser(
            permissions
                .iter()
                .filter_map(|name| Permission::parse(name))
                .collect(),
        )
    } else {
        return Ok(None);
    };
    Ok(Some((server, standing)))
}

/// Finds a server.
///
/// # Errors
/// When the database can't be read.
pub async fn find(database: &Database, server: &ServerRef) -> Result<Option<Server>, Error> {
    let nobody = Uuid::nil();
    let pool = database.pool();
    let row = match server {
        ServerRef::Id(id) => select_servers!(pool, fetch_optional, "WHERE s.id = $2", nobody, id.0),
        ServerRef::Short(text) => select_servers!(
            pool,
            fetch_optional,
            "WHERE s.identifier = $2",
            nobody,
            text
        ),
    }?;
    row.map(Server::try_from).transpose()
}

/// Lists all servers, oldest first.
///
/// # Errors
/// When the database can't be read.
pub async fn list(database: &Database) -> Result<Vec<Server>, Error> {
    let rows = select_servers!(
        database.pool(),
        fetch_all,
        "ORDER BY s.created_at, s.id",
        Uuid::nil()
    )?;
    rows.into_iter().map(Server::try_from).collect()
}

/// Lists the servers of a node with their directories.
///
/// # Errors
/// When the database can't be read.
pub async fn list_on_node(
    database: &Database,
    node: &NodeName,
) -> Result<Vec<(ServerId, PathBuf)>, Error> {
    let rows = sqlx::query!(
        "SELECT id, directory FROM servers WHERE node = $1",
        node.as_str()
    )
    .fetch_all(database.pool())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (ServerId(row.id), PathBuf::from(row.directory)))
        .collect())
}

/// Locks a server until the transaction ends, and reads what decides whether it can take a job: of
/// two requests for the last free place, the second sees the first. `recent_seconds` is the span in
/// which recent backups are counted.
///
/// # Errors
/// When the database can't be read; a server that is gone is [`Error::Missing`].
pub async fn lock(
    transaction: &mut Transaction,
    server: ServerId,
    recent_seconds: u32,
) -> Result<Load, Error> {
    // In a statement of its own: one that waited for the lock would still see
    // the counts from before the wait.
    let state = sqlx::query_scalar!(
        "SELECT state FROM servers WHERE id = $1 FOR NO KEY UPDATE",
        server.0
    )
    .fetch_optional(transaction.connection())
    .await?
    .ok_or_else(|| Error::Missing {
        constraint: "servers_pkey".into(),
    })?;
    let row = sqlx::query!(
        r#"SELECT
            (SELECT kind FROM jobs
             WHERE server_id = $1 AND kind IN ('create_backup', 'restore_backup')
                 AND state IN ('available', 'scheduled', 'running')) AS unfinished,
            (SELECT count(*) FROM backups
             WHERE server_id = $1 AND state IN ('creating', 'completed')) AS "kept!",
            (SELECT count(*) FROM jobs
             WHERE server_id = $1 AND kind = 'create_backup' AND state NOT IN ('discarded', 'cancelled')
                 AND created_at > now() - make_interval(secs => $2)) AS "recent!""#,
        server.0,
        f64::from(recent_seconds),
    )
    .fetch_one(transaction.connection())
    .await?;
    Ok(Load {
        state: ServerState::parse(&state)
            .ok_or_else(|| Error::unreadable("server state", &state))?,
        unfinished: row
            .unfinished
            .map(|kind| JobKind::parse(&kind).ok_or_else(|| Error::unreadable("job kind", &kind)))
            .transpose()?,
        kept: row.kept.unsigned_abs(),
        recent: row.recent.unsigned_abs(),
    })
}
