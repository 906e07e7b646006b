//! Whether a disk has room for another backup.

use holdfast_domain::{DiskName, NodeName, ServerId};

use crate::error::Error;
use crate::pool::{Database, Transaction};

/// Returns the size of the latest archive of a server, in bytes: the expected size of the next one.
///
/// # Errors
/// If the database can't be read.
pub async fn expected_bytes(database: &Database, server: ServerId) -> Result<Option<u64>, Error> {
    latest_bytes(database.pool(), server).await
}

/// Returns the expected size like [`expected_bytes`], in a transaction.
///
/// # Errors
/// If the database can't be read.
pub async fn expected_bytes_in(
    transaction: &mut Transaction,
    server: ServerId,
) -> Result<Option<u64>, Error> {
    latest_bytes(transaction.connection(), server).await
}

async fn latest_bytes<'a>(
    executor: impl sqlx::PgExecutor<'a>,
    server: ServerId,
) -> Result<Option<u64>, Error> {
    let size = sqlx::query_scalar!(
        "SELECT size_bytes FROM backups WHERE server_id = $1 AND state = 'completed'
         ORDER BY created_at DESC, id DESC LIMIT 1",
        server.0,
    )
    .fetch_optional(executor)
    .await?;
    Ok(size.map(i64::unsigned_abs))
}

/// Returns the free bytes of a disk on a node, and how many of them are reserved by backups that
/// are being created. The free bytes are the value that a worker on the node reported within the
/// last minute, or `None`.
///
/// Until the transaction ends, other transactions that call this for the same disk wait. So the
/// second of two requests for the last free space sees the reservation of the first.
///
/// # Errors
/// If the database can't be read.
pub async fn free_and_reserved_bytes(
    transaction: &mut Transaction,
    node: &NodeName,
    disk: &DiskName,
) -> Result<(Option<u64>, u64), Error> {
    let free = sqlx::query_scalar!(
        r#"SELECT (disk_free_bytes ->> $2)::bigint AS "free!" FROM workers
           WHERE node = $1 AND last_heartbeat_at > now() - interval '1 minute'
               AND disk_free_bytes ? $2
           ORDER BY last_heartbeat_at DESC LIMIT 1"#,
        node.as_str(),
        disk.as_str(),
    )
    .fetch_optional(transaction.connection())
    .await?;
    let Some(free) = free else {
        return Ok((None, 0));
    };
    // A statement that had waited for the lock would still see the sum from before the wait. So the
    // lock has a statement of its own.
    sqlx::query!(
        "SELECT pg_advisory_xact_lock(hashtextextended($1 || '/' || $2, 0))",
        node.as_str(),
        disk.as_str(),
    )
    .execute(transaction.connection())
    .await?;
    let reserved = sqlx::query_scalar!(
        r#"SELECT coalesce(sum(reserved_bytes), 0)::bigint AS "sum!" FROM backups
           WHERE node = $1 AND disk = $2 AND state = 'creating'"#,
        node.as_str(),
        disk.as_str(),
    )
    .fetch_one(transaction.connection())
    .await?;
    Ok((Some(free.unsigned_abs()), reserved.unsigned_abs()))
}
