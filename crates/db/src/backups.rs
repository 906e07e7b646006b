//! Backups, with the state of their jobs.

mod deletion;
mod import;
mod pages;
mod previous;
mod row;
mod space;
mod verification;

use serde_json::json;

use holdfast_domain::backup::CompletedBackup;
use holdfast_domain::schedule::ScheduleId;
use holdfast_domain::server::ServerManager;
use holdfast_domain::{Backup, BackupId, BackupName, DiskName, NodeName, ServerId, UserId};

pub use self::deletion::{
    PanelBackup, begin_deletions, enqueue_deletions, find_for_panel, is_deleting,
};
pub use self::import::{ImportedBackup, count_completed_on, find_known, import, list_completed_on};
pub use self::pages::{BackupPage, BackupPages, PageRequest};
pub use self::previous::{PreviousBackup, find_previous};
pub(crate) use self::row::BackupRow;
use self::row::WorkColumns;
pub(crate) use self::space::LatestRow;
pub use self::space::{free_and_reserved_bytes, latest_archive, latest_archive_in};
pub use self::verification::{
    ArchiveLocation, VERIFY_ATTEMPTS, VerificationOutcome, prioritize_verification,
    record_verification, schedule_verifications,
};
use crate::error::Error;
use crate::pool::{Database, Transaction};

/// Selects backups `b` of `$from`, each with its unfinished jobs `u` and its latest restore `r`.
/// `$position` numbers the request that a row answers, if there are several. A queued verification
/// is not shown as progress.
macro_rules! select_backups_of {
    ($executor:expr, $fetch:ident, $position:tt, $from:tt, $tail:tt $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            BackupRow,
            "SELECT " + $position + " AS \"position!\", b.id, b.server_id, b.name,
                    b.ignored_files, b.disk, b.node, b.state, b.is_locked, b.is_scheduled,
                    b.is_full, b.schedule_id,
                    (SELECT name FROM schedules WHERE id = b.schedule_id) AS \"schedule_name?\",
                    b.size_bytes, b.sha256, b.archive_attempt, b.notes_count, b.notes, b.error,
                    b.reused_from, b.reused_bytes, b.read_bytes, b.stored_bytes, b.unread_backups,
                    b.created_at, b.completed_at, b.failed_at,
                    b.verification, b.verification_started_at, b.verification_finished_at,
                    b.verification_sentence, b.damaged_at,
                    u.state AS \"unfinished_state?\", u.progress AS \"unfinished_progress?\",
                    u.verify_state AS \"verify_state?\",
                    u.verify_started_at AS \"verify_started_at?\",
                    r.state AS \"restore_state?\", r.started_at AS \"restore_started_at?\",
                    r.finalized_at AS \"restore_finalized_at?\",
                    r.errors -> -1 ->> 'sentence' AS \"restore_error?\",
                    r.notes_count AS \"restore_notes_count?\", r.notes AS \"restore_notes?\"
             FROM " + $from + " " + $tail,
            $($argument),*
        )
        .$fetch($executor)
        .await
    };
}
pub(crate) use select_backups_of;

/// Selects single backups. Their jobs are looked up for each backup.
macro_rules! select_backups {
    ($executor:expr, $fetch:ident, $tail:tt $(, $argument:expr)* $(,)?) => {
        select_backups_of!(
            $executor,
            $fetch,
            "0::bigint",
            "backups b
             LEFT JOIN LATERAL (
                 SELECT (array_agg(j.state ORDER BY j.priority, j.id DESC)
                             FILTER (WHERE j.kind <> 'verify_backup' OR j.state = 'running'))[1]
                            AS state,
                        (array_agg(j.progress ORDER BY j.priority, j.id DESC)
                             FILTER (WHERE j.kind <> 'verify_backup' OR j.state = 'running'))[1]
                            AS progress,
                        max(j.state) FILTER (WHERE j.kind = 'verify_backup') AS verify_state,
                        max(j.started_at) FILTER (WHERE j.kind = 'verify_backup')
                            AS verify_started_at
                 FROM jobs j
                 WHERE j.server_id = b.server_id AND j.backup_id = b.id
                     AND j.state IN ('available', 'scheduled', 'running')
             ) u ON true
             LEFT JOIN LATERAL (
                 SELECT j.state, j.started_at, j.finalized_at, j.errors, j.notes_count, j.notes
                 FROM jobs j
                 WHERE j.server_id = b.server_id AND j.backup_id = b.id
                     AND (j.kind = 'restore_backup') IS TRUE
                 ORDER BY j.id DESC LIMIT 1
             ) r ON true",
            $tail
            $(, $argument)*
        )
    };
}

/// A backup to be created.
#[derive(Clone, Debug)]
pub struct NewBackup<'a> {
    /// The UUID.
    pub id: BackupId,
    /// The server to back up.
    pub server: ServerId,
    /// The name.
    pub name: &'a BackupName,
    /// The ignore patterns of the request.
    pub ignored_files: &'a [String],
    /// The disk to store it on.
    pub disk: &'a DiskName,
    /// The node that creates it.
    pub node: &'a NodeName,
    /// By how many bytes the disk is expected to grow.
    pub reserved_bytes: u64,
    /// Whether it is locked from the start.
    pub is_locked: bool,
    /// Whether every file must be read and packed.
    pub is_full: bool,
    /// The user who creates it, if a user of this service does.
    pub created_by: Option<UserId>,
    /// The schedule that creates it.
    pub schedule: Option<ScheduleId>,
    /// Who has requested it under this ID, and is told of its end.
    pub managed_by: Option<ServerManager>,
}

/// Inserts a backup in the state `creating`.
///
/// # Errors
/// If the database can't be written.
pub async fn insert(transaction: &mut Transaction, backup: &NewBackup<'_>) -> Result<(), Error> {
    insert_all(transaction, std::slice::from_ref(backup)).await
}

/// Inserts backups in the state `creating`.
///
/// # Errors
/// If the database can't be written.
pub async fn insert_all(
    transaction: &mut Transaction,
    backups: &[NewBackup<'_>],
) -> Result<(), Error> {
    let rows: Vec<serde_json::Value> = backups
        .iter()
        .map(|backup| {
            json!({
                "id": backup.id,
                "server_id": backup.server,
                "name": backup.name.as_str(),
                "ignored_files": backup.ignored_files,
                "disk": backup.disk.as_str(),
                "is_locked": backup.is_locked,
                "is_full": backup.is_full,
                "created_by": backup.created_by,
                "node": backup.node.as_str(),
                "reserved_bytes": i64::try_from(backup.reserved_bytes).unwrap_or(i64::MAX),
                "schedule_id": backup.schedule,
                "managed_by": backup.managed_by.map(ServerManager::as_str),
            })
        })
        .collect();
    sqlx::query!(
        "INSERT INTO backups (id, server_id, name, ignored_files, disk, is_locked, is_full,
                              created_by, node, reserved_bytes, schedule_id, is_scheduled,
                              managed_by)
         SELECT id, server_id, name, ignored_files, disk, is_locked, is_full, created_by, node,
                reserved_bytes, schedule_id, schedule_id IS NOT NULL, managed_by
         FROM jsonb_to_recordset($1) AS b (
             id uuid, server_id uuid, name text, ignored_files text[], disk text,
             is_locked boolean, is_full boolean, created_by uuid, node text,
             reserved_bytes bigint, schedule_id bigint, managed_by text
         )",
        serde_json::Value::Array(rows),
    )
    .execute(transaction.connection())
    .await?;
    Ok(())
}

/// Lists the newest backups. Filters by server and state if they are given.
///
/// # Errors
/// If the database can't be read.
pub async fn list_all(
    database: &Database,
    server: Option<ServerId>,
    state: Option<&str>,
    limit: u32,
) -> Result<Vec<Backup>, Error> {
    let rows = select_backups!(
        database.pool(),
        fetch_all,
        "WHERE ($1::uuid IS NULL OR b.server_id = $1) AND ($2::text IS NULL OR b.state = $2)
         ORDER BY b.created_at DESC, b.id DESC LIMIT $3",
        server.map(|id| id.0),
        state,
        i64::from(limit),
    )?;
    rows.into_iter().map(Backup::try_from).collect()
}

/// Finds a backup of a server. A backup of another server is not found.
///
/// # Errors
/// If the database can't be read.
pub async fn find(
    database: &Database,
    server: ServerId,
    backup: BackupId,
) -> Result<Option<Backup>, Error> {
    select_backups!(
        database.pool(),
        fetch_optional,
        "WHERE b.id = $1 AND b.server_id = $2",
        backup.0,
        server.0
    )?
    .map(Backup::try_from)
    .transpose()
}

/// Finds a backup of a server and locks its row until the transaction ends. This lock is not the
/// one against deletion, which [`set_locked`] sets.
///
/// # Errors
/// If the database can't be read.
pub async fn find_for_update(
    transaction: &mut Transaction,
    server: ServerId,
    backup: BackupId,
) -> Result<Option<Backup>, Error> {
    // Two statements: a single one would show the jobs as they were before it waited for the lock.
    sqlx::query!(
        "SELECT id FROM backups WHERE id = $1 AND server_id = $2 FOR NO KEY UPDATE",
        backup.0,
        server.0
    )
    .fetch_optional(transaction.connection())
    .await?;
    select_backups!(
        transaction.connection(),
        fetch_optional,
        "WHERE b.id = $1 AND b.server_id = $2",
        backup.0,
        server.0
    )?
    .map(Backup::try_from)
    .transpose()
}

/// Locks or unlocks a backup against deletion.
///
/// # Errors
/// If the database can't be written.
pub async fn set_locked(
    transaction: &mut Transaction,
    backup: BackupId,
    is_locked: bool,
) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE backups SET is_locked = $2 WHERE id = $1",
        backup.0,
        is_locked
    )
    .execute(transaction.connection())
    .await?;
    Ok(())
}

/// Renames a backup.
///
/// # Errors
/// If the database can't be written.
pub async fn rename(
    transaction: &mut Transaction,
    backup: BackupId,
    name: &BackupName,
) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE backups SET name = $2 WHERE id = $1",
        backup.0,
        name.as_str()
    )
    .execute(transaction.connection())
    .await?;
    Ok(())
}

/// Sets the ignore patterns that a running backup applies, including those of the server's own
/// file.
///
/// # Errors
/// If the database can't be written.
pub async fn set_ignored_files(
    database: &Database,
    backup: BackupId,
    lines: &[String],
) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE backups SET ignored_files = $2 WHERE id = $1 AND state = 'creating'",
        backup.0,
        lines
    )
    .execute(database.pool())
    .await?;
    Ok(())
}

/// Changes a backup from `creating` to `completed`. Returns whether it was `creating`.
///
/// # Errors
/// If the database can't be written.
pub async fn complete(
    transaction: &mut Transaction,
    backup: BackupId,
    completed: &CompletedBackup,
) -> Result<bool, Error> {
    let work = WorkColumns::of(completed.work.as_ref());
    let done = sqlx::query!(
        "UPDATE backups SET state = 'completed', completed_at = $2, sha256 = $3, size_bytes = $4,
                archive_attempt = $5, notes_count = $6, notes = $7, reused_from = $8,
                reused_bytes = $9, read_bytes = $10, stored_bytes = $11, unread_backups = $12
         WHERE id = $1 AND state = 'creating'",
        backup.0,
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
    .execute(transaction.connection())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Changes a backup from `creating` to `failed` and unlocks it, because it has no archive to
/// protect.
///
/// # Errors
/// If the database can't be written.
pub async fn fail(
    transaction: &mut Transaction,
    backup: BackupId,
    error: &str,
) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE backups SET state = 'failed', failed_at = now(), error = $2, is_locked = false
         WHERE id = $1 AND state = 'creating'",
        backup.0,
        error,
    )
    .execute(transaction.connection())
    .await?;
    Ok(())
}

/// Deletes the row of a backup whose archive has been deleted.
///
/// # Errors
/// If the database can't be written.
pub async fn delete(transaction: &mut Transaction, backup: BackupId) -> Result<(), Error> {
    sqlx::query!("DELETE FROM backups WHERE id = $1", backup.0)
        .execute(transaction.connection())
        .await?;
    Ok(())
}
