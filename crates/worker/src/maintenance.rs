//! What nobody asks for but somebody must do.
//!
//! One worker leads: it promotes jobs whose time has come, rescues those whose worker is gone, and does what is due
//! for the whole service (`service`). One worker of each node does what only that node can see (`node`). Both hold a
//! lock that ends with them; then another takes over. Two that lead for a moment do no harm: everything here may be
//! done twice, and at once.

mod leadership;
mod node;
mod runs;
mod service;
mod staging;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use holdfast_db::{jobs, maintenance};
use holdfast_domain::JobState;
use holdfast_domain::error_chain::chain;
use serde_json::json;

use crate::context::Context;
use crate::{registration, verification};
use leadership::Leader;

/// How often jobs whose time has come are looked for.
const PROMOTE: Duration = Duration::from_secs(1);
/// After how many of those looks leases are looked at.
const RESCUE_EVERY: u32 = 3;
/// After how many of those looks this worker says that it is there.
const ANNOUNCE_EVERY: u32 = 5;
/// After how many of those looks archives to verify are looked for.
const VERIFY_EVERY: u32 = 60;
/// How long whole disks are left alone after a start: who restarts often must not read them all the time.
const SETTLE: Duration = Duration::from_secs(300);

/// Maintains until `shutdown`.
pub(crate) async fn maintain(context: Arc<Context>, shutdown: CancellationToken) {
    registration::announce(&context).await;
    staging::recover(&context, &shutdown).await;
    let begun = Instant::now();
    let settled = SETTLE.min(context.options.keeping.sweep_interval);
    let mut leader = Leader::new("leader".to_owned());
    let mut of_node = Leader::new(format!("node {}", context.options.node));
    let mut round: u32 = 0;
    while !shutdown.is_cancelled() {
        let may_sweep = begun.elapsed() >= settled;
        if leader.is_held(&context).await {
            promote(&context).await;
            if round.is_multiple_of(RESCUE_EVERY) {
                rescue(&context).await;
            }
            let is_new = leader.is_new();
            leader
                .keep_busy(|stop| service::run_due(Arc::clone(&context), is_new, may_sweep, stop));
        }
        if round.is_multiple_of(ANNOUNCE_EVERY) {
            registration::announce(&context).await;
            if of_node.is_held(&context).await {
                let is_new = of_node.is_new();
                of_node
                    .keep_busy(|stop| node::run_due(Arc::clone(&context), is_new, may_sweep, stop));
            }
        }
        if round.is_multiple_of(VERIFY_EVERY) {
            verification::schedule(&context).await;
        }
        round = round.wrapping_add(1);
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(PROMOTE) => {}
        }
    }
    tokio::join!(leader.resign(), of_node.resign());
}

async fn promote(context: &Context) {
    match jobs::promote(&context.database).await {
        Ok(()) => context.outage.over(),
        Err(error) => {
            let what = "scheduled jobs could not be promoted";
            context.outage.failed(what, &error);
        }
    }
}

async fn rescue(context: &Context) {
    if !context.outage.leases_count(context.options.lease) {
        return;
    }
    let rescued = match jobs::rescue(&context.database).await {
        Ok(rescued) if rescued.is_empty() => return,
        Ok(rescued) => rescued,
        Err(error) => {
            let what = "expired leases could not be looked at";
            context.outage.failed(what, &error);
            return;
        }
    };
    for job in &rescued {
        context.metrics.rescued(job);
        tracing::warn!(
            job = %job.id,
            kind = job.kind.as_str(),
            backup = %job.backup,
            attempt = job.attempt,
            worker = job.worker,
            state = job.state.as_str(),
            "took a job away from a worker that stopped responding"
        );
    }
    let ended = rescued
        .iter()
        .filter(|job| job.state == JobState::Discarded);
    let counts = json!({ "rescued": rescued.len(), "given_up": ended.count() });
    let worker = &context.worker;
    let noted = maintenance::record_run(&context.database, "rescue", "", worker, &counts);
    if let Err(error) = noted.await {
        tracing::warn!(error = chain(&error), "a rescue could not be written down");
    }
}
