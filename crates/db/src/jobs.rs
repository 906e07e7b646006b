//! The job table: put in, claim, keep, settle. See `migrations/0012_jobs.sql` for its states.
//!
//! No function here holds a transaction while work is done. Every write of a
//! worker names the claim that it works under, so that one who has lost its
//! lease changes nothing.

mod claim;
mod maintenance;
mod progress;
mod query;
mod settle;

use std::time::Duration;

use serde_json::Value;

use holdfast_domain::{
    BackupId, JobId, JobKind, JobProgress, JobState, NodeName, ServerId, TraceParent,
};

use crate::error::Error;
use crate::listen::AVAILABLE;
use crate::pool::{Database, Transaction};

pub use claim::{Claim, ClaimRequest, ConcurrencyLimits, claim};
pub use maintenance::{Rescued, promote, rescue};
pub use progress::{UnfinishedJob, underway};
pub use query::{Job, JobFilter, call_off, count, find, find_in, list, page};
pub use settle::{JobFailure, cancel, complete, discard, release, retry};

/// A job that is asked for.
#[derive(Clone, Debug)]
pub struct NewJob<'a> {
    /// What it does.
    pub kind: JobKind,
    /// With which server.
    pub server: ServerId,
    /// With which backup; [`BackupId::NONE`] when it is about none.
    pub backup: BackupId,
    /// On which node.
    pub node: &'a NodeName,
    /// How: JSON that the kind defines.
    pub args: Value,
    /// How often it may be tried.
    pub max_attempts: u32,
}

/// Puts a job into the table. It is there once the transaction commits, which also wakes workers.
///
/// # Errors
/// [`Error::Conflict`] when the server, or the backup to be deleted or verified, has an unfinished job already.
pub async fn enqueue(transaction: &mut Transaction, job: &NewJob<'_>) -> Result<JobId, Error> {
    let trace = transaction.trace();
    let parent = trace.and_then(|trace| trace.parent);
    let id = sqlx::query_scalar!(
        "INSERT INTO jobs (kind, server_id, backup_id, node, args, max_attempts, priority, request_id, traceparent)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         RETURNING id",
        job.kind.as_str(),
        job.server.0,
        job.backup.0,
        job.node.as_str(),
        job.args,
        i32::try_from(job.max_attempts).unwrap_or(i32::MAX),
        job.kind.priority(),
        trace.as_ref().map(|trace| trace.request.as_str()),
        parent.as_ref().map(TraceParent::as_str),
    )
    .fetch_one(transaction.connection())
    .await?;
    sqlx::query!("SELECT pg_notify($1, $2)", AVAILABLE, job.node.as_str())
        .execute(transaction.connection())
        .await?;
    Ok(JobId(id))
}

/// What a worker hears when it says that it is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeartbeatReply {
    /// The claim holds, and its lease was extended.
    Ours,
    /// The claim holds, but somebody, named here, wants the job to stop.
    Cancelled {
        /// Who asked.
        by: String,
    },
    /// The claim no longer holds: the work must be dropped at once.
    Lost,
}

/// Extends a claim's lease, records progress, and says what has become of the claim.
///
/// # Errors
/// When the database can't be written. Then the claim may still hold: nobody can take it over
/// without the same database.
pub async fn heartbeat(
    database: &Database,
    claim: &Claim,
    lease: Duration,
    progress: Option<&JobProgress>,
) -> Result<HeartbeatReply, Error> {
    let progress = progress
        .map(serde_json::to_value)
        .transpose()
        .unwrap_or_default();
    let row = sqlx::query!(
        "UPDATE jobs SET heartbeat_at = now(), lease_expires_at = now() + make_interval(secs => $4),
                progress = coalesce($5, progress)
         WHERE id = $1 AND state = 'running' AND claimed_by = $2 AND attempt = $3
         RETURNING cancelled_by",
        claim.id.0,
        claim.worker,
        i32::try_from(claim.attempt).unwrap_or(i32::MAX),
        lease.as_secs_f64(),
        progress,
    )
    .fetch_optional(database.pool())
    .await?;
    Ok(match row.map(|row| row.cancelled_by) {
        Some(None) => HeartbeatReply::Ours,
        Some(Some(by)) => HeartbeatReply::Cancelled { by },
        None => HeartbeatReply::Lost,
    })
}

/// Returns a job's state, and the sentence of its last error; `None` when there is no such job.
///
/// # Errors
/// When the database can't be read.
pub async fn state(
    database: &Database,
    job: JobId,
) -> Result<Option<(JobState, Option<String>)>, Error> {
    let row = sqlx::query!(
        "SELECT state, errors -> -1 ->> 'sentence' AS sentence FROM jobs WHERE id = $1",
        job.0
    )
    .fetch_optional(database.pool())
    .await?;
    row.map(|row| {
        let state = JobState::parse(&row.state)
            .ok_or_else(|| Error::unreadable("job state", &row.state))?;
        Ok((state, row.sentence))
    })
    .transpose()
}

/// Calls off the creation of a backup: one that waits ends at once, one that runs is told to stop.
/// Returns the job and whether it has ended; `None` when there is no unfinished one.
///
/// # Errors
/// When the database can't be written.
pub async fn cancel_creation(
    transaction: &mut Transaction,
    server: ServerId,
    backup: BackupId,
    by: &str,
) -> Result<Option<(JobId, bool)>, Error> {
    let row = sqlx::query!(
        r#"UPDATE jobs SET
               cancelled_by = $3,
               state = CASE state WHEN 'running' THEN state ELSE 'cancelled' END,
               finalized_at = CASE state WHEN 'running' THEN NULL ELSE now() END
           WHERE server_id = $1 AND backup_id = $2 AND kind = 'create_backup'
               AND state IN ('available', 'scheduled', 'running')
           RETURNING id, state = 'cancelled' AS "ended!""#,
        server.0,
        backup.0,
        by,
    )
    .fetch_optional(transaction.connection())
    .await?;
    Ok(row.map(|row| (JobId(row.id), row.ended)))
}

/// Calls off a job that no worker has taken up; says whether it did.
///
/// # Errors
/// When the database can't be written.
pub async fn cancel_waiting(database: &Database, job: JobId) -> Result<bool, Error> {
    let done = sqlx::query!(
        "UPDATE jobs SET state = 'cancelled', finalized_at = now() WHERE id = $1 AND state IN ('available', 'scheduled')",
        job.0,
    )
    .execute(database.pool())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Finds the unfinished deletion of a backup.
///
/// # Errors
/// When the database can't be read.
pub async fn find_deletion(
    transaction: &mut Transaction,
    backup: BackupId,
) -> Result<Option<JobId>, Error> {
    let id = sqlx::query_scalar!(
        "SELECT id FROM jobs WHERE backup_id = $1 AND kind = 'delete_backup'
             AND state IN ('available', 'scheduled', 'running')",
        backup.0,
    )
    .fetch_optional(transaction.connection())
    .await?;
    Ok(id.map(JobId))
}
