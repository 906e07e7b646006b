//! Deletes old rows in batches, so that no lock is held for long.

use std::time::Duration;

use crate::error::Error;
use crate::pool::Database;

/// How many rows a statement reads.
const BATCH: i64 = 1000;

/// Deletes completed and cancelled jobs that are older than `ended`, and discarded jobs that are
/// older than `failed`. Keeps the latest restore of each backup, because views of the backup show
/// it. Returns how many jobs were deleted.
///
/// # Errors
/// If the database can't be written.
pub async fn prune_jobs(
    database: &Database,
    ended: Duration,
    failed: Duration,
) -> Result<u64, Error> {
    let mut removed = 0;
    let mut after = (chrono::DateTime::UNIX_EPOCH, 0);
    loop {
        let last = sqlx::query!(
            r#"WITH old AS (
                SELECT id, kind, server_id, backup_id, finalized_at, state FROM jobs
                WHERE finalized_at < now() - make_interval(secs => least($1::float8, $2::float8))
                    AND (finalized_at, id) > ($3, $4)
                ORDER BY finalized_at, id LIMIT $5
            ), removed AS (
                DELETE FROM jobs j USING old
                WHERE j.id = old.id
                    AND old.finalized_at < now() - make_interval(secs =>
                        CASE old.state WHEN 'discarded' THEN $2::float8 ELSE $1::float8 END)
                    AND NOT (old.kind = 'restore_backup'
                        AND EXISTS (SELECT 1 FROM backups b WHERE b.id = old.backup_id)
                        AND NOT EXISTS (
                            SELECT 1 FROM jobs n
                            WHERE n.server_id = old.server_id AND n.backup_id = old.backup_id
                                AND (n.kind = 'restore_backup') IS TRUE AND n.id > old.id))
                RETURNING j.id
            )
            SELECT old.finalized_at AS "finalized_at!", old.id,
                   (SELECT count(*) FROM removed) AS "removed!"
            FROM old ORDER BY old.finalized_at DESC, old.id DESC LIMIT 1"#,
            ended.as_secs_f64(),
            failed.as_secs_f64(),
            after.0,
            after.1,
            BATCH,
        )
        .fetch_optional(database.pool())
        .await?;
        let Some(last) = last else {
            return Ok(removed);
        };
        removed += last.removed.unsigned_abs();
        after = (last.finalized_at, last.id);
    }
}

/// Deletes entries of the audit log that are older than `age`. Returns how many.
///
/// # Errors
/// If the database can't be written.
pub async fn prune_activity(database: &Database, age: Duration) -> Result<u64, Error> {
    let mut removed = 0;
    loop {
        // Numbers grow with time, so the oldest entries come first without an index on the time.
        let done = sqlx::query!(
            "DELETE FROM activity
             WHERE id = ANY (ARRAY(SELECT id FROM activity ORDER BY id LIMIT $2))
                 AND created_at < now() - make_interval(secs => $1)",
            age.as_secs_f64(),
            BATCH,
        )
        .execute(database.pool())
        .await?
        .rows_affected();
        removed += done;
        if done < BATCH.unsigned_abs() {
            return Ok(removed);
        }
    }
}

/// Deletes entries of the operator log that are older than `age`. Returns how many.
///
/// # Errors
/// If the database can't be written.
pub async fn prune_operator_log(database: &Database, age: Duration) -> Result<u64, Error> {
    let mut removed = 0;
    loop {
        let done = sqlx::query!(
            "DELETE FROM operator_actions
             WHERE id = ANY (ARRAY(SELECT id FROM operator_actions ORDER BY id LIMIT $2))
                 AND created_at < now() - make_interval(secs => $1)",
            age.as_secs_f64(),
            BATCH,
        )
        .execute(database.pool())
        .await?
        .rows_affected();
        removed += done;
        if done < BATCH.unsigned_abs() {
            return Ok(removed);
        }
    }
}

/// Deletes maintenance runs that are older than `age`. Keeps the latest run of each task, because
/// it decides when the task is due. Returns how many runs were deleted.
///
/// # Errors
/// If the database can't be written.
pub async fn prune_runs(database: &Database, age: Duration) -> Result<u64, Error> {
    let done = sqlx::query!(
        "DELETE FROM maintenance_runs r
         WHERE r.id = ANY (ARRAY(SELECT id FROM maintenance_runs ORDER BY id LIMIT 10000))
             AND r.started_at < now() - make_interval(secs => $1)
             AND EXISTS (
                 SELECT 1 FROM maintenance_runs n
                 WHERE n.task = r.task AND n.subject = r.subject AND n.id > r.id
             )",
        age.as_secs_f64(),
    )
    .execute(database.pool())
    .await?;
    Ok(done.rows_affected())
}

/// Deletes request counts of minutes that have passed. Returns how many rows.
///
/// # Errors
/// If the database can't be written.
pub async fn prune_rate_counts(database: &Database) -> Result<u64, Error> {
    let done = sqlx::query!(
        "DELETE FROM rate_counts WHERE minute < extract(epoch FROM now())::bigint / 60 - 10"
    )
    .execute(database.pool())
    .await?;
    Ok(done.rows_affected())
}
