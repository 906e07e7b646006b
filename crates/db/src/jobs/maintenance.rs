//! Maintenance of the job table: promotes scheduled jobs that are due, and rescues jobs whose
//! worker has stopped responding. Several workers may do so at the same time.

use holdfast_domain::activity::ActivityEvent;
use holdfast_domain::{BackupId, JobId, JobKind, JobState};

use super::waiting;
use crate::error::Error;
use crate::listen::{JOB_AVAILABLE, JOB_ENDED};
use crate::pool::Database;

/// Makes scheduled jobs available that are due, enqueues waiting jobs whose turn has come, and
/// notifies the workers of their nodes.
///
/// # Errors
/// If the database can't be written.
pub async fn promote(database: &Database) -> Result<(), Error> {
    sqlx::query!(
        "WITH due AS (
            UPDATE jobs SET state = 'available'
            WHERE id = ANY (ARRAY(
                SELECT id FROM jobs WHERE state = 'scheduled' AND scheduled_at <= now()
                ORDER BY scheduled_at LIMIT 1000 FOR UPDATE SKIP LOCKED
            ))
            RETURNING node
        )
        SELECT pg_notify($1, node) FROM (SELECT DISTINCT node FROM due) nodes",
        JOB_AVAILABLE,
    )
    .fetch_all(database.pool())
    .await?;
    waiting::promote(database).await
}

/// A job whose lease has expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RescuedJob {
    /// The job.
    pub id: JobId,
    /// The kind.
    pub kind: JobKind,
    /// The backup that it is for.
    pub backup: BackupId,
    /// The number of the lost attempt.
    pub attempt: u32,
    /// The worker that stopped responding.
    pub worker: String,
    /// The new state: available, or discarded after the last attempt.
    pub state: JobState,
}

/// Takes jobs away from workers that have stopped responding.
///
/// Each job becomes available again, or is discarded after its last attempt. If it is discarded,
/// the same statement ends what the job was for: the backup fails, the verification is
/// inconclusive, or the server is no longer marked as being deleted.
///
/// # Errors
/// If the database can't be written.
pub async fn rescue(database: &Database) -> Result<Vec<RescuedJob>, Error> {
    let rows = sqlx::query!(
        r#"WITH expired AS (
            SELECT id, claimed_by FROM jobs
            WHERE state = 'running' AND lease_expires_at < now() AND kind = ANY ($5)
            ORDER BY lease_expires_at LIMIT 100 FOR UPDATE SKIP LOCKED
        ), rescued AS (
            UPDATE jobs j SET
                state = CASE WHEN j.attempt < j.max_attempts THEN 'available' ELSE 'discarded' END,
                finalized_at = CASE WHEN j.attempt < j.max_attempts THEN NULL ELSE now() END,
                claimed_by = NULL, lease_expires_at = NULL, progress = NULL,
                errors = j.errors || jsonb_build_array(jsonb_build_object(
                    'attempt', j.attempt, 'at', now(),
                    'sentence', 'The process that worked on it stopped responding.',
                    'detail', format('the lease of worker %s ran out', expired.claimed_by)))
            FROM expired WHERE j.id = expired.id
            RETURNING j.id, j.kind, j.server_id, j.backup_id, j.node, j.state, j.attempt,
                j.started_at, expired.claimed_by
        ), failed AS (
            UPDATE backups b SET state = 'failed', failed_at = now(), is_locked = false,
                   error = format(
                       'The process that worked on it stopped responding, %s times.',
                       rescued.attempt)
            FROM rescued
            WHERE b.id = rescued.backup_id AND b.state = 'creating'
                AND rescued.state = 'discarded' AND rescued.kind = 'create_backup'
        ), unverified AS (
            UPDATE backups b SET verification = 'inconclusive',
                   verification_started_at = rescued.started_at,
                   verification_finished_at = now(), verification_counts_from = now(),
                   verification_sentence = format(
                       'The process that worked on it stopped responding, %s times.',
                       rescued.attempt)
            FROM rescued
            WHERE b.id = rescued.backup_id AND b.state = 'completed'
                AND rescued.state = 'discarded' AND rescued.kind = 'verify_backup'
        ), logged AS (
            INSERT INTO activity (event, server_id, backup_id, backup_name, properties)
            SELECT CASE kind WHEN 'create_backup' THEN $3 ELSE $4 END, server_id, backup_id,
                   (SELECT name FROM backups WHERE id = backup_id),
                   jsonb_build_object('error', 'The process that worked on it stopped responding.')
            FROM rescued
            WHERE state = 'discarded' AND kind IN ('create_backup', 'restore_backup')
        ), undeleted AS (
            UPDATE servers s SET deleting_at = NULL
            FROM rescued
            WHERE s.id = rescued.server_id AND rescued.state = 'discarded'
                AND rescued.kind = 'delete_server'
        )
        SELECT id, kind, backup_id, state, attempt, claimed_by AS "worker!",
               CASE WHEN state = 'available' THEN pg_notify($1, node)
                    ELSE pg_notify($2, id::text) END AS notified
        FROM rescued"#,
        JOB_AVAILABLE,
        JOB_ENDED,
        ActivityEvent::Fail.as_str(),
        ActivityEvent::RestoreFailed.as_str(),
        &super::claim::known_kinds(),
    )
    .fetch_all(database.pool())
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(RescuedJob {
                id: JobId(row.id),
                kind: JobKind::parse(&row.kind)
                    .ok_or_else(|| Error::unreadable("job kind", &row.kind))?,
                backup: BackupId(row.backup_id),
                attempt: row.attempt.unsigned_abs(),
                worker: row.worker,
                state: JobState::parse(&row.state)
                    .ok_or_else(|| Error::unreadable("job state", &row.state))?,
            })
        })
        .collect()
}
