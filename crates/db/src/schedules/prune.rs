//! Deletes old runs of schedules in batches, so that no lock is held for long.

use std::time::Duration;

use chrono::DateTime;

use crate::error::Error;
use crate::pool::Database;

/// How many rows a statement reads.
const BATCH: i64 = 1000;
/// How many ended runs of each schedule stay, however old they are.
const KEPT: i64 = 10;

/// Deletes completed and skipped runs that are older than `ended`, and failed and missed ones that
/// are older than `failed`. The latest ten of each schedule stay, and the latest one that was not
/// missed. Of deleted schedules, none stays. Returns how many runs were deleted.
///
/// # Errors
/// If the database can't be written.
pub async fn prune_runs(
    database: &Database,
    ended: Duration,
    failed: Duration,
) -> Result<u64, Error> {
    let mut removed = 0;
    // Runs that stay are passed, so that each is read once.
    let mut after = (DateTime::UNIX_EPOCH, 0);
    loop {
        let last = sqlx::query!(
            r#"WITH old AS (
                SELECT id, schedule_id, finished_at, state FROM schedule_runs
                WHERE finished_at < now() - make_interval(secs => least($1::float8, $2::float8))
                    AND (finished_at, id) > ($3, $4)
                ORDER BY finished_at, id LIMIT $5
            ), removed AS (
                DELETE FROM schedule_runs r USING old
                WHERE r.id = old.id
                    AND old.finished_at < now() - make_interval(secs =>
                        CASE WHEN old.state IN ('failed', 'missed') THEN $2::float8
                            ELSE $1::float8 END)
                    AND (
                        (SELECT s.id FROM schedules s WHERE s.id = old.schedule_id) IS NULL
                        OR (
                            EXISTS (
                                SELECT 1 FROM schedule_runs n
                                WHERE n.schedule_id = old.schedule_id AND n.id > old.id
                                    AND n.finished_at IS NOT NULL
                                ORDER BY n.id DESC LIMIT 1 OFFSET $6
                            )
                            AND (
                                old.state = 'missed'
                                OR EXISTS (
                                    SELECT 1 FROM schedule_runs n
                                    WHERE n.schedule_id = old.schedule_id AND n.id > old.id
                                        AND n.finished_at IS NOT NULL AND n.state <> 'missed'
                                )
                            )
                        )
                    )
                RETURNING r.id
            )
            SELECT old.finished_at AS "finished_at!", old.id,
                   (SELECT count(*) FROM removed) AS "removed!"
            FROM old ORDER BY old.finished_at DESC, old.id DESC LIMIT 1"#,
            ended.as_secs_f64(),
            failed.as_secs_f64(),
            after.0,
            after.1,
            BATCH,
            KEPT - 1,
        )
        .fetch_optional(database.pool())
        .await?;
        let Some(last) = last else {
            return Ok(removed);
        };
        removed += last.removed.unsigned_abs();
        after = (last.finished_at, last.id);
    }
}
