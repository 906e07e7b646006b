//! The job table: enqueue, claim, heartbeat, settle. `migrations/0012_jobs.sql` describes the
//! states.
//!
//! No transaction is open while a job runs. Every write of a worker names its claim, so a worker
//! that has lost its lease changes nothing.

mod claim;
mod maintenance;
mod progress;
mod query;
mod settle;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use holdfast_domain::schedule::RunId;
use holdfast_domain::{
    BackupId, JobId, JobKind, JobProgress, JobState, NodeName, ServerId, TraceParent,
};

use crate::error::Error;
use crate::listen::JOB_AVAILABLE;
use crate::pool::{Database, Transaction};

pub use claim::{Claim, ClaimRequest, ConcurrencyLimits, claim};
pub use maintenance::{RescuedJob, promote, rescue};
pub use progress::{UnfinishedJob, list_unfinished};
pub use query::{Job, JobFilter, cancel_for_operator, count, find, find_in, list, page};
pub use settle::{JobFailure, cancel, complete, discard, record_notes, release, retry};
pub use waiting::{enqueue_or_wait, has_panel_restore};

/// A job to be enqueued.
#[derive(Clone, Debug)]
pub struct NewJob<'a> {
    /// The kind.
    pub kind: JobKind,
    /// The server that it is for.
    pub server: ServerId,
    /// The backup that it is for, or [`BackupId::NONE`].
    pub backup: BackupId,
    /// The node that it runs on.
    pub node: &'a NodeName,
    /// The arguments: JSON in a shape that the kind defines.
    pub args: Value,
    /// The greatest number of attempts.
    pub max_attempts: u32,
    /// The run of a schedule that the job is a task of.
    pub run: Option<RunId>,
}

impl NewJob<'_> {
    /// The greatest number of attempts of a job that a panel requests.
    pub const MAX_ATTEMPTS: u32 = 3;
}

/// Enqueues a job. Workers are notified when the transaction commits.
///
/// # Errors
/// [`Error::Conflict`] if the server, or the backup to be deleted or verified, already has an
/// unfinished job.
pub async fn enqueue(transaction: &mut Transaction, job: &NewJob<'_>) -> Result<JobId, Error> {
    let enqueued = insert(transaction, std::slice::from_ref(job)).await?;
    let (id, _) = enqueued
        .first()
        .ok_or_else(|| Error::Query(sqlx::Error::RowNotFound))?;
    Ok(*id)
}

/// Enqueues the jobs of runs of schedules. Returns the job of each run. Workers are notified when
/// the transaction commits.
///
/// # Errors
/// [`Error::Conflict`] as for [`enqueue`].
pub async fn enqueue_all(
    transaction: &mut Transaction,
    jobs: &[NewJob<'_>],
) -> Result<BTreeMap<RunId, JobId>, Error> {
    let enqueued = insert(transaction, jobs).await?;
    let of_runs = enqueued
        .into_iter()
        .filter_map(|(id, run)| Some((run?, id)));
    Ok(of_runs.collect())
}

/// Inserts jobs. Returns each with its run.
async fn insert(
    transaction: &mut Transaction,
    jobs: &[NewJob<'_>],
) -> Result<Vec<(JobId, Option<RunId>)>, Error> {
    let trace = transaction.trace();
    let parent = trace.and_then(|trace| trace.parent);
    let rows: Vec<Value> = jobs
        .iter()
        .map(|job| {
            json!({
                "kind": job.kind.as_str(),
                "server_id": job.server,
                "backup_id": job.backup,
                "node": job.node.as_str(),
                "args": job.args,
                "max_attempts": job.max_attempts,
                "priority": job.kind.priority(),
                "run_id": job.run,
            })
        })
        .collect();
    let rows = sqlx::query!(
        "INSERT INTO jobs (kind, server_id, backup_id, node, args, max_attempts, priority, run_id,
                           request_id, traceparent)
         SELECT kind, server_id, backup_id, node, args, max_attempts, priority, run_id, $2, $3
         FROM jsonb_to_recordset($1) AS j (
             kind text, server_id uuid, backup_id uuid, node text, args jsonb,
             max_attempts integer, priority smallint, run_id bigint
         )
         RETURNING id, run_id",
        Value::Array(rows),
        trace.as_ref().map(|trace| trace.request.as_str()),
        parent.as_ref().map(TraceParent::as_str),
    )
    .fetch_all(transaction.connection())
    .await?;
    let nodes: BTreeSet<&str> = jobs.iter().map(|job| job.node.as_str()).collect();
    let nodes: Vec<String> = nodes.into_iter().map(str::to_owned).collect();
    sqlx::query!(
        "SELECT pg_notify($1, node) FROM unnest($2::text[]) node",
        JOB_AVAILABLE,
        &nodes,
    )
    .fetch_all(transaction.connection())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (JobId(row.id), row.run_id.map(RunId)))
        .collect())
}

/// The answer to a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeartbeatReply {
    /// The claim holds, and its lease was extended.
    Held,
    /// The claim holds, but the job was cancelled.
    Cancelled {
        /// Who cancelled it.
        by: String,
    },
    /// The claim no longer holds. The worker must stop the job at once.
    Lost,
}

/// Extends the lease of a claim and stores the progress. Returns whether the claim still holds.
///
/// # Errors
/// If the database can't be written. Then the claim may still hold: other workers need the same
/// database to take the job over.
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
        "UPDATE jobs SET heartbeat_at = now(),
                lease_expires_at = now() + make_interval(secs => $4),
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
        Some(None) => HeartbeatReply::Held,
        Some(Some(by)) => HeartbeatReply::Cancelled { by },
        None => HeartbeatReply::Lost,
    })
}

/// Returns the state of a job and the sentence of its last error, or `None` if there is no such
/// job.
///
/// # Errors
/// If the database can't be read.
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

/// Cancels the creation of a backup. A queued job ends at once; the worker of a running one is told
/// by its next heartbeat. Returns the job and whether it has ended, or `None` if no such job is
/// unfinished.
///
/// # Errors
/// If the database can't be written.
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

/// Cancels a queued job. Returns `false` if it was not queued.
///
/// # Errors
/// If the database can't be written.
pub async fn cancel_queued(database: &Database, job: JobId) -> Result<bool, Error> {
    let done = sqlx::query!(
        "UPDATE jobs SET state = 'cancelled', finalized_at = now()
         WHERE id = $1 AND state IN ('available', 'scheduled')",
        job.0,
    )
    .execute(database.pool())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Finds the unfinished deletion of a backup.
///
/// # Errors
/// If the database can't be read.
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
