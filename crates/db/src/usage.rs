//! What is stored: completed backups, counted and added up, as the table `stored_totals` has it at any time.

use holdfast_domain::ServerId;

use crate::error::Error;
use crate::pool::{Database, skip};

/// How much something holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoredTotals {
    /// How many completed backups.
    pub backups: u64,
    /// Their archives together, in bytes.
    pub bytes: u64,
}

/// Adds up every disk that holds something: a row for each server with backups on it, however many those are.
///
/// # Errors
/// When the database can't be read.
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

/// What one server holds on one disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUsage {
    /// The server.
    pub server: ServerId,
    /// What people call it.
    pub name: String,
    /// By disk; none when it has no completed backup.
    pub disks: Vec<(String, StoredTotals)>,
}

/// Adds up a page of servers, oldest first.
///
/// # Errors
/// When the database can't be read.
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
        skip(offset),
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
