//! How a server goes: from the moment it is asked for nobody finds it, a job does the rest, and a
//! job that fails for good gives back what is left of it.

use serde_json::json;

use holdfast_domain::job::DeleteServerArgs;
use holdfast_domain::{BackupId, DiskName, JobId, JobKind, NodeName, Server, ServerId};

use crate::error::Error;
use crate::jobs::{self, Claim, NewJob};
use crate::operator_log::Change;
use crate::pool::{Database, Transaction};

/// How often a deletion is tried before the server is given back.
const MAX_ATTEMPTS: u32 = 3;

/// Hides a server from everybody and puts its deletion into the job table. The caller holds the
/// server's row and has checked that nothing touches its files.
///
/// # Errors
/// [`Error::Conflict`] when it has an unfinished job all the same.
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
    };
    jobs::enqueue(change, &job).await
}

/// Lists some backups of a server with the disks they lie on, for a worker that removes them all.
///
/// # Errors
/// When the database can't be read.
pub async fn some_backups(
    database: &Database,
    server: ServerId,
    limit: u32,
) -> Result<Vec<(BackupId, DiskName, Option<NodeName>)>, Error> {
    let rows = sqlx::query!(
        "SELECT id, disk, node FROM backups WHERE server_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2",
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

/// Removes a backup's row in the name of a claim; says whether the claim still held.
///
/// # Errors
/// When the database can't be written.
pub async fn remove_backup(
    transaction: &mut Transaction,
    claim: &Claim,
    backup: BackupId,
) -> Result<bool, Error> {
    let held = sqlx::query!(
        "SELECT id FROM jobs WHERE id = $1 AND state = 'running' AND claimed_by = $2 AND attempt = $3
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

/// Removes a server's row, and with it its subusers and what is known of its backups.
///
/// # Errors
/// When the database can't be written.
pub async fn end_deletion(transaction: &mut Transaction, server: ServerId) -> Result<(), Error> {
    sqlx::query!("DELETE FROM backups WHERE server_id = $1", server.0)
        .execute(transaction.connection())
        .await?;
    sqlx::query!("DELETE FROM servers WHERE id = $1", server.0)
        .execute(transaction.connection())
        .await?;
    Ok(())
}

/// Gives back a server whose deletion has failed.
///
/// # Errors
/// When the database can't be written.
pub async fn undo_deletion(transaction: &mut Transaction, server: ServerId) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE servers SET deleting_at = NULL WHERE id = $1",
        server.0
    )
    .execute(transaction.connection())
    .await?;
    Ok(())
}
