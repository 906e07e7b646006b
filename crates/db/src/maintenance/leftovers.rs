//! What the database knows about the objects on a disk, and which archives the disk should hold.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use holdfast_domain::orphan::{BackupRecord, RecordState};
use holdfast_domain::{BackupId, DiskName, NodeName, ServerId};

use crate::error::Error;
use crate::pool::Database;

/// A backup that has objects on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BackupOnDisk {
    /// The server that was backed up.
    pub server: ServerId,
    /// The backup.
    pub backup: BackupId,
}

/// What the database knows about a backup that has objects on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SweepRecord {
    /// The facts that decide about its objects.
    pub record: BackupRecord,
    /// The latest attempt that has certainly ended, or 0.
    pub ended_attempt: u32,
}

/// Returns what the database knows about each of these backups, in the same order. `node` is the
/// node of a local disk.
///
/// # Errors
/// If the database can't be read.
pub async fn find_records(
    database: &Database,
    disk: &DiskName,
    node: Option<&NodeName>,
    backups: &[BackupOnDisk],
) -> Result<Vec<SweepRecord>, Error> {
    let servers: Vec<Uuid> = backups.iter().map(|found| found.server.0).collect();
    let backups: Vec<Uuid> = backups.iter().map(|found| found.backup.0).collect();
    let rows = sqlx::query!(
        r#"SELECT s.id IS NOT NULL AS "is_server_known!", b.state AS "state?",
                  b.archive_attempt AS "archive_attempt?",
                  (b.disk = $3 AND ($4::text IS NULL OR coalesce(b.node, $4) = $4)) AS "is_here?",
                  coalesce(j.is_in_use, false) AS "is_in_use!",
                  coalesce(j.ended_attempt, 0) AS "ended_attempt!",
                  (b.id IS NULL AND (coalesce(j.was_deleted, false) OR EXISTS (
                      SELECT 1 FROM activity a
                      WHERE a.server_id = q.server AND a.backup_id = q.backup
                          AND a.event = 'server:backup.delete'
                  ))) AS "was_deleted!"
           FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS q (server, backup, position)
           LEFT JOIN LATERAL (SELECT id FROM servers WHERE id = q.server LIMIT 1) s ON true
           LEFT JOIN LATERAL (
               SELECT id, state, archive_attempt, disk, node FROM backups
               WHERE id = q.backup AND server_id = q.server LIMIT 1
           ) b ON true
           LEFT JOIN LATERAL (
               SELECT bool_or(state IN ('available', 'scheduled', 'running')) AS is_in_use,
                      bool_or(kind = 'delete_backup' AND state = 'completed') AS was_deleted,
                      -- An attempt that was released starts again with the same number.
                      max(CASE WHEN kind <> 'create_backup' THEN 0
                               WHEN finalized_at IS NOT NULL THEN attempt
                               ELSE attempt - 1 END) AS ended_attempt
               FROM jobs WHERE server_id = q.server AND backup_id = q.backup
           ) j ON true
           ORDER BY q.position"#,
        &servers,
        &backups,
        disk.as_str(),
        node.map(NodeName::as_str),
    )
    .fetch_all(database.pool())
    .await?;
    rows.into_iter()
        .map(|row| {
            let known = match (row.state.as_deref(), row.is_here) {
                (None, _) => RecordState::None,
                (Some("creating"), _) => RecordState::Creating,
                (Some("failed"), _) => RecordState::Failed,
                (Some("completed"), Some(true)) => RecordState::Completed {
                    attempt: row.archive_attempt.unwrap_or_default().unsigned_abs(),
                },
                (Some("completed"), _) => RecordState::OnOtherDisk,
                (Some(other), _) => return Err(Error::unreadable("backup state", other)),
            };
            Ok(SweepRecord {
                record: BackupRecord {
                    is_server_known: row.is_server_known,
                    row: known,
                    is_in_use: row.is_in_use,
                    was_deleted: row.was_deleted,
                },
                ended_attempt: u32::try_from(row.ended_attempt).unwrap_or_default(),
            })
        })
        .collect()
}

/// An archive that a disk should hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredArchive {
    /// The backup.
    pub of: BackupOnDisk,
    /// The attempt that wrote it.
    pub attempt: u32,
    /// Whether it is marked as missing.
    pub is_missing: bool,
}

/// Lists up to 1,000 archives that a disk should hold, in the order in which disks list their
/// objects: those after `after`, up to and including `up_to`. Leaves out backups that were
/// completed at or after `before` and those that are being deleted.
///
/// # Errors
/// If the database can't be read.
pub async fn list_archives(
    database: &Database,
    disk: &DiskName,
    node: Option<&NodeName>,
    after: Option<BackupOnDisk>,
    up_to: Option<BackupOnDisk>,
    before: DateTime<Utc>,
) -> Result<Vec<StoredArchive>, Error> {
    let after = after.unwrap_or(BackupOnDisk {
        server: ServerId(Uuid::nil()),
        backup: BackupId(Uuid::nil()),
    });
    let up_to = up_to.unwrap_or(BackupOnDisk {
        server: ServerId(Uuid::max()),
        backup: BackupId(Uuid::max()),
    });
    let rows = sqlx::query!(
        r#"SELECT b.server_id, b.id, b.archive_attempt AS "attempt!",
                  b.missing_since IS NOT NULL AS "is_missing!"
           FROM backups b
           WHERE b.disk = $1 AND b.state = 'completed'
               AND ($2::text IS NULL OR coalesce(b.node, $2) = $2)
               AND (b.server_id, b.id) > ($3, $4) AND (b.server_id, b.id) <= ($5, $6)
               AND b.completed_at < $7
               AND NOT EXISTS (
                   SELECT 1 FROM jobs j
                   WHERE j.server_id = b.server_id AND j.backup_id = b.id
                       AND j.kind = 'delete_backup'
                       AND j.state IN ('available', 'scheduled', 'running'))
           ORDER BY b.server_id, b.id LIMIT 1000"#,
        disk.as_str(),
        node.map(NodeName::as_str),
        after.server.0,
        after.backup.0,
        up_to.server.0,
        up_to.backup.0,
        before,
    )
    .fetch_all(database.pool())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| StoredArchive {
            of: BackupOnDisk {
                server: ServerId(row.server_id),
                backup: BackupId(row.id),
            },
            attempt: row.attempt.unsigned_abs(),
            is_missing: row.is_missing,
        })
        .collect())
}

/// Marks completed backups whose archives are missing.
///
/// # Errors
/// If the database can't be written.
pub async fn mark_missing(database: &Database, backups: &[BackupId]) -> Result<(), Error> {
    let backups: Vec<Uuid> = backups.iter().map(|backup| backup.0).collect();
    sqlx::query!(
        "UPDATE backups SET missing_since = now()
         WHERE id = ANY ($1) AND state = 'completed' AND missing_since IS NULL",
        &backups,
    )
    .execute(database.pool())
    .await?;
    Ok(())
}

/// Unmarks backups whose archives were found again.
///
/// # Errors
/// If the database can't be written.
pub async fn mark_found(database: &Database, backups: &[BackupId]) -> Result<(), Error> {
    let backups: Vec<Uuid> = backups.iter().map(|backup| backup.0).collect();
    sqlx::query!(
        "UPDATE backups SET missing_since = NULL WHERE id = ANY ($1) AND missing_since IS NOT NULL",
        &backups,
    )
    .execute(database.pool())
    .await?;
    Ok(())
}
