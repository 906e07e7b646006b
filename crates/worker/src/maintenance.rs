//! Maintenance: promotes scheduled jobs, rescues jobs with an expired lease, and runs the tasks
//! that are due.
//!
//! One worker leads the service (`service`), and one worker leads each node (`node`), for tasks
//! that need the node's files. A leader holds a lock that is freed when it dies; another worker
//! then takes over. Two leaders at the same time do no harm: every task may run twice, even
//! concurrently.

mod leadership;
mod node;
mod runs;
mod service;
mod staging;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio_util::sync::CancellationToken;

use holdfast_db::{backups, jobs, maintenance};
use holdfast_domain::error_chain::chain;
use holdfast_domain::{DiskName, JobState};

use self::leadership::Leader;
use crate::context::Context;
use crate::{panel, registration, schedules, verification};

/// Time between two rounds. Each round promotes scheduled jobs that are due.
const ROUND_INTERVAL: Duration = Duration::from_secs(1);
/// After how many rounds expired leases are rescued.
const RESCUE_EVERY: u32 = 3;
/// After how many rounds this worker registers again.
const REGISTER_EVERY: u32 = 5;
/// After how many rounds due verifications are scheduled.
const VERIFY_EVERY: u32 = 60;
/// How long after the start no full sweep runs, so that frequent restarts do not read whole disks
/// again and again.
const SWEEP_DELAY: Duration = Duration::from_secs(300);

/// Runs maintenance until `shutdown`.
pub(crate) async fn maintain(context: Arc<Context>, shutdown: CancellationToken) {
    registration::register(&context).await;
    staging::recover(&context, &shutdown).await;
    let started_at = Instant::now();
    let sweep_delay = SWEEP_DELAY.min(context.options.maintenance.sweep_interval);
    let mut leader = Leader::new("leader".to_owned());
    let mut node_leader = Leader::new(format!("node {}", context.options.node));
    let mut round: u32 = 0;
    while !shutdown.is_cancelled() {
        let may_sweep = started_at.elapsed() >= sweep_delay;
        if leader.try_lead(&context).await {
            promote(&context).await;
            if round.is_multiple_of(RESCUE_EVERY) {
                rescue(&context).await;
            }
            leader.start_side_work(|stop| {
                let context = Arc::clone(&context);
                async move { schedules::advance(&context, &stop).await }
            });
            let is_new = leader.is_new();
            leader
                .start_work(|stop| service::run_due(Arc::clone(&context), is_new, may_sweep, stop));
        }
        if round.is_multiple_of(REGISTER_EVERY) {
            registration::register(&context).await;
            if node_leader.try_lead(&context).await {
                if context.options.wings.is_some() {
                    node_leader.start_side_work(|stop| {
                        panel::servers::sync_all(Arc::clone(&context), stop)
                    });
                }
                let is_new = node_leader.is_new();
                node_leader.start_work(|stop| {
                    node::run_due(Arc::clone(&context), is_new, may_sweep, stop)
                });
            }
        }
        if round.is_multiple_of(VERIFY_EVERY) {
            verification::schedule(&context).await;
        }
        round = round.wrapping_add(1);
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(ROUND_INTERVAL) => {}
        }
    }
    tokio::join!(leader.resign(), node_leader.resign());
}

async fn promote(context: &Context) {
    match jobs::promote(&context.database).await {
        Ok(()) => context.database_health.record_success(),
        Err(error) => {
            let what = "scheduled jobs could not be put into the queue";
            context.database_health.record_failure(what, &error);
        }
    }
    let is_node_local = |disk: &DiskName| match context.disks.get(disk) {
        Ok(disk) => disk.is_node_local(),
        // A disk that is not configured here is the local disk of another node.
        Err(_) => true,
    };
    if let Err(error) = backups::enqueue_deletions(&context.database, is_node_local).await {
        let what = "deletions that the panel requested could not be put into the queue";
        context.database_health.record_failure(what, &error);
    }
}

async fn rescue(context: &Context) {
    if !context.database_health.may_rescue(context.options.lease) {
        return;
    }
    let rescued = match jobs::rescue(&context.database).await {
        Ok(rescued) if rescued.is_empty() => return,
        Ok(rescued) => rescued,
        Err(error) => {
            let what = "jobs with expired leases could not be rescued";
            context.database_health.record_failure(what, &error);
            return;
        }
    };
    for job in &rescued {
        context.metrics.count_rescued(job);
        tracing::warn!(
            job = %job.id,
            kind = job.kind.as_str(),
            backup = %job.backup,
            attempt = job.attempt,
            worker = job.worker,
            state = job.state.as_str(),
            "rescued a job whose worker stopped responding"
        );
    }
    let discarded = rescued
        .iter()
        .filter(|job| job.state == JobState::Discarded);
    let counts = json!({ "rescued": rescued.len(), "given_up": discarded.count() });
    let worker = &context.worker;
    let noted = maintenance::record_run(&context.database, "rescue", "", worker, &counts);
    if let Err(error) = noted.await {
        tracing::warn!(
            error = chain(&error),
            "the rescue of a job could not be recorded"
        );
    }
}
