//! What verifications came to, and which come next.

use std::time::Duration;

use holdfast_domain::activity::VerifyArgs;
use holdfast_domain::backup::VerificationState;
use holdfast_domain::job::SCHEDULED_VERIFICATION_PRIORITY;
use holdfast_domain::verification::{archive_count_cap, next_batch};
use holdfast_domain::{BackupId, DiskName, JobId, JobKind, NodeName};

use crate::error::Error;
use crate::listen::AVAILABLE;
use crate::pool::{Database, Transaction};

/// How often a verification is tried before it ends without a verdict.
pub const VERIFY_ATTEMPTS: u32 = 5;
/// How many verifications of a node wait or run before its schedule adds no more.
const UNFINISHED_MAX: i64 = 10;

/// How a verification ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerificationEnd<'a> {
    /// Passed, failed or inconclusive.
    pub state: VerificationState,
    /// What there is to say of it.
    pub sentence: Option<&'a str>,
    /// The job that did it, if one did.
    pub job: Option<JobId>,
    /// How long before now the schedule begins to count to the next one.
    pub counts_from: Duration,
}

/// Writes down how a verification ended; says whether it did. Of a backup that is gone, or goes, nothing is said:
/// whoever deletes it has taken the archive away.
///
/// # Errors
/// When the database can't be written.
pub async fn record_verification(
    transaction: &mut Transaction,
    backup: BackupId,
    end: &VerificationEnd<'_>,
) -> Result<bool, Error> {
    let done = sqlx::query!(
        "UPDATE backups b SET verification = $2, verification_sentence = $3, verification_finished_at = now(),
                verification_started_at = coalesce((SELECT started_at FROM jobs WHERE id = $4), now()),
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
        end.state.as_str(),
        end.sentence,
        end.job.map(|job| job.0),
        end.counts_from.as_secs_f64(),
    )
    .execute(transaction.connection())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Makes a verification that waits as urgent as one that somebody asks for, and writes down who did.
///
/// # Errors
/// When the database can't be written.
pub async fn hasten_verification(
    transaction: &mut Transaction,
    backup: BackupId,
    args: &VerifyArgs,
) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE jobs SET priority = $2, args = $3
         WHERE backup_id = $1 AND kind = 'verify_backup' AND state IN ('available', 'scheduled') AND priority > $2",
        backup.0,
        JobKind::VerifyBackup.priority(),
        serde_json::json!(args),
    )
    .execute(transaction.connection())
    .await?;
    Ok(())
}

/// Archives that are verified as one after the other.
#[derive(Clone, Copy, Debug)]
pub struct ArchiveLocation<'a> {
    /// The disk that they lie on.
    pub disk: &'a DiskName,
    /// The node whose folder that is; none for a bucket.
    pub of_node: Option<&'a NodeName>,
}

/// Has the archives of a place verified that have gone longest without, if it is time, by workers of `node`. Returns
/// how many; `None` when it was not time: of many workers that look, one finds it so.
///
/// # Errors
/// When the database can't be written.
pub async fn schedule_verifications(
    database: &Database,
    place: ArchiveLocation<'_>,
    node: &NodeName,
    every: Duration,
) -> Result<Option<u64>, Error> {
    if !is_time(database, place).await? {
        return Ok(None);
    }
    let batch = next_batch(
        count(database, place, archive_count_cap(every)).await?,
        every,
    );
    let unfinished = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM (
               SELECT 1 FROM jobs WHERE kind = 'verify_backup' AND state IN ('available', 'scheduled', 'running')
                   AND node = $1 LIMIT $2
           ) rows"#,
        node.as_str(),
        UNFINISHED_MAX,
    )
    .fetch_one(database.pool())
    .await?;
    let count = i64::from(batch.count).min(UNFINISHED_MAX - unfinished);
    let begun = enqueue(database, place, node, every, count).await?;
    sqlx::query!(
        "UPDATE verification_schedules SET next_at = now() + make_interval(secs => $2)
         WHERE location = $1",
        name(place),
        batch.delay.as_secs_f64(),
    )
    .execute(database.pool())
    .await?;
    Ok(Some(begun))
}

fn name(place: ArchiveLocation<'_>) -> String {
    match place.of_node {
        Some(node) => format!("{}/{node}", place.disk),
        None => place.disk.to_string(),
    }
}

/// Finds that it is time to look, and keeps others from finding so for a minute.
async fn is_time(database: &Database, place: ArchiveLocation<'_>) -> Result<bool, Error> {
    let name = name(place);
    sqlx::query!(
        "INSERT INTO verification_schedules (location) VALUES ($1) ON CONFLICT DO NOTHING",
        name
    )
    .execute(database.pool())
    .await?;
    let taken = sqlx::query!(
        "UPDATE verification_schedules SET next_at = now() + interval '1 minute'
         WHERE location = $1 AND next_at <= now()",
        name,
    )
    .execute(database.pool())
    .await?;
    Ok(taken.rows_affected() == 1)
}

/// Counts the archives of a place, as far as that changes the pace.
async fn count(database: &Database, place: ArchiveLocation<'_>, most: u64) -> Result<u64, Error> {
    let disk = place.disk.as_str();
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    // Where most rows count, Postgres would rather read the table as a whole, whose rows may be many more.
    let mut transaction = database.begin().await?;
    sqlx::query!("SET LOCAL enable_seqscan = off")
        .execute(transaction.connection())
        .await?;
    let count = match place.of_node {
        Some(node) => {
            sqlx::query_scalar!(
                r#"SELECT count(*) AS "count!" FROM (
                       SELECT 1 FROM backups WHERE disk = $1 AND node = $2 AND state = 'completed' LIMIT $3
                   ) rows"#,
                disk,
                node.as_str(),
                most,
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
                most,
            )
            .fetch_one(transaction.connection())
            .await?
        }
    };
    transaction.commit().await?;
    Ok(count.unsigned_abs())
}

/// Puts the verifications of what has gone longest without into the job table.
macro_rules! enqueue_due {
    ($database:expr, $whose:tt, $disk:expr, $node:expr, $every:expr, $count:expr $(, $argument:expr)*) => {
        sqlx::query_scalar!(
            r#"WITH begun AS (
                   INSERT INTO jobs (kind, server_id, backup_id, node, max_attempts, priority)
                   SELECT 'verify_backup', b.server_id, b.id, $2, $5, $6 FROM backups b
                   WHERE b.disk = $1 AND b.state = 'completed'
                       AND coalesce(b.verification_counts_from, b.completed_at) < now() - make_interval(secs => $3)
                       AND NOT EXISTS (
                           SELECT 1 FROM jobs j
                           WHERE j.server_id = b.server_id AND j.state IN ('available', 'scheduled', 'running')
                               AND (j.backup_id = b.id OR j.kind = 'delete_server')
                       ) "#
                + $whose +
            r#"    ORDER BY coalesce(b.verification_counts_from, b.completed_at) LIMIT $4
                   ON CONFLICT (backup_id)
                       WHERE kind = 'verify_backup' AND state IN ('available', 'scheduled', 'running') DO NOTHING
                   RETURNING id
               ), called AS (
                   SELECT pg_notify($7, $2) FROM (SELECT 1 FROM begun LIMIT 1) any_begun
               )
               SELECT count(*) AS "count!" FROM begun LEFT JOIN called ON true"#,
            $disk,
            $node,
            $every,
            $count,
            i32::try_from(VERIFY_ATTEMPTS).unwrap_or(i32::MAX),
            SCHEDULED_VERIFICATION_PRIORITY,
            AVAILABLE
            $(, $argument)*
        )
        .fetch_one($database.pool())
        .await
    };
}

async fn enqueue(
    database: &Database,
    place: ArchiveLocation<'_>,
    node: &NodeName,
    every: Duration,
    count: i64,
) -> Result<u64, Error> {
    if count <= 0 {
        return Ok(0);
    }
    let (disk, node, every) = (place.disk.as_str(), node.as_str(), every.as_secs_f64());
    let begun = match place.of_node {
        Some(of_node) => enqueue_due!(
            database,
            "AND b.node = $8",
            disk,
            node,
            every,
            count,
            of_node.as_str()
        ),
        None => enqueue_due!(database, "", disk, node, every, count),
    }?;
    Ok(begun.unsigned_abs())
}
