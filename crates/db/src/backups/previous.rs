//! The earlier backup whose archive a new one can reuse.

use holdfast_domain::{Backup, BackupId, NodeName};

use crate::error::Error;
use crate::pool::Database;

/// How many of a server's newest archives are looked at. A server whose newest archives are all on
/// other disks or nodes gets a full backup.
const CANDIDATES_MAX: i64 = 100;

/// The earlier backup whose archive a new one can reuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviousBackup {
    /// Its ID.
    pub id: BackupId,
    /// The attempt that wrote its archive; part of its storage key.
    pub attempt: u32,
    /// The size of its archive, in bytes.
    pub size_bytes: u64,
    /// SHA-256 of its archive.
    pub sha256: [u8; 32],
    /// How many backups in a row, with this one, took files over without reading them. `None` for
    /// a backup of an earlier version.
    pub unread_backups: Option<u32>,
    /// Whether its archive is damaged or missing, or another archive of the server was found
    /// damaged after it was requested: it may contain the same bytes.
    pub is_suspect: bool,
    /// Whether a restore of the server began after it was requested.
    pub is_before_restore: bool,
}

/// Finds the newest completed backup of the same server on the same disk. With `disk_node`, which
/// is the node of a local disk, only archives of this node count.
///
/// # Errors
/// If the database can't be read.
pub async fn find_previous(
    database: &Database,
    backup: &Backup,
    disk_node: Option<&NodeName>,
) -> Result<Option<PreviousBackup>, Error> {
    let row = sqlx::query!(
        r#"SELECT b.id, b.archive_attempt AS "attempt!", b.size_bytes,
                  b.sha256 AS "sha256!", b.unread_backups,
                  b.damaged_at IS NOT NULL OR b.missing_since IS NOT NULL
                      OR coalesce(r.damage_found_at >= b.created_at, false) AS "is_suspect!",
                  coalesce(r.restored_at >= b.created_at, false) AS "is_before_restore!"
           FROM (
               SELECT * FROM backups WHERE server_id = $1 AND state = 'completed'
               ORDER BY completed_at DESC LIMIT $4
           ) b
           LEFT JOIN reuse_barriers r ON r.server_id = $1
           WHERE b.disk = $2 AND b.id <> $5 AND ($3::text IS NULL OR coalesce(b.node, $3) = $3)
           ORDER BY b.completed_at DESC LIMIT 1"#,
        backup.server.0,
        backup.disk.as_str(),
        disk_node.map(NodeName::as_str),
        CANDIDATES_MAX,
        backup.id.0,
    )
    .fetch_optional(database.pool())
    .await?;
    let Some(row) = row else { return Ok(None) };
    let sha256 = row.sha256.as_slice().try_into();
    Ok(Some(PreviousBackup {
        id: BackupId(row.id),
        attempt: row.attempt.unsigned_abs(),
        size_bytes: row.size_bytes.unsigned_abs(),
        sha256: sha256.map_err(|_| Error::unreadable("hash", format!("{:02x?}", row.sha256)))?,
        unread_backups: row.unread_backups.map(i32::unsigned_abs),
        is_suspect: row.is_suspect,
        is_before_restore: row.is_before_restore,
    }))
}
