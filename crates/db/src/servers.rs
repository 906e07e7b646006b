//! Servers: finding, listing, locking. Their deletion and storage are in the submodules.

mod deletion;
mod facts;
mod managed;
mod save;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use holdfast_domain::limit::ServerLoad;
use holdfast_domain::name::{DiskName, NodeName};
use holdfast_domain::retention::KeepRules;
use holdfast_domain::server::{ServerLimits, ServerManager};
use holdfast_domain::{DirectorySetBy, JobKind, Server, ServerId, ServerRef, ServerState, UserId};

use crate::error::Error;
use crate::pool::{COUNT_MAX, Database, Transaction, clamp_offset};

pub use deletion::{begin_deletion, delete_backup, end_deletion, list_some_backups, undo_deletion};
pub use facts::{ServerFacts, facts};
pub use managed::{is_managed_by, move_managed, register_managed};
pub(crate) use save::lock_directories;
pub use save::{DIRECTORY_TAKEN, insert, save};

pub(crate) struct ServerRow {
    pub(crate) id: Uuid,
    pub(crate) owner_id: Uuid,
    pub(crate) name: String,
    pub(crate) directory: String,
    pub(crate) node: String,
    pub(crate) disk: Option<String>,
    pub(crate) state: String,
    pub(crate) backup_limit: Option<i32>,
    pub(crate) max_backup_bytes: Option<i64>,
    pub(crate) quota_bytes: Option<i64>,
    pub(crate) retention_days: Option<i32>,
    pub(crate) keep: Option<String>,
    pub(crate) rotate: bool,
    pub(crate) no_default_schedule: bool,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) directory_set_by: String,
    pub(crate) managed_by: Option<String>,
    pub(crate) absent_since: Option<DateTime<Utc>>,
}

impl TryFrom<ServerRow> for Server {
    type Error = Error;

    fn try_from(row: ServerRow) -> Result<Self, Error> {
        Ok(Self {
            id: ServerId(row.id),
            owner: UserId(row.owner_id).some(),
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
            // The schema allows no negative number.
            limits: ServerLimits {
                backups: row.backup_limit.and_then(|n| n.try_into().ok()),
                max_backup_bytes: row.max_backup_bytes.and_then(|n| n.try_into().ok()),
                quota_bytes: row.quota_bytes.and_then(|n| n.try_into().ok()),
                retention_days: row.retention_days.and_then(|n| n.try_into().ok()),
                keep: row.keep.as_deref().map(rules).transpose()?,
                rotate: row.rotate,
                no_default_schedule: row.no_default_schedule,
            },
            created_at: row.created_at,
            directory_set_by: DirectorySetBy::parse(&row.directory_set_by).ok_or_else(|| {
                Error::unreadable("origin of a server's directory", &row.directory_set_by)
            })?,
            managed_by: row.managed_by.as_deref().map(manager).transpose()?,
            absent_since: row.absent_since,
        })
    }
}

/// Parses the daemon that manages a server.
fn manager(text: &str) -> Result<ServerManager, Error> {
    ServerManager::parse(text).ok_or_else(|| Error::unreadable("manager of a server", text))
}

/// Parses the retention rules of a server.
pub(crate) fn rules(text: &str) -> Result<KeepRules, Error> {
    KeepRules::parse(text).ok_or_else(|| Error::unreadable("retention rules", text))
}

macro_rules! select_servers {
    ($executor:expr, $fetch:ident, $tail:tt $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            ServerRow,
            "SELECT s.id, s.owner_id, s.name, s.directory, s.node, s.disk, s.state, s.backup_limit,
                    s.max_backup_bytes, s.quota_bytes, s.retention_days, s.keep, s.rotate,
                    s.no_default_schedule, s.created_at, s.directory_set_by, s.managed_by,
                    s.absent_since
             FROM servers s
             WHERE s.deleting_at IS NULL "
                + $tail,
            $($argument),*
        )
        .$fetch($executor)
        .await
    };
}

/// Finds a server. A server that is being deleted is not found.
///
/// # Errors
/// If the database can't be read.
pub async fn find(database: &Database, server: &ServerRef) -> Result<Option<Server>, Error> {
    let pool = database.pool();
    let row = match server {
        ServerRef::Id(id) => select_servers!(pool, fetch_optional, "AND s.id = $1", id.0),
        ServerRef::Short(text) => {
            select_servers!(pool, fetch_optional, "AND s.identifier = $1", text)
        }
    }?;
    row.map(Server::try_from).transpose()
}

/// Lists a page of servers, oldest first. Filters by owner if one is given.
///
/// # Errors
/// If the database can't be read.
pub async fn page(
    database: &Database,
    owner: Option<UserId>,
    limit: u32,
    offset: u64,
) -> Result<Vec<Server>, Error> {
    let pool = database.pool();
    let (limit, offset) = (i64::from(limit), clamp_offset(offset));
    let rows = match owner {
        Some(owner) => select_servers!(
            pool,
            fetch_all,
            "AND s.owner_id = $1 ORDER BY s.created_at, s.id LIMIT $2 OFFSET $3",
            owner.0,
            limit,
            offset
        ),
        None => select_servers!(
            pool,
            fetch_all,
            "ORDER BY s.created_at, s.id LIMIT $1 OFFSET $2",
            limit,
            offset
        ),
    }?;
    rows.into_iter().map(Server::try_from).collect()
}

/// Lists a page of the servers that a user owns or is a subuser of, oldest first.
///
/// # Errors
/// If the database can't be read.
pub async fn page_of_user(
    database: &Database,
    user: UserId,
    limit: u32,
    offset: u64,
) -> Result<Vec<Server>, Error> {
    // A UNION uses one index for each half. With OR, Postgres would read the whole table.
    let rows = select_servers!(
        database.pool(),
        fetch_all,
        "AND s.id = ANY (ARRAY(
                 SELECT id FROM servers WHERE owner_id = $1
                 UNION SELECT server_id FROM subusers WHERE user_id = $1
             )) ORDER BY s.created_at, s.id LIMIT $2 OFFSET $3",
        user.0,
        i64::from(limit),
        clamp_offset(offset),
    )?;
    rows.into_iter().map(Server::try_from).collect()
}

/// Counts the servers that a user owns or is a subuser of, up to 100,000.
///
/// # Errors
/// If the database can't be read.
pub async fn count_of_user(database: &Database, user: UserId) -> Result<u64, Error> {
    let count = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM (
               SELECT 1 FROM servers
               WHERE deleting_at IS NULL AND id = ANY (ARRAY(
                   SELECT id FROM servers WHERE owner_id = $1
                   UNION SELECT server_id FROM subusers WHERE user_id = $1
               )) LIMIT $2
           ) rows"#,
        user.0,
        COUNT_MAX,
    )
    .fetch_one(database.pool())
    .await?;
    Ok(count.unsigned_abs())
}

/// Returns which of these servers have a queued or running restore.
///
/// # Errors
/// If the database can't be read.
pub async fn list_restoring(
    database: &Database,
    servers: &[ServerId],
) -> Result<BTreeSet<ServerId>, Error> {
    let servers: Vec<Uuid> = servers.iter().map(|server| server.0).collect();
    let found = sqlx::query_scalar!(
        "SELECT server_id FROM jobs
         WHERE server_id = ANY ($1) AND (kind = 'restore_backup') IS TRUE
             AND state IN ('available', 'scheduled', 'running')",
        &servers,
    )
    .fetch_all(database.pool())
    .await?;
    Ok(found.into_iter().map(ServerId).collect())
}

/// Counts servers, up to 100,000. Filters by owner if one is given.
///
/// # Errors
/// If the database can't be read.
pub async fn count(database: &Database, owner: Option<UserId>) -> Result<u64, Error> {
    let count = match owner {
        Some(owner) => {
            sqlx::query_scalar!(
                r#"SELECT count(*) AS "count!" FROM (
                       SELECT 1 FROM servers WHERE owner_id = $1 AND deleting_at IS NULL LIMIT $2
                   ) rows"#,
                owner.0,
                COUNT_MAX,
            )
            .fetch_one(database.pool())
            .await?
        }
        None => {
            sqlx::query_scalar!(
                r#"SELECT count(*) AS "count!" FROM (
                       SELECT 1 FROM servers WHERE deleting_at IS NULL LIMIT $1
                   ) rows"#,
                COUNT_MAX,
            )
            .fetch_one(database.pool())
            .await?
        }
    };
    Ok(count.unsigned_abs())
}

/// Lists all servers, oldest first.
///
/// # Errors
/// If the database can't be read.
pub async fn list(database: &Database) -> Result<Vec<Server>, Error> {
    let rows = select_servers!(database.pool(), fetch_all, "ORDER BY s.created_at, s.id")?;
    rows.into_iter().map(Server::try_from).collect()
}

/// Lists servers of a node whose directory is after `after`, in the order of the directories.
///
/// # Errors
/// If the database can't be read.
pub async fn on_node(
    database: &Database,
    node: &NodeName,
    after: Option<&Path>,
    limit: u32,
) -> Result<Vec<(ServerId, PathBuf, DirectorySetBy)>, Error> {
    let after = after.map_or_else(String::new, |path| path.to_string_lossy().into_owned());
    let rows = sqlx::query!(
        r#"SELECT id, directory, directory_set_by FROM servers
           WHERE node = $1 AND directory COLLATE "C" > $2
           ORDER BY directory COLLATE "C" LIMIT $3"#,
        node.as_str(),
        after,
        i64::from(limit),
    )
    .fetch_all(database.pool())
    .await?;
    rows.into_iter()
        .map(|row| {
            let directory_set_by =
                DirectorySetBy::parse(&row.directory_set_by).ok_or_else(|| {
                    Error::unreadable("origin of a server's directory", &row.directory_set_by)
                })?;
            Ok((
                ServerId(row.id),
                PathBuf::from(row.directory),
                directory_set_by,
            ))
        })
        .collect()
}

/// Finds servers, as a transaction has left them.
async fn find_all_in(transaction: &mut Transaction, ids: &[Uuid]) -> Result<Vec<Server>, Error> {
    let connection = transaction.connection();
    let rows = select_servers!(connection, fetch_all, "AND s.id = ANY ($1)", ids)?;
    rows.into_iter().map(Server::try_from).collect()
}

/// Finds a server, locks it until the transaction ends, and reads the facts that decide whether it
/// may change.
///
/// # Errors
/// If the database can't be read.
pub async fn lock_and_find(
    transaction: &mut Transaction,
    server: ServerId,
) -> Result<Option<(Server, ServerLoad)>, Error> {
    let load = match lock(transaction, server, 0).await {
        Ok(load) => load,
        Err(Error::Missing { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let row = select_servers!(
        transaction.connection(),
        fetch_optional,
        "AND s.id = $1",
        server.0
    )?;
    let server = row.map(Server::try_from).transpose()?;
    Ok(server.map(|server| (server, load)))
}

/// Locks a server until the transaction ends and reads the facts that decide whether it can take a
/// job. So the second of two requests for the last allowed backup sees the first. Recent backups
/// are those of the last `recent_seconds`.
///
/// # Errors
/// If the database can't be read. [`Error::Missing`] if the server is deleted or being deleted.
pub async fn lock(
    transaction: &mut Transaction,
    server: ServerId,
    recent_seconds: u32,
) -> Result<ServerLoad, Error> {
    // A statement that had waited for the lock would still see the counts from before the wait. So
    // the lock has a statement of its own.
    let state = sqlx::query_scalar!(
        "SELECT state FROM servers WHERE id = $1 AND deleting_at IS NULL FOR NO KEY UPDATE",
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
            (SELECT coalesce(sum(size_bytes), 0)::bigint FROM backups
             WHERE server_id = $1 AND state = 'completed') AS "archived_bytes!",
            (SELECT count(*) FROM backups b
             WHERE b.server_id = $1 AND b.state = 'completed' AND NOT b.is_locked AND NOT EXISTS (
                 SELECT 1 FROM jobs j
                 WHERE j.server_id = $1 AND j.backup_id = b.id
                     AND j.kind IN ('restore_backup', 'delete_backup')
                     AND j.state IN ('available', 'scheduled', 'running'))) AS "rotatable!",
            (SELECT count(*) FROM jobs
             WHERE server_id = $1 AND kind = 'create_backup' AND run_id IS NULL
                 AND state NOT IN ('discarded', 'cancelled')
                 AND created_at > now() - make_interval(secs => $2)
                 AND created_at < now() + make_interval(secs => $2)) AS "recent!""#,
        server.0,
        f64::from(recent_seconds),
    )
    .fetch_one(transaction.connection())
    .await?;
    Ok(ServerLoad {
        state: ServerState::parse(&state)
            .ok_or_else(|| Error::unreadable("server state", &state))?,
        unfinished: row
            .unfinished
            .map(|kind| JobKind::parse(&kind).ok_or_else(|| Error::unreadable("job kind", &kind)))
            .transpose()?,
        backups: row.kept.unsigned_abs(),
        rotatable: row.rotatable.unsigned_abs(),
        archived_bytes: row.archived_bytes.unsigned_abs(),
        recent_backups: row.recent.unsigned_abs(),
    })
}
