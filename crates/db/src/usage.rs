//! Number and size of stored backups. Triggers keep the totals in the table `stored_totals`.

use holdfast_domain::ServerId;

use crate::error::Error;
use crate::pool::{Database, clamp_offset};

/// Number and size of stored backups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoredTotals {
    /// The number of completed backups.
    pub backups: u64,
    /// The total size of their archives, in bytes.
    pub bytes: u64,
}

/// Returns the totals of each disk that stores backups. The cost grows with the number of servers,
/// not with the number of backups.
///
/// # Errors
/// If the database can't be read.
pub async fn by_disk(database: &Database) -> Result<Vec<(String, StoredTotals)>, Error> {
    let rows = sqlx::query!(
        r#"SELECT disk, sum(backups)::bigint AS "count!", sum(bytes)::bigint AS "bytes!"
           FROM stored_totals GROUP BY disk ORDER BY disk"#
    )
    .fetch_all(database.pool())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let stored = StoredTotals {
                backups: row.count.unsigned_abs(),
                bytes: row.bytes.unsigned_abs(),
            };
            (row.disk, stored)
        })
        .collect())
}

/// The totals of a server on each disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUsage {
    /// The server.
    pub server: ServerId,
    /// The name of the server.
    pub name: String,
    /// Disks and totals. Empty if the server has no completed backup.
    pub disks: Vec<(String, StoredTotals)>,
}

/// Returns the totals of a page of servers, oldest first.
///
/// # Errors
/// If the database can't be read.
pub async fn by_server(
    database: &Database,
    limit: u32,
    offset: u64,
) -> Result<Vec<ServerUsage>, Error> {
    let rows = sqlx::query!(
        r#"SELECT s.id, s.name, b.disk AS "disk?", b.backups AS "count?", b.bytes AS "bytes?"
           FROM (
               SELECT id, name, created_at FROM servers WHERE deleting_at IS NULL
               ORDER BY created_at, id LIMIT $1 OFFSET $2
           ) s
           LEFT JOIN stored_totals b ON b.server_id = s.id
           ORDER BY s.created_at, s.id, b.disk"#,
        i64::from(limit),
        clamp_offset(offset),
    )
    .fetch_all(database.pool())
    .await?;
    let mut found: Vec<ServerUsage> = Vec::new();
    for row in rows {
        let server = ServerId(row.id);
        if found.last().is_none_or(|last| last.server != server) {
            found.push(ServerUsage {
                server,
                name: row.name,
                disks: Vec::new(),
            });
        }
        let Some(last) = found.last_mut() else {
            continue;
        };
        if let (Some(disk), Some(count), Some(bytes)) = (row.disk, row.count, row.bytes) {
            let stored = StoredTotals {
                backups: count.unsigned_abs(),
                bytes: bytes.unsigned_abs(),
            };
            last.disks.push((disk, stored));
        }
    }
    Ok(found)
}
