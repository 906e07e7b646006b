//! Deletion of servers. A server is hidden when its deletion is requested, and a job deletes it. If
//! the job fails for good, the server is visible again with what is left of it.

use serde_json::json;

use holdfast_domain::job::DeleteServerArgs;
use holdfast_domain::{BackupId, DiskName, JobId, JobKind, NodeName, Server, ServerId};

use crate::error::Error;
use crate::jobs::{self, Claim, NewJob};
use crate::operator_log::Change;
use crate::pool::{Database, Transaction};

/// How often a deletion is tried before the server becomes visible again.
const MAX_ATTEMPTS: u32 = 3;

/// Hides a server and enqueues its deletion. The caller has locked the server and checked that no
/// job uses its files.
///
/// # Errors
/// [`Error::Conflict`] if the server has an unfinished job nevertheless.
pub async fn begin_deletion(
    change: &mut Change,
    server: &Server,
    args: DeleteServerArgs,
) -> Result<JobId, Error> {
    sqlx::query!(
        "UPDATE servers SET deleting_at = now() WHERE id = $1",
        server.id.0
    )
    .execute(change.connection())
    .await?;
    let job = NewJob {
        kind: JobKind::DeleteServer,
        server: server.id,
        backup: BackupId::NONE,
        node: &server.node,
        args: json!(args),
        max_attempts: MAX_ATTEMPTS,
        run: None,
    };
    jobs::enqueue(change, &job).await
}

/// Lists up to `limit` backups of a server with their disks, for a worker that deletes them all.
///
/// # Errors
/// If the database can't be read.
pub async fn list_some_backups(
    database: &Database,
    server: ServerId,
    limit: u32,
) -> Result<Vec<(BackupId, DiskName, Option<NodeName>)>, Error> {
    let rows = sqlx::query!(
        "SELECT id, disk, node FROM backups
         WHERE server_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2",
        server.0,
        i64::from(limit),
    )
    .fetch_all(database.pool())
    .await?;
    rows.into_iter()
        .map(|row| {
            let disk = DiskName::parse(&row.disk)
                .map_err(|_| Error::unreadable("disk name", &row.disk))?;
            let node = row.node.map(|node| {
                NodeName::parse(&node).map_err(|_| Error::unreadable("node name", &node))
            });
            Ok((BackupId(row.id), disk, node.transpose()?))
        })
        .collect()
}

/// Deletes the row of a backup under a claim. Returns whether the claim still held.
///
/// # Errors
/// If the database can't be written.
pub async fn delete_backup(
    transaction: &mut Transaction,
    claim: &Claim,
    backup: BackupId,
) -> Result<bool, Error> {
    let held = sqlx::query!(
        "SELECT id FROM jobs
         WHERE id = $1 AND state = 'running' AND claimed_by = $2 AND attempt = $3
         FOR NO KEY UPDATE",
        claim.id.0,
        claim.worker,
        i32::try_from(claim.attempt).unwrap_or(i32::MAX),
    )
    .fetch_optional(transaction.connection())
    .await?;
    if held.is_none() {
        return Ok(false);
    }
    sqlx::query!(
        "DELETE FROM backups WHERE id = $1 AND server_id = $2",
        backup.0,
        claim.server.0
    )
    .execute(transaction.connection())
    .await?;
    Ok(true)
}

/// Deletes the rows of a server, its subusers and its backups.
///
/// # Errors
/// If the database can't be written.
pub async fn end_deletion(transaction: &mut Transaction, server: ServerId) -> Result<(), Error> {
    sqlx::query!("DELETE FROM backups WHERE server_id = $1", server.0)
        .execute(transaction.connection())
        .await?;
    sqlx::query!("DELETE FROM servers WHERE id = $1", server.0)
        .execute(transaction.connection())
        .await?;
    Ok(())
}

/// Makes a server visible again whose deletion has failed.
///
/// # Errors
/// If the database can't be written.
pub async fn undo_deletion(transaction: &mut Transaction, server: ServerId) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE servers SET deleting_at = NULL WHERE id = $1",
        server.0
    )
    .execute(transaction.connection())
    .await?;
    Ok(())
}
