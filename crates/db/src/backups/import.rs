//! Import of backups from the manifests on a disk, for a database that has lost them.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use holdfast_domain::backup::CompletedBackup;
use holdfast_domain::{Backup, BackupId, BackupName, DiskName, NodeName, ServerId};

use super::row::WorkColumns;
use super::{BackupRow, select_backups_of};
use crate::error::Error;
use crate::pool::Database;

/// A completed backup that was found on a disk.
#[derive(Clone, Debug)]
pub struct ImportedBackup<'a> {
    /// The UUID.
    pub id: BackupId,
    /// The server that was backed up.
    pub server: ServerId,
    /// The name.
    pub name: &'a BackupName,
    /// The ignore patterns that were applied.
    pub ignored_files: &'a [String],
    /// The disk that stores it.
    pub disk: &'a DiskName,
    /// A node that can read the disk. For a local disk, the node that it belongs to.
    pub node: &'a NodeName,
    /// Whether it is locked against deletion.
    pub is_locked: bool,
    /// Whether a schedule created it.
    pub is_scheduled: bool,
    /// When it was requested.
    pub created_at: DateTime<Utc>,
    /// The facts about its archive.
    pub completed: &'a CompletedBackup,
}

/// Returns which of these backups the database has.
///
/// # Errors
/// If the database can't be read.
pub async fn find_known(
    database: &Database,
    backups: &[BackupId],
) -> Result<BTreeSet<BackupId>, Error> {
    let backups: Vec<Uuid> = backups.iter().map(|backup| backup.0).collect();
    let found = sqlx::query_scalar!("SELECT id FROM backups WHERE id = ANY ($1)", &backups)
        .fetch_all(database.pool())
        .await?;
    Ok(found.into_iter().map(BackupId).collect())
}

/// Inserts a backup that was found on a disk. Returns `false` if the database already has it.
///
/// # Errors
/// If the database can't be written. [`Error::Missing`] if the server does not exist.
pub async fn import(database: &Database, found: &ImportedBackup<'_>) -> Result<bool, Error> {
    let completed = found.completed;
    let work = WorkColumns::of(completed.work.as_ref());
    let done = sqlx::query!(
        "INSERT INTO backups (id, server_id, name, ignored_files, disk, node, is_locked,
                              is_scheduled, created_at, state, completed_at, sha256, size_bytes,
                              archive_attempt, notes_count, notes, reused_from, reused_bytes,
                              read_bytes, stored_bytes, unread_backups)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'completed', $10, $11, $12, $13, $14, $15,
                 $16, $17, $18, $19, $20)
         ON CONFLICT (id) DO NOTHING",
        found.id.0,
        found.server.0,
        found.name.as_str(),
        found.ignored_files,
        found.disk.as_str(),
        found.node.as_str(),
        found.is_locked,
        found.is_scheduled,
        found.created_at,
        completed.at,
        completed.sha256.as_slice(),
        i64::try_from(completed.size_bytes).unwrap_or(i64::MAX),
        i32::try_from(completed.attempt).unwrap_or(i32::MAX),
        i64::try_from(completed.notes.count).unwrap_or(i64::MAX),
        &completed.notes.first,
        work.reused_from,
        work.reused_bytes,
        work.read_bytes,
        work.stored_bytes,
        work.unread_backups,
    )
    .execute(database.pool())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Lists completed backups of a disk whose UUID is greater than `after`, in the order of the UUIDs.
/// Filters by server if one is given.
///
/// # Errors
/// If the database can't be read.
pub async fn list_completed_on(
    database: &Database,
    disk: &DiskName,
    server: Option<ServerId>,
    after: BackupId,
    limit: u32,
) -> Result<Vec<Backup>, Error> {
    let rows = select_backups_of!(
        database.pool(),
        fetch_all,
        "0::bigint",
        "backups b
         CROSS JOIN (SELECT NULL::text AS state, NULL::jsonb AS progress,
                            NULL::text AS verify_state,
                            NULL::timestamptz AS verify_started_at) u
         CROSS JOIN (SELECT NULL::text AS state, NULL::timestamptz AS started_at,
                            NULL::timestamptz AS finalized_at, NULL::jsonb AS errors,
                            NULL::bigint AS notes_count, NULL::text[] AS notes) r",
        "WHERE b.id > $1 AND b.disk = $2 AND b.state = 'completed'
             AND ($3::uuid IS NULL OR b.server_id = $3)
         ORDER BY b.id LIMIT $4",
        after.0,
        disk.as_str(),
        server.map(|id| id.0),
        i64::from(limit),
    )?;
    rows.into_iter().map(Backup::try_from).collect()
}

/// Counts the completed backups of a disk. Filters by server if one is given.
///
/// # Errors
/// If the database can't be read.
pub async fn count_completed_on(
    database: &Database,
    disk: &DiskName,
    server: Option<ServerId>,
) -> Result<u64, Error> {
    let count = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM backups
           WHERE disk = $1 AND state = 'completed' AND ($2::uuid IS NULL OR server_id = $2)"#,
        disk.as_str(),
        server.map(|id| id.0),
    )
    .fetch_one(database.pool())
    .await?;
    Ok(count.unsigned_abs())
}
