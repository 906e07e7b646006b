//! Results of verifications, and the schedule of the next ones.

use std::time::Duration;

use holdfast_domain::backup::VerificationState;
use holdfast_domain::job::{SCHEDULED_VERIFICATION_PRIORITY, VerifyArgs};
use holdfast_domain::verification::{archive_count_cap, next_batch};
use holdfast_domain::{BackupId, DiskName, JobId, JobKind, NodeName};

use crate::error::Error;
use crate::listen::JOB_AVAILABLE;
use crate::pool::{Database, Transaction};

/// How often a verification is tried before it ends as inconclusive.
pub const VERIFY_ATTEMPTS: u32 = 5;
/// The schedule adds no verifications to a node that has this many unfinished ones.
const UNFINISHED_MAX: i64 = 10;

/// How a verification ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerificationOutcome<'a> {
    /// Passed, failed or inconclusive.
    pub state: VerificationState,
    /// The reason or the note that users see.
    pub sentence: Option<&'a str>,
    /// The job that verified the archive.
    pub job: Option<JobId>,
    /// How much of the interval until the next scheduled verification counts as elapsed already.
    pub interval_elapsed: Duration,
}

/// Stores the outcome of a verification. Returns `false` if the backup is deleted or being deleted:
/// its archive may be gone for that reason.
///
/// # Errors
/// If the database can't be written.
pub async fn record_verification(
    transaction: &mut Transaction,
    backup: BackupId,
    outcome: &VerificationOutcome<'_>,
) -> Result<bool, Error> {
    let done = sqlx::query!(
        "UPDATE backups b SET verification = $2, verification_sentence = $3,
                verification_finished_at = now(),
                verification_started_at =
                    coalesce((SELECT started_at FROM jobs WHERE id = $4), now()),
                verification_counts_from = now() - make_interval(secs => $5),
                damaged_at = CASE $2 WHEN 'passed' THEN NULL
                                     WHEN 'failed' THEN coalesce(damaged_at, now())
                                     ELSE damaged_at END
         WHERE id = $1 AND state = 'completed' AND NOT EXISTS (
             SELECT 1 FROM jobs j
             WHERE j.server_id = b.server_id AND j.state IN ('available', 'scheduled', 'running')
                 AND (j.kind = 'delete_server' OR (j.kind = 'delete_backup' AND j.backup_id = b.id))
         )",
        backup.0,
        outcome.state.as_str(),
        outcome.sentence,
        outcome.job.map(|job| job.0),
        outcome.interval_elapsed.as_secs_f64(),
    )
    .execute(transaction.connection())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Raises the priority of a queued verification to that of a requested one, and stores who
/// requested it.
///
/// # Errors
/// If the database can't be written.
pub async fn prioritize_verification(
    transaction: &mut Transaction,
    backup: BackupId,
    args: &VerifyArgs,
) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE jobs SET priority = $2, args = $3
         WHERE backup_id = $1 AND kind = 'verify_backup' AND state IN ('available', 'scheduled')
             AND priority > $2",
        backup.0,
        JobKind::VerifyBackup.priority(),
        serde_json::json!(args),
    )
    .execute(transaction.connection())
    .await?;
    Ok(())
}

/// A location whose archives share a verification schedule.
#[derive(Clone, Copy, Debug)]
pub struct ArchiveLocation<'a> {
    /// The disk.
    pub disk: &'a DiskName,
    /// The node, if the disk is local. `None` for a bucket.
    pub disk_node: Option<&'a NodeName>,
}

/// Enqueues verifications for workers of `node`: of those archives of a location whose last
/// verification is oldest. Returns how many. Returns `None` if the location is not due, or if
/// another worker was first.
///
/// # Errors
/// If the database can't be written.
pub async fn schedule_verifications(
    database: &Database,
    location: ArchiveLocation<'_>,
    node: &NodeName,
    every: Duration,
) -> Result<Option<u64>, Error> {
    if !claim_schedule(database, location).await? {
        return Ok(None);
    }
    let batch = next_batch(
        count(database, location, archive_count_cap(every)).await?,
        every,
    );
    let unfinished = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM (
               SELECT 1 FROM jobs
               WHERE kind = 'verify_backup' AND state IN ('available', 'scheduled', 'running')
                   AND node = $1 LIMIT $2
           ) rows"#,
        node.as_str(),
        UNFINISHED_MAX,
    )
    .fetch_one(database.pool())
    .await?;
    let count = i64::from(batch.count).min(UNFINISHED_MAX - unfinished);
    let enqueued = enqueue(database, location, node, every, count).await?;
    sqlx::query!(
        "UPDATE verification_schedules SET next_at = now() + make_interval(secs => $2)
         WHERE location = $1",
        name(location),
        batch.delay.as_secs_f64(),
    )
    .execute(database.pool())
    .await?;
    Ok(Some(enqueued))
}

fn name(location: ArchiveLocation<'_>) -> String {
    match location.disk_node {
        Some(node) => format!("{}/{node}", location.disk),
        None => location.disk.to_string(),
    }
}

/// Claims the schedule of a location for a minute if it is due. Returns whether it was. A schedule
/// is never a day ahead, unless the clock was set back since: then it is due, too.
async fn claim_schedule(database: &Database, location: ArchiveLocation<'_>) -> Result<bool, Error> {
    let name = name(location);
    sqlx::query!(
        "INSERT INTO verification_schedules (location) VALUES ($1) ON CONFLICT DO NOTHING",
        name
    )
    .execute(database.pool())
    .await?;
    let claimed = sqlx::query!(
        "UPDATE verification_schedules SET next_at = now() + interval '1 minute'
         WHERE location = $1 AND (next_at <= now() OR next_at > now() + interval '1 day')",
        name,
    )
    .execute(database.pool())
    .await?;
    Ok(claimed.rows_affected() == 1)
}

/// Counts the archives of a location, up to `count_max`. Larger numbers would give the same batch.
async fn count(
    database: &Database,
    location: ArchiveLocation<'_>,
    count_max: u64,
) -> Result<u64, Error> {
    let disk = location.disk.as_str();
    let count_max = i64::try_from(count_max).unwrap_or(i64::MAX);
    // If most rows match, Postgres would choose to read the whole table, which may have far more
    // rows than are counted.
    let mut transaction = database.begin().await?;
    sqlx::query!("SET LOCAL enable_seqscan = off")
        .execute(transaction.connection())
        .await?;
    let count = match location.disk_node {
        Some(node) => {
            sqlx::query_scalar!(
                r#"SELECT count(*) AS "count!" FROM (
                       SELECT 1 FROM backups
                       WHERE disk = $1 AND node = $2 AND state = 'completed' LIMIT $3
                   ) rows"#,
                disk,
                node.as_str(),
                count_max,
            )
            .fetch_one(transaction.connection())
            .await?
        }
        None => {
            sqlx::query_scalar!(
                r#"SELECT count(*) AS "count!" FROM (
                       SELECT 1 FROM backups WHERE disk = $1 AND state = 'completed' LIMIT $2
                   ) rows"#,
                disk,
                count_max,
            )
            .fetch_one(transaction.connection())
            .await?
        }
    };
    transaction.commit().await?;
    Ok(count.unsigned_abs())
}

/// Enqueues verifications of the archives that were verified longest ago.
macro_rules! enqueue_due {
    (
        $database:expr, $condition:tt, $disk:expr, $node:expr, $every:expr, $count:expr
        $(, $argument:expr)*
    ) => {
        sqlx::query_scalar!(
            r#"WITH enqueued AS (
                   INSERT INTO jobs (kind, server_id, backup_id, node, max_attempts, priority)
                   SELECT 'verify_backup', b.server_id, b.id, $2, $5, $6 FROM backups b
                   WHERE b.disk = $1 AND b.state = 'completed'
                       AND coalesce(b.verification_counts_from, b.completed_at)
                           < now() - make_interval(secs => $3)
                       AND NOT EXISTS (
                           SELECT 1 FROM jobs j
                           WHERE j.server_id = b.server_id
                               AND j.state IN ('available', 'scheduled', 'running')
                               AND (j.backup_id = b.id OR j.kind = 'delete_server')
                       ) "#
                + $condition +
            r#"    ORDER BY coalesce(b.verification_counts_from, b.completed_at) LIMIT $4
                   ON CONFLICT (backup_id)
                       WHERE kind = 'verify_backup'
                           AND state IN ('available', 'scheduled', 'running')
                       DO NOTHING
                   RETURNING id
               ), notified AS (
                   SELECT pg_notify($7, $2) FROM (SELECT 1 FROM enqueued LIMIT 1) any_enqueued
               )
               SELECT count(*) AS "count!" FROM enqueued LEFT JOIN notified ON true"#,
            $disk,
            $node,
            $every,
            $count,
            i32::try_from(VERIFY_ATTEMPTS).unwrap_or(i32::MAX),
            SCHEDULED_VERIFICATION_PRIORITY,
            JOB_AVAILABLE
            $(, $argument)*
        )
        .fetch_one($database.pool())
        .await
    };
}

async fn enqueue(
    database: &Database,
    location: ArchiveLocation<'_>,
    node: &NodeName,
    every: Duration,
    count: i64,
) -> Result<u64, Error> {
    if count <= 0 {
        return Ok(0);
    }
    let (disk, node, every) = (location.disk.as_str(), node.as_str(), every.as_secs_f64());
    let enqueued = match location.disk_node {
        Some(disk_node) => enqueue_due!(
            database,
            "AND b.node = $8",
            disk,
            node,
            every,
            count,
            disk_node.as_str()
        ),
        None => enqueue_due!(database, "", disk, node, every, count),
    }?;
    Ok(enqueued.unsigned_abs())
}
