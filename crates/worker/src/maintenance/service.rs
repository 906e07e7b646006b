//! The tasks of the service's leader: retention, pruning, and the shared disks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use holdfast_db::{Error, maintenance, schedules};
use holdfast_domain::error_chain::chain;
use holdfast_domain::retention::RetentionVerdict;
use holdfast_storage::Disk;

use super::runs::{RunResult, run_if_due};
use crate::context::Context;
use crate::retention::{self, RetentionRun};
use crate::sweep::{self, Sweep};

pub(super) async fn run_due(
    context: Arc<Context>,
    is_new: bool,
    may_sweep: bool,
    stop: CancellationToken,
) {
    let every = context.options.maintenance.interval;
    let retention = stoppable(&stop, retain(&context));
    run_if_due(&context, "retention", "", every, retention).await;
    let pruning = stoppable(&stop, prune(&context));
    run_if_due(&context, "pruning", "", every, pruning).await;
    for (_, disk) in context.disks.iter() {
        if !disk.is_node_local() {
            sweep_disk(&context, disk, is_new, may_sweep, &stop).await;
        }
    }
}

/// Removes partial uploads from a disk, and sweeps the whole disk if that is due. A new leader
/// removes partial uploads at once, since the previous one may have been killed.
pub(super) async fn sweep_disk(
    context: &Context,
    disk: &Disk,
    is_new: bool,
    may_sweep: bool,
    stop: &CancellationToken,
) {
    let options = &context.options.maintenance;
    let sweep = Sweep {
        database: &context.database,
        disk,
        node: &context.options.node,
        age: options.orphan_age,
        removes_unknown: false,
        is_dry: false,
        now: (context.now)(),
        stop,
    };
    let subject = sweep::subject(disk, &context.options.node);
    let partials = async { RunResult::from(sweep.run_partials().await) };
    let every = match is_new {
        true => Duration::ZERO,
        false => options.interval,
    };
    run_if_due(context, "partials", &subject, every, partials).await;
    if may_sweep && !options.sweep_interval.is_zero() && !stop.is_cancelled() {
        let whole = async { RunResult::from(sweep.run().await) };
        run_if_due(context, "sweep", &subject, options.sweep_interval, whole).await;
    }
}

async fn retain(context: &Context) -> RunResult {
    let retention = RetentionRun::of(context);
    let mut counts = BTreeMap::new();
    let now = (context.now)();
    let ended = retention::run(
        &context.database,
        &retention,
        None,
        false,
        now,
        |decision| {
            let name = match decision.verdict {
                RetentionVerdict::Keep(_) => "kept",
                RetentionVerdict::Remove(reason) => {
                    tracing::info!(
                        server = %decision.backup.server,
                        backup = %decision.backup.candidate.id,
                        %reason,
                        "retention deletes a backup"
                    );
                    "removed"
                }
            };
            *counts.entry(name).or_default() += 1;
        },
    );
    let error = ended.await.err().map(|error| chain(&error));
    RunResult { counts, error }
}

async fn prune(context: &Context) -> RunResult {
    let mut result = RunResult::default();
    if let Err(error) = prune_all(context, &mut result.counts).await {
        result.error = Some(chain(&error));
    }
    result
}

async fn prune_all(
    context: &Context,
    counts: &mut BTreeMap<&'static str, u64>,
) -> Result<(), Error> {
    let (database, options) = (&context.database, &context.options.maintenance);
    let jobs = maintenance::prune_jobs(database, options.jobs, options.failed_jobs);
    counts.insert("jobs", jobs.await?);
    if let Some(age) = options.activity {
        let rows = maintenance::prune_activity(database, age).await?;
        counts.insert("activity", rows);
        let rows = maintenance::prune_operator_log(database, age).await?;
        counts.insert("operations", rows);
    }
    counts.insert("rates", maintenance::prune_rate_counts(database).await?);
    let runs = maintenance::prune_runs(database, options.failed_jobs);
    counts.insert("runs", runs.await?);
    let scheduled = schedules::prune_runs(database, options.jobs, options.failed_jobs);
    counts.insert("scheduled_runs", scheduled.await?);
    Ok(())
}

/// Runs work that does not watch `stop` itself, and that may be interrupted and repeated.
async fn stoppable(stop: &CancellationToken, work: impl Future<Output = RunResult>) -> RunResult {
    tokio::select! {
        result = work => result,
        () = stop.cancelled() => RunResult {
            error: Some("it was stopped before it completed".to_owned()),
            ..RunResult::default()
        },
    }
}
