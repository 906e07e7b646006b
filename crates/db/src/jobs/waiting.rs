//! Jobs of a panel that wait until no other job uses their server, in the order of the requests.

use holdfast_domain::{BackupId, JobKind, ServerId, TraceParent};

use super::NewJob;
use crate::error::Error;
use crate::listen::JOB_AVAILABLE;
use crate::pool::{Database, Transaction};

/// Enqueues a job that uses the files of a server, or lets it wait for the jobs before it. The
/// caller has locked the server.
///
/// # Errors
/// If the database can't be written.
pub async fn enqueue_or_wait(transaction: &mut Transaction, job: &NewJob<'_>) -> Result<(), Error> {
    let must_wait = sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT 1 FROM jobs
               WHERE server_id = $1
                   AND kind IN ('create_backup', 'restore_backup', 'delete_server')
                   AND state IN ('available', 'scheduled', 'running')
           ) OR EXISTS (SELECT 1 FROM waiting_jobs WHERE server_id = $1) AS "must_wait!""#,
        job.server.0,
    )
    .fetch_one(transaction.connection())
    .await?;
    if !must_wait {
        super::enqueue(transaction, job).await?;
        return Ok(());
    }
    let trace = transaction.trace();
    let parent = trace.and_then(|trace| trace.parent);
    sqlx::query!(
        "INSERT INTO waiting_jobs (kind, server_id, backup_id, args, request_id, traceparent)
         VALUES ($1, $2, $3, $4, $5, $6)",
        job.kind.as_str(),
        job.server.0,
        job.backup.0,
        job.args,
        trace.as_ref().map(|trace| trace.request.as_str()),
        parent.as_ref().map(TraceParent::as_str),
    )
    .execute(transaction.connection())
    .await?;
    Ok(())
}

/// Returns whether a restore of a backup that a panel has requested waits, is queued or runs.
///
/// # Errors
/// If the database can't be read.
pub async fn has_panel_restore(
    transaction: &mut Transaction,
    server: ServerId,
    backup: BackupId,
) -> Result<bool, Error> {
    let found = sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT 1 FROM waiting_jobs
               WHERE server_id = $1 AND backup_id = $2 AND kind = 'restore_backup'
           ) OR EXISTS (
               SELECT 1 FROM jobs
               WHERE server_id = $1 AND backup_id = $2 AND kind = 'restore_backup'
                   AND (args -> 'panel') = 'true'::jsonb
                   AND state IN ('available', 'scheduled', 'running')
           ) AS "found!""#,
        server.0,
        backup.0,
    )
    .fetch_one(transaction.connection())
    .await?;
    Ok(found)
}

/// Enqueues the waiting jobs whose turn has come, up to 100, and notifies the workers of their
/// nodes.
///
/// # Errors
/// If the database can't be written.
pub(super) async fn promote(database: &Database) -> Result<(), Error> {
    // The lock skips rows that another worker is moving. It also reads rows again that another
    // worker has moved since this statement began, so no job is enqueued twice.
    sqlx::query!(
        "WITH turn AS (
            SELECT w.id, w.kind, w.server_id, w.backup_id, w.args, w.request_id, w.traceparent,
                   (SELECT node FROM servers WHERE id = w.server_id) AS node
            FROM waiting_jobs w
            WHERE w.id = ANY (ARRAY(
                SELECT f.id FROM waiting_jobs f
                WHERE f.id = (SELECT min(o.id) FROM waiting_jobs o WHERE o.server_id = f.server_id)
                    AND NOT EXISTS (
                        SELECT 1 FROM jobs j
                        WHERE j.server_id = f.server_id
                            AND j.kind IN ('create_backup', 'restore_backup', 'delete_server')
                            AND j.state IN ('available', 'scheduled', 'running')
                    )
                ORDER BY f.id LIMIT 100
            ))
            FOR UPDATE SKIP LOCKED
        ), enqueued AS (
            INSERT INTO jobs (kind, server_id, backup_id, node, args, max_attempts, priority,
                              request_id, traceparent)
            SELECT kind, server_id, backup_id, node, args, $2, $3, request_id, traceparent
            FROM turn
            ON CONFLICT DO NOTHING
            RETURNING server_id, node
        ), moved AS (
            DELETE FROM waiting_jobs w USING turn t, enqueued e
            WHERE w.id = t.id AND e.server_id = t.server_id
        )
        SELECT pg_notify($1, node) FROM (SELECT DISTINCT node FROM enqueued) nodes",
        JOB_AVAILABLE,
        i32::try_from(NewJob::MAX_ATTEMPTS).unwrap_or(i32::MAX),
        JobKind::CreateBackup.priority(),
    )
    .fetch_all(database.pool())
    .await?;
    Ok(())
}
