//! Claims that leave no more jobs running at once than a node and a disk may have.

use std::time::Duration;

use holdfast_domain::job::WorkerSlot;
use holdfast_domain::{DiskName, NodeName};

use super::{Claim, Claimed, known_kinds};
use crate::error::Error;
use crate::pool::Database;

/// How many jobs that move archives may run at once, over all workers; 0 means any number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConcurrencyLimits {
    /// On one node.
    pub per_node: u32,
    /// With one disk. A folder is another disk on each node.
    pub per_disk: u32,
    /// The disks that any node reaches.
    pub shared_disks: Vec<DiskName>,
}

impl ConcurrencyLimits {
    /// Says whether anything is bounded.
    pub fn is_on(&self) -> bool {
        self.per_node > 0 || self.per_disk > 0
    }
}

/// Claims jobs of a lane as [`claim`](super::claim) does, but only what the bounds have room for: jobs of a disk that is busy wait,
/// and those of other disks go past them.
///
/// What can wait is counted apart from the rest: a verification takes no place from a backup.
///
/// Claims with bounds wait for each other, for the moment that one takes: each sees what the one before has begun.
///
/// # Errors
/// When the database can't be written.
pub async fn claim_bounded(
    database: &Database,
    node: &NodeName,
    worker: &str,
    lease: Duration,
    limit: usize,
    bounds: &ConcurrencyLimits,
    lane: WorkerSlot,
) -> Result<Vec<Claim>, Error> {
    let (least, most) = lane.priorities().into_inner();
    let shared: Vec<String> = bounds
        .shared_disks
        .iter()
        .map(ToString::to_string)
        .collect();
    let mut transaction = database.begin().await?;
    // In a statement of its own: one that waited for the lock would still see what ran before the wait.
    sqlx::query!("SELECT pg_advisory_xact_lock(hashtextextended('holdfast claims', 0))")
        .execute(transaction.connection())
        .await?;
    // However many jobs wait, this reads the first few of each disk.
    let rows = sqlx::query_as!(
        Claimed,
        r#"WITH RECURSIVE disks AS (
            (SELECT disk FROM jobs WHERE node = $1 AND state = 'available' ORDER BY disk LIMIT 1)
            UNION ALL
            SELECT (SELECT j.disk FROM jobs j WHERE j.node = $1 AND j.state = 'available' AND j.disk > d.disk
                    ORDER BY j.disk LIMIT 1)
            FROM disks d WHERE d.disk IS NOT NULL
        ), room AS (
            SELECT d.disk, CASE WHEN d.disk = '' OR $6::bigint = 0 THEN $4::bigint ELSE least($4, $6 - (
                       SELECT count(*) FROM jobs r
                       WHERE r.state = 'running' AND r.disk = d.disk AND (r.node = $1 OR d.disk = ANY ($7::text[]))
                           AND r.priority BETWEEN $8 AND $9
                   )) END AS free
            FROM disks d WHERE d.disk IS NOT NULL
        ), waiting AS (
            SELECT first.id, first.priority, room.disk FROM room, LATERAL (
                SELECT j.id, j.priority FROM jobs j
                WHERE j.node = $1 AND j.state = 'available' AND j.disk = room.disk
                    AND j.priority BETWEEN $8 AND $9 AND j.kind = ANY ($10)
                ORDER BY j.priority, j.id LIMIT greatest(room.free, 0) FOR UPDATE SKIP LOCKED
            ) first
        ), numbered AS (
            SELECT id, priority, disk, count(*) FILTER (WHERE disk <> '') OVER (ORDER BY priority, id) AS number
            FROM waiting
        )
        UPDATE jobs SET state = 'running', attempt = attempt + 1, claimed_by = $2, heartbeat_at = now(),
               lease_expires_at = now() + make_interval(secs => $3), started_at = coalesce(started_at, now()),
               progress = NULL
        WHERE id = ANY (ARRAY(
            SELECT id FROM numbered
            WHERE disk = '' OR $5::bigint = 0 OR number <= $5 - (
                SELECT count(*) FROM jobs WHERE state = 'running' AND node = $1 AND disk <> ''
                    AND priority BETWEEN $8 AND $9)
            ORDER BY priority, id LIMIT $4
        ))
        RETURNING id, kind, server_id, backup_id, args, attempt, max_attempts, request_id, traceparent"#,
        node.as_str(),
        worker,
        lease.as_secs_f64(),
        i64::try_from(limit).unwrap_or(i64::MAX),
        i64::from(bounds.per_node),
        i64::from(bounds.per_disk),
        &shared,
        least,
        most,
        &known_kinds(),
    )
    .fetch_all(transaction.connection())
    .await?;
    transaction.commit().await?;
    rows.into_iter().map(|row| row.by(worker)).collect()
}
