//! Deletions that a panel has requested. The row says so first; jobs follow until it is done.

use serde_json::json;
use uuid::Uuid;

use holdfast_domain::job::DeleteArgs;
use holdfast_domain::{BackupId, DiskName, JobKind, NodeName, ServerId};

use crate::error::Error;
use crate::jobs::{self, NewJob};
use crate::pool::{Database, Transaction};

/// After how long a deletion whose job has failed gets another job, in seconds.
const REPEAT_SECONDS: f64 = 300.0;
/// How long a deletion waits for a job that uses the backup, in seconds.
const WAIT_SECONDS: f64 = 2.0;

/// What decides how a panel's request about a backup is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PanelBackup {
    /// The server that was backed up.
    pub server: ServerId,
    /// Whether the panel has requested its deletion.
    pub is_deleting: bool,
}

/// Finds a backup of any server, and locks its row until the transaction ends.
///
/// # Errors
/// If the database can't be read.
pub async fn find_for_panel(
    transaction: &mut Transaction,
    backup: BackupId,
) -> Result<Option<PanelBackup>, Error> {
    let row = sqlx::query!(
        r#"SELECT server_id, deleting_at IS NOT NULL AS "is_deleting!" FROM backups
           WHERE id = $1 FOR NO KEY UPDATE"#,
        backup.0,
    )
    .fetch_optional(transaction.connection())
    .await?;
    Ok(row.map(|row| PanelBackup {
        server: ServerId(row.server_id),
        is_deleting: row.is_deleting,
    }))
}

/// Returns whether a panel has requested the deletion of a backup.
///
/// # Errors
/// If the database can't be read.
pub async fn is_deleting(database: &Database, backup: BackupId) -> Result<bool, Error> {
    let is_deleting = sqlx::query_scalar!(
        r#"SELECT deleting_at IS NOT NULL AS "is_deleting!" FROM backups WHERE id = $1"#,
        backup.0,
    )
    .fetch_optional(database.pool())
    .await?;
    Ok(is_deleting.unwrap_or(false))
}

/// Promises the deletion of a backup of a server, or of all its backups that are not locked.
/// Cancels what creates them. Returns how many deletions are promised. The caller has locked the
/// server.
///
/// # Errors
/// If the database can't be written.
pub async fn begin_deletions(
    transaction: &mut Transaction,
    server: ServerId,
    backup: Option<BackupId>,
    cancelled_by: &str,
) -> Result<u64, Error> {
    let ids: Vec<Uuid> = match backup {
        Some(backup) => {
            sqlx::query_scalar!(
                "UPDATE backups SET deleting_at = now(), deletion_due_at = now()
                 WHERE id = $2 AND server_id = $1 AND NOT is_locked AND deleting_at IS NULL
                 RETURNING id",
                server.0,
                backup.0,
            )
            .fetch_all(transaction.connection())
            .await?
        }
        None => {
            sqlx::query_scalar!(
                "UPDATE backups SET deleting_at = now(), deletion_due_at = now()
                 WHERE server_id = $1 AND NOT is_locked AND deleting_at IS NULL
                 RETURNING id",
                server.0,
            )
            .fetch_all(transaction.connection())
            .await?
        }
    };
    sqlx::query!(
        "DELETE FROM waiting_jobs WHERE kind = 'create_backup' AND backup_id = ANY ($1)",
        &ids,
    )
    .execute(transaction.connection())
    .await?;
    sqlx::query!(
        "UPDATE jobs SET
             cancelled_by = $3,
             state = CASE state WHEN 'running' THEN state ELSE 'cancelled' END,
             finalized_at = CASE state WHEN 'running' THEN NULL ELSE now() END
         WHERE server_id = $1 AND backup_id = ANY ($2) AND kind = 'create_backup'
             AND state IN ('available', 'scheduled', 'running')",
        server.0,
        &ids,
        cancelled_by,
    )
    .execute(transaction.connection())
    .await?;
    sqlx::query!(
        "UPDATE backups b SET state = 'failed', failed_at = now(), error = $3, is_locked = false
         WHERE b.id = ANY ($2) AND b.state = 'creating' AND NOT EXISTS (
             SELECT 1 FROM jobs j
             WHERE j.server_id = $1 AND j.backup_id = b.id AND j.kind = 'create_backup'
                 AND j.state = 'running'
         )",
        server.0,
        &ids,
        holdfast_domain::backup::cancelled_message(cancelled_by),
    )
    .execute(transaction.connection())
    .await?;
    Ok(ids.len() as u64)
}

/// Enqueues the jobs of promised deletions that are due, up to 100. A deletion waits while another
/// job uses the backup. `is_node_local` says whether only the node that wrote an archive can reach
/// its disk.
///
/// # Errors
/// If the database can't be written.
pub async fn enqueue_deletions(
    database: &Database,
    is_node_local: impl Fn(&DiskName) -> bool,
) -> Result<(), Error> {
    let mut transaction = database.begin().await?;
    let rows = sqlx::query!(
        r#"SELECT b.id, b.server_id, b.disk, coalesce(b.node, s.node) AS "node!",
                  s.node AS server_node
           FROM backups b
           CROSS JOIN LATERAL (
               SELECT node FROM servers WHERE id = b.server_id AND deleting_at IS NULL OFFSET 0
           ) s
           WHERE b.deletion_due_at <= now()
           ORDER BY b.deletion_due_at, b.id LIMIT 100 FOR NO KEY UPDATE OF b SKIP LOCKED"#
    )
    .fetch_all(transaction.connection())
    .await?;
    if rows.is_empty() {
        return Ok(());
    }
    let (servers, ids): (Vec<Uuid>, Vec<Uuid>) =
        rows.iter().map(|row| (row.server_id, row.id)).unzip();
    let in_use = sqlx::query_scalar!(
        r#"SELECT j.backup_id FROM jobs j
           WHERE j.server_id = ANY ($1) AND j.backup_id = ANY ($2)
               AND j.kind <> 'verify_backup' AND j.state IN ('available', 'scheduled', 'running')
           UNION SELECT w.backup_id FROM waiting_jobs w WHERE w.backup_id = ANY ($2)"#,
        &servers,
        &ids,
    )
    .fetch_all(transaction.connection())
    .await?;
    let in_use: Vec<Uuid> = in_use.into_iter().flatten().collect();
    for row in rows {
        let disk =
            DiskName::parse(&row.disk).map_err(|_| Error::unreadable("disk name", &row.disk))?;
        let node = match is_node_local(&disk) {
            true => row.node,
            false => row.server_node,
        };
        let node = NodeName::parse(&node).map_err(|_| Error::unreadable("node name", &node))?;
        let is_in_use = in_use.contains(&row.id);
        if !is_in_use {
            let job = NewJob {
                kind: JobKind::DeleteBackup,
                server: ServerId(row.server_id),
                backup: BackupId(row.id),
                node: &node,
                args: json!(DeleteArgs {
                    origin: None,
                    reason: Some("the panel has deleted it".to_owned()),
                }),
                max_attempts: NewJob::MAX_ATTEMPTS,
                run: None,
            };
            jobs::enqueue(&mut transaction, &job).await?;
        }
        let wait = if is_in_use {
            WAIT_SECONDS
        } else {
            REPEAT_SECONDS
        };
        sqlx::query!(
            "UPDATE backups SET deletion_due_at = now() + make_interval(secs => $2) WHERE id = $1",
            row.id,
            wait,
        )
        .execute(transaction.connection())
        .await?;
    }
    transaction.commit().await
}
