//! Stores servers, and keeps each one's directory its own.

use holdfast_domain::{DiskName, Server};

use crate::error::Error;
use crate::operator_log::Change;
use crate::pool::Transaction;

/// The constraint of a directory that another server has, lies in, or has in it.
pub const DIRECTORY_TAKEN: &str = "servers_directory";

/// Stores a new server, or the changed settings of one that is there.
///
/// Two servers never share a directory of a node, nor does one lie in the other: a restore puts a
/// whole directory in place of another, and would take the second server with it.
///
/// # Errors
/// [`Error::Conflict`] when another server begins with the same eight digits, or, as
/// [`DIRECTORY_TAKEN`], when its place is another one's; [`Error::Missing`] when its owner is not there.
pub async fn save(change: &mut Change, server: &Server) -> Result<(), Error> {
    place(change, server).await?;
    let limits = &server.limits;
    let directory = server.directory.to_string_lossy();
    sqlx::query!(
        "INSERT INTO servers (id, owner_id, name, directory, node, disk, state, backup_limit, max_backup_bytes,
                              quota_bytes, retention_days, created_at, directory_set_by, rotate, keep)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
         ON CONFLICT (id) DO UPDATE SET
             owner_id = EXCLUDED.owner_id, created_at = EXCLUDED.created_at, name = EXCLUDED.name,
             directory = EXCLUDED.directory,
             node = EXCLUDED.node, disk = EXCLUDED.disk, state = EXCLUDED.state,
             backup_limit = EXCLUDED.backup_limit, max_backup_bytes = EXCLUDED.max_backup_bytes,
             quota_bytes = EXCLUDED.quota_bytes, retention_days = EXCLUDED.retention_days,
             directory_set_by = EXCLUDED.directory_set_by, rotate = EXCLUDED.rotate, keep = EXCLUDED.keep",
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
        server.directory_set_by.as_str(),
        limits.rotate,
        limits.keep.map(|rules| rules.to_string()),
    )
    .execute(change.connection())
    .await?;
    Ok(())
}

/// Stores a new server.
///
/// # Errors
/// As [`save`]; [`Error::Conflict`] also when a server of that UUID is there, or is being deleted.
pub async fn insert(change: &mut Change, server: &Server) -> Result<(), Error> {
    place(change, server).await?;
    // Plain, so that a UUID that is taken is refused; the rest is written as any change is.
    let directory = server.directory.to_string_lossy();
    sqlx::query!(
        "INSERT INTO servers (id, owner_id, name, directory, node) VALUES ($1, $2, $3, $4, $5)",
        server.id.0,
        server.owner.0,
        server.name,
        directory.as_ref(),
        server.node.as_str(),
    )
    .execute(change.connection())
    .await?;
    save(change, server).await
}

/// Makes sure that a server's place is its own. Whoever else places a server on the node waits.
async fn place(transaction: &mut Transaction, server: &Server) -> Result<(), Error> {
    let node = server.node.as_str();
    let directory = server.directory.to_string_lossy();
    // A server that stays where it is need not be asked about: it may be older than the rule.
    let stays = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM servers WHERE id = $1 AND node = $2 AND directory = $3) AS "stays!""#,
        server.id.0,
        node,
        directory.as_ref(),
    )
    .fetch_one(transaction.connection())
    .await?;
    if stays {
        return Ok(());
    }
    sqlx::query!(
        "SELECT pg_advisory_xact_lock(hashtextextended('holdfast place ' || $1, 0))",
        node
    )
    .execute(transaction.connection())
    .await?;
    let at_and_around: Vec<String> = server
        .directory
        .ancestors()
        .map(|folder| folder.to_string_lossy().into_owned())
        .collect();
    // What lies in it begins with it and a slash; the byte after the slash is a zero.
    let (from, to) = (format!("{directory}/"), format!("{directory}0"));
    let taken = sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT 1 FROM servers
               WHERE node = $1 AND id <> $2 AND directory COLLATE "C" = ANY ($3::text[])
           ) OR EXISTS (
               SELECT 1 FROM servers
               WHERE node = $1 AND id <> $2 AND directory COLLATE "C" >= $4 AND directory COLLATE "C" < $5
           ) AS "taken!""#,
        node,
        server.id.0,
        &at_and_around,
        from,
        to,
    )
    .fetch_one(transaction.connection())
    .await?;
    if taken {
        return Err(Error::Conflict {
            constraint: DIRECTORY_TAKEN.to_owned(),
        });
    }
    Ok(())
}
