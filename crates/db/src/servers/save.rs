//! Storage of servers. No two servers may share a directory.

use holdfast_domain::server::ServerManager;
use holdfast_domain::{DiskName, Server, UserId};

use crate::error::Error;
use crate::operator_log::Change;
use crate::pool::Transaction;

/// The constraint in [`Error::Conflict`] if the directory overlaps with that of another server.
pub const DIRECTORY_TAKEN: &str = "servers_directory";

/// Inserts a server or updates its settings. Deletes its default schedule if it is excluded from
/// that.
///
/// On a node, the directory of a server is never equal to, inside, or around that of another
/// server. A restore replaces the whole directory, so it would destroy the other server.
///
/// # Errors
/// [`Error::Conflict`] with [`DIRECTORY_TAKEN`] if the directory overlaps with that of another
/// server. [`Error::Conflict`] if another server has the same short identifier. [`Error::Missing`]
/// if the owner does not exist.
pub async fn save(change: &mut Change, server: &Server) -> Result<(), Error> {
    check_directory(change, server).await?;
    let limits = &server.limits;
    let directory = server.directory.to_string_lossy();
    sqlx::query!(
        "INSERT INTO servers (id, owner_id, name, directory, node, disk, state, backup_limit,
                              max_backup_bytes, quota_bytes, retention_days, created_at,
                              directory_set_by, rotate, keep, no_default_schedule, managed_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
         ON CONFLICT (id) DO UPDATE SET
             owner_id = EXCLUDED.owner_id, created_at = EXCLUDED.created_at, name = EXCLUDED.name,
             directory = EXCLUDED.directory,
             node = EXCLUDED.node, disk = EXCLUDED.disk, state = EXCLUDED.state,
             backup_limit = EXCLUDED.backup_limit, max_backup_bytes = EXCLUDED.max_backup_bytes,
             quota_bytes = EXCLUDED.quota_bytes, retention_days = EXCLUDED.retention_days,
             directory_set_by = EXCLUDED.directory_set_by, rotate = EXCLUDED.rotate,
             keep = EXCLUDED.keep, no_default_schedule = EXCLUDED.no_default_schedule,
             managed_by = EXCLUDED.managed_by,
             default_schedule = CASE
                 WHEN (servers.backup_limit, servers.no_default_schedule)
                     IS DISTINCT FROM (EXCLUDED.backup_limit, EXCLUDED.no_default_schedule)
                 THEN '?'
                 ELSE servers.default_schedule
             END",
        server.id.0,
        server.owner.unwrap_or(UserId::NONE).0,
        server.name,
        directory.as_ref(),
        server.node.as_str(),
        server.disk.as_ref().map(DiskName::as_str),
        server.state.as_str(),
        limits.backups.map(|n| i32::try_from(n).unwrap_or(i32::MAX)),
        limits
            .max_backup_bytes
            .map(|n| i64::try_from(n).unwrap_or(i64::MAX)),
        limits
            .quota_bytes
            .map(|n| i64::try_from(n).unwrap_or(i64::MAX)),
        limits
            .retention_days
            .map(|n| i32::try_from(n).unwrap_or(i32::MAX)),
        server.created_at,
        server.directory_set_by.as_str(),
        limits.rotate,
        limits.keep.map(|rules| rules.to_string()),
        limits.no_default_schedule,
        server.managed_by.map(ServerManager::as_str),
    )
    .execute(change.connection())
    .await?;
    if limits.no_default_schedule {
        sqlx::query!(
            "DELETE FROM schedules WHERE server_id = $1 AND is_default",
            server.id.0
        )
        .execute(change.connection())
        .await?;
    }
    Ok(())
}

/// Inserts a server.
///
/// # Errors
/// As [`save`]. Also [`Error::Conflict`] if the server exists or is being deleted.
pub async fn insert(change: &mut Change, server: &Server) -> Result<(), Error> {
    check_directory(change, server).await?;
    // An insert without ON CONFLICT refuses a UUID that is taken. `save` then writes the other
    // columns.
    let directory = server.directory.to_string_lossy();
    sqlx::query!(
        "INSERT INTO servers (id, owner_id, name, directory, node) VALUES ($1, $2, $3, $4, $5)",
        server.id.0,
        server.owner.unwrap_or(UserId::NONE).0,
        server.name,
        directory.as_ref(),
        server.node.as_str(),
    )
    .execute(change.connection())
    .await?;
    save(change, server).await
}

/// Locks the directories of a node until the transaction ends. Other checks on the same node wait.
pub(crate) async fn lock_directories(
    transaction: &mut Transaction,
    node: &str,
) -> Result<(), Error> {
    sqlx::query!(
        "SELECT pg_advisory_xact_lock(hashtextextended('holdfast directory ' || $1, 0))",
        node
    )
    .execute(transaction.connection())
    .await?;
    Ok(())
}

/// Checks that the directory of a server does not overlap with that of another server. Other checks
/// on the same node wait until the transaction ends.
pub(super) async fn check_directory(
    transaction: &mut Transaction,
    server: &Server,
) -> Result<(), Error> {
    let node = server.node.as_str();
    let directory = server.directory.to_string_lossy();
    // An unchanged directory is not checked: it was checked when it was set.
    let is_unchanged = sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT 1 FROM servers WHERE id = $1 AND node = $2 AND directory = $3
           ) AS "is_unchanged!""#,
        server.id.0,
        node,
        directory.as_ref(),
    )
    .fetch_one(transaction.connection())
    .await?;
    if is_unchanged {
        return Ok(());
    }
    lock_directories(transaction, node).await?;
    let ancestors: Vec<String> = server
        .directory
        .ancestors()
        .map(|folder| folder.to_string_lossy().into_owned())
        .collect();
    // Directories inside it begin with it and a slash. The character after the slash is `0`.
    let (from, to) = (format!("{directory}/"), format!("{directory}0"));
    let is_taken = sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT 1 FROM servers
               WHERE node = $1 AND id <> $2 AND directory COLLATE "C" = ANY ($3::text[])
           ) OR EXISTS (
               SELECT 1 FROM servers
               WHERE node = $1 AND id <> $2
                   AND directory COLLATE "C" >= $4 AND directory COLLATE "C" < $5
           ) AS "is_taken!""#,
        node,
        server.id.0,
        &ancestors,
        from,
        to,
    )
    .fetch_one(transaction.connection())
    .await?;
    if is_taken {
        return Err(Error::Conflict {
            constraint: DIRECTORY_TAKEN.to_owned(),
        });
    }
    Ok(())
}
