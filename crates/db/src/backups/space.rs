//! Whether a disk has room for another backup.

use holdfast_domain::estimate::LatestArchive;
use holdfast_domain::{DiskName, NodeName, ServerId};

use crate::error::Error;
use crate::pool::{Database, Transaction};

/// The columns of a [`LatestArchive`].
pub(crate) struct LatestRow {
    pub(crate) size_bytes: i64,
    pub(crate) disk: String,
    pub(crate) node: Option<String>,
    pub(crate) stored_bytes: Option<i64>,
    pub(crate) unread_backups: Option<i32>,
    pub(crate) is_doubtful: bool,
}

impl TryFrom<LatestRow> for LatestArchive {
    type Error = Error;

    fn try_from(row: LatestRow) -> Result<Self, Error> {
        let node = row
            .node
            .map(|node| NodeName::parse(&node).map_err(|_| Error::unreadable("node name", &node)));
        Ok(Self {
            size_bytes: row.size_bytes.unsigned_abs(),
            disk: DiskName::parse(&row.disk)
                .map_err(|_| Error::unreadable("disk name", &row.disk))?,
            node: node.transpose()?,
            stored_bytes: row.stored_bytes.map(i64::unsigned_abs),
            unread_backups: row.unread_backups.map(i32::unsigned_abs),
            is_doubtful: row.is_doubtful,
        })
    }
}

/// Returns the latest archive of a server.
///
/// # Errors
/// If the database can't be read.
pub async fn latest_archive(
    database: &Database,
    server: ServerId,
) -> Result<Option<LatestArchive>, Error> {
    latest(database.pool(), server).await
}

/// Returns the latest archive like [`latest_archive`], in a transaction.
///
/// # Errors
/// If the database can't be read.
pub async fn latest_archive_in(
    transaction: &mut Transaction,
    server: ServerId,
) -> Result<Option<LatestArchive>, Error> {
    latest(transaction.connection(), server).await
}

async fn latest<'a>(
    executor: impl sqlx::PgExecutor<'a>,
    server: ServerId,
) -> Result<Option<LatestArchive>, Error> {
    sqlx::query_as!(
        LatestRow,
        r#"SELECT b.size_bytes, b.disk, b.node, b.stored_bytes, b.unread_backups,
                  b.damaged_at IS NOT NULL OR b.missing_since IS NOT NULL
                      OR coalesce(greatest(r.restored_at, r.damage_found_at) >= b.created_at, false)
                      AS "is_doubtful!"
           FROM backups b LEFT JOIN reuse_barriers r ON r.server_id = b.server_id
           WHERE b.server_id = $1 AND b.state = 'completed'
           ORDER BY b.created_at DESC, b.id DESC LIMIT 1"#,
        server.0,
    )
    .fetch_optional(executor)
    .await?
    .map(LatestArchive::try_from)
    .transpose()
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
