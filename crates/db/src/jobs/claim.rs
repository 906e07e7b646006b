//! How a worker takes jobs: highest priority first, then oldest, each under a lease.
//!
//! A claim never waits for a job that another transaction has locked. Claims within limits wait
//! only for each other.

use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use holdfast_domain::job::WorkerSlot;
use holdfast_domain::{
    BackupId, DiskName, JobId, JobKind, NodeName, RequestId, ServerId, TraceContext, TraceParent,
};

use crate::error::Error;
use crate::pool::Database;

/// How many jobs that move archives may run at the same time, over all workers. 0 means no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConcurrencyLimits {
    /// On one node.
    pub per_node: u32,
    /// With one disk. A local disk counts separately on each node.
    pub per_disk: u32,
    /// The disks that all nodes share.
    pub shared_disks: Vec<DiskName>,
}

impl ConcurrencyLimits {
    /// Returns whether there is any limit.
    pub fn is_on(&self) -> bool {
        self.per_node > 0 || self.per_disk > 0
    }
}

/// Which jobs a worker wants to claim.
#[derive(Clone, Copy, Debug)]
pub struct ClaimRequest<'a> {
    /// The node that the jobs must run on.
    pub node: &'a NodeName,
    /// The name of the worker.
    pub worker: &'a str,
    /// How long the worker holds a job without a heartbeat.
    pub lease: Duration,
    /// The slot that is free. It selects jobs by their priority.
    pub slot: WorkerSlot,
    /// The greatest number of jobs to claim.
    pub count: usize,
    /// How many jobs may run at the same time.
    pub limits: &'a ConcurrencyLimits,
}

/// A claimed job and the proof of its claim.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// The job.
    pub id: JobId,
    /// Its kind.
    pub kind: JobKind,
    /// The server that it is for.
    pub server: ServerId,
    /// The backup that it is for.
    pub backup: BackupId,
    /// Its arguments: JSON in a shape that the kind defines.
    pub args: Value,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// The greatest number of attempts.
    pub max_attempts: u32,
    /// The worker that holds it.
    pub worker: String,
    /// The request that created the job, if there was one.
    pub trace: Option<TraceContext>,
}

/// Claims jobs for a worker: highest priority first, then oldest. Each belongs to the worker until
/// its lease expires.
///
/// With limits, jobs of a disk that is at its limit wait, and jobs of other disks overtake them.
/// Jobs of the low-priority slot are counted separately, so a verification never takes the place of
/// a backup.
///
/// # Errors
/// If the database can't be written.
pub async fn claim(database: &Database, request: &ClaimRequest<'_>) -> Result<Vec<Claim>, Error> {
    let rows = if request.limits.is_on() {
        claim_within_limits(database, request).await?
    } else {
        claim_unlimited(database, request).await?
    };
    rows.into_iter()
        .map(|row| row.into_claim(request.worker))
        .collect()
}

async fn claim_unlimited(
    database: &Database,
    request: &ClaimRequest<'_>,
) -> Result<Vec<ClaimedRow>, Error> {
    let (first, last) = request.slot.priorities().into_inner();
    let rows = sqlx::query_as!(
        ClaimedRow,
        "UPDATE jobs SET state = 'running', attempt = attempt + 1, claimed_by = $2,
                heartbeat_at = now(), lease_expires_at = now() + make_interval(secs => $3),
                started_at = coalesce(started_at, now()), progress = NULL
         WHERE id = ANY (ARRAY(
             SELECT id FROM jobs
             WHERE node = $1 AND state = 'available' AND priority BETWEEN $5 AND $6
                 AND kind = ANY ($7)
             ORDER BY priority, id LIMIT $4 FOR UPDATE SKIP LOCKED
         ))
         RETURNING id, kind, server_id, backup_id, args, attempt, max_attempts, request_id,
                   traceparent",
        request.node.as_str(),
        request.worker,
        request.lease.as_secs_f64(),
        i64::try_from(request.count).unwrap_or(i64::MAX),
        first,
        last,
        &known_kinds(),
    )
    .fetch_all(database.pool())
    .await?;
    Ok(rows)
}

/// Claims jobs within the limits. Such claims run one after the other, so that each one counts the
/// jobs that the previous one has started.
async fn claim_within_limits(
    database: &Database,
    request: &ClaimRequest<'_>,
) -> Result<Vec<ClaimedRow>, Error> {
    let (first, last) = request.slot.priorities().into_inner();
    let limits = request.limits;
    let shared_disks = limits.shared_disks.iter().map(ToString::to_string);
    let shared_disks: Vec<String> = shared_disks.collect();
    let mut transaction = database.begin().await?;
    // A statement that had waited for the lock would still see the jobs from before the wait. So
    // the lock has a statement of its own.
    sqlx::query!("SELECT pg_advisory_xact_lock(hashtextextended('holdfast claims', 0))")
        .execute(transaction.connection())
        .await?;
    // This reads the first few jobs of each disk, however many jobs wait.
    let rows = sqlx::query_as!(
        ClaimedRow,
        r#"WITH RECURSIVE disks AS (
            (SELECT disk FROM jobs WHERE node = $1 AND state = 'available' ORDER BY disk LIMIT 1)
            UNION ALL
            SELECT (SELECT j.disk FROM jobs j
                    WHERE j.node = $1 AND j.state = 'available' AND j.disk > d.disk
                    ORDER BY j.disk LIMIT 1)
            FROM disks d WHERE d.disk IS NOT NULL
        ), room AS (
            SELECT d.disk, CASE
                       WHEN d.disk = '' OR $6::bigint = 0 THEN $4::bigint
                       ELSE least($4, $6 - (
                           SELECT count(*) FROM jobs r
                           WHERE r.state = 'running' AND r.disk = d.disk
                               AND (r.node = $1 OR d.disk = ANY ($7::text[]))
                               AND r.priority BETWEEN $8 AND $9
                       ))
                   END AS free
            FROM disks d WHERE d.disk IS NOT NULL
        ), waiting AS (
            SELECT first.id, first.priority, room.disk FROM room, LATERAL (
                SELECT j.id, j.priority FROM jobs j
                WHERE j.node = $1 AND j.state = 'available' AND j.disk = room.disk
                    AND j.priority BETWEEN $8 AND $9 AND j.kind = ANY ($10)
                ORDER BY j.priority, j.id LIMIT greatest(room.free, 0) FOR UPDATE SKIP LOCKED
            ) first
        ), numbered AS (
            SELECT id, priority, disk,
                   count(*) FILTER (WHERE disk <> '') OVER (ORDER BY priority, id) AS number
            FROM waiting
        )
        UPDATE jobs SET state = 'running', attempt = attempt + 1, claimed_by = $2,
               heartbeat_at = now(), lease_expires_at = now() + make_interval(secs => $3),
               started_at = coalesce(started_at, now()), progress = NULL
        WHERE id = ANY (ARRAY(
            SELECT id FROM numbered
            WHERE disk = '' OR $5::bigint = 0 OR number <= $5 - (
                SELECT count(*) FROM jobs WHERE state = 'running' AND node = $1 AND disk <> ''
                    AND priority BETWEEN $8 AND $9)
            ORDER BY priority, id LIMIT $4
        ))
        RETURNING id, kind, server_id, backup_id, args, attempt, max_attempts, request_id,
                  traceparent"#,
        request.node.as_str(),
        request.worker,
        request.lease.as_secs_f64(),
        i64::try_from(request.count).unwrap_or(i64::MAX),
        i64::from(limits.per_node),
        i64::from(limits.per_disk),
        &shared_disks,
        first,
        last,
        &known_kinds(),
    )
    .fetch_all(transaction.connection())
    .await?;
    transaction.commit().await?;
    Ok(rows)
}

struct ClaimedRow {
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

impl ClaimedRow {
    fn into_claim(self, worker: &str) -> Result<Claim, Error> {
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
            trace: request.map(|request| TraceContext { request, parent }),
        })
    }
}

/// Returns the kinds of jobs that this version knows. Workers leave jobs of newer kinds to workers
/// of newer versions.
pub(super) fn known_kinds() -> Vec<String> {
    Vec::from(JobKind::ALL.map(|kind| kind.as_str().to_owned()))
}
