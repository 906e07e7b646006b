//! The job table: put in, claim, keep, settle. See `migrations/0006_jobs.sql` for its states.
//!
//! No function here holds a transaction while work is done. Every write of a
//! worker names the claim that it works under, so that one who has lost its
//! lease changes nothing.

mod bounded;
mod maintenance;
mod progress;
mod query;
mod settle;

use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use holdfast_domain::job::WorkerSlot;
use holdfast_domain::{
    BackupId, JobId, JobKind, JobProgress, JobState, NodeName, RequestId, ServerId, Trace,
    TraceParent,
};

use crate::error::Error;
use crate::listen::AVAILABLE;
use crate::pool::{Database, Transaction};

pub use bounded::{ConcurrencyLimits, claim_bounded};
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

/// A job in a worker's hands: what to do, and the proof that it may.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// The job.
    pub id: JobId,
    /// What it does.
    pub kind: JobKind,
    /// With which server.
    pub server: ServerId,
    /// With which backup.
    pub backup: BackupId,
    /// How.
    pub args: Value,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// How many there may be.
    pub max_attempts: u32,
    /// The worker that holds it.
    pub worker: String,
    /// The request that asked for it, if one did.
    pub trace: Option<Trace>,
}

/// The kinds of jobs of this version: those of a newer one, which may run beside it, are not for its workers.
fn known_kinds() -> Vec<String> {
    Vec::from(JobKind::ALL.map(|kind| kind.as_str().to_owned()))
}

/// Claims up to `limit` jobs of a node for a worker, the most urgent and oldest first, but none of those that can
/// wait. Each is the worker's until its lease runs out.
///
/// # Errors
/// When the database can't be written.
pub async fn claim(
    database: &Database,
    node: &NodeName,
    worker: &str,
    lease: Duration,
    limit: usize,
) -> Result<Vec<Claim>, Error> {
    claim_of(WorkerSlot::Main, database, node, worker, lease, limit).await
}

/// Claims up to `limit` jobs of a node that can wait, as [`claim`] does the others.
///
/// # Errors
/// When the database can't be written.
pub async fn claim_spare(
    database: &Database,
    node: &NodeName,
    worker: &str,
    lease: Duration,
    limit: usize,
) -> Result<Vec<Claim>, Error> {
    claim_of(WorkerSlot::Spare, database, node, worker, lease, limit).await
}

async fn claim_of(
    lane: WorkerSlot,
    database: &Database,
    node: &NodeName,
    worker: &str,
    lease: Duration,
    limit: usize,
) -> Result<Vec<Claim>, Error> {
    let (least, most) = lane.priorities().into_inner();
    let rows = sqlx::query_as!(
        Claimed,
        "UPDATE jobs SET state = 'running', attempt = attempt + 1, claimed_by = $2, heartbeat_at = now(),
                lease_expires_at = now() + make_interval(secs => $3), started_at = coalesce(started_at, now()),
                progress = NULL
         WHERE id = ANY (ARRAY(
             SELECT id FROM jobs
             WHERE node = $1 AND state = 'available' AND priority BETWEEN $5 AND $6 AND kind = ANY ($7)
             ORDER BY priority, id LIMIT $4 FOR UPDATE SKIP LOCKED
         ))
         RETURNING id, kind, server_id, backup_id, args, attempt, max_attempts, request_id, traceparent",
        node.as_str(),
        worker,
        lease.as_secs_f64(),
        i64::try_from(limit).unwrap_or(i64::MAX),
        least,
        most,
        &known_kinds(),
    )
    .fetch_all(database.pool())
    .await?;
    rows.into_iter().map(|row| row.by(worker)).collect()
}

/// A job that was just claimed.
struct Claimed {
    id: i64,
    kind: String,
    server_id: Uuid,
    backup_id: Uuid,
    args: Value,
    attempt: i32,
    max_attempts: i32,
    request_id: Option<String>,
    traceparent: Option<String>,
}

impl Claimed {
    fn by(self, worker: &str) -> Result<Claim, Error> {
        let request = self.request_id.as_deref().and_then(RequestId::parse);
        let parent = self.traceparent.as_deref().and_then(TraceParent::parse);
        Ok(Claim {
            id: JobId(self.id),
            kind: JobKind::parse(&self.kind)
                .ok_or_else(|| Error::unreadable("job kind", &self.kind))?,
            server: ServerId(self.server_id),
            backup: BackupId(self.backup_id),
            args: self.args,
            attempt: self.attempt.unsigned_abs(),
            max_attempts: self.max_attempts.unsigned_abs(),
            worker: worker.to_owned(),
            trace: request.map(|request| Trace { request, parent }),
        })
    }
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
