//! What is due for the whole service: retention, pruning, and the disks that any node reaches.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use holdfast_db::{Error, maintenance};
use holdfast_domain::error_chain::chain;
use holdfast_domain::retention::RetentionVerdict;
use holdfast_storage::Disk;

use super::runs::{Ran, run_if_due};
use crate::context::Context;
use crate::retention::{self, RetentionRun};
use crate::sweep::{self, Sweep};

pub(super) async fn run_due(
    context: Arc<Context>,
    is_new: bool,
    may_sweep: bool,
    stop: CancellationToken,
) {
    let every = context.options.keeping.interval;
    let retention = stoppable(&stop, retain(&context));
    run_if_due(&context, "retention", "", every, retention).await;
    let pruning = stoppable(&stop, prune(&context));
    run_if_due(&context, "pruning", "", every, pruning).await;
    for (_, disk) in context.disks.iter() {
        if !disk.is_of_one_node() {
            sweep_disk(&context, disk, is_new, may_sweep, &stop).await;
        }
    }
}

/// Looks at what uploads have left on a disk, and from time to time at all of it. Whoever is new to this follows
/// somebody who may have been killed, and looks at once.
pub(super) async fn sweep_disk(
    context: &Context,
    disk: &Disk,
    is_new: bool,
    may_sweep: bool,
    stop: &CancellationToken,
) {
    let options = &context.options.keeping;
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
    let partials = async { Ran::from(sweep.run_partials().await) };
    let every = match is_new {
        true => Duration::ZERO,
        false => options.interval,
    };
    run_if_due(context, "partials", &subject, every, partials).await;
    if may_sweep && !options.sweep_interval.is_zero() && !stop.is_cancelled() {
        let whole = async { Ran::from(sweep.run().await) };
        run_if_due(context, "sweep", &subject, options.sweep_interval, whole).await;
    }
}

async fn retain(context: &Context) -> Ran {
    let keeping = RetentionRun::of(context);
    let mut counts = BTreeMap::new();
    let now = (context.now)();
    let ended = retention::run(&context.database, &keeping, None, false, now, |decided| {
        let name = match decided.verdict {
            RetentionVerdict::Keep(_) => "kept",
            RetentionVerdict::Remove(gone) => {
                tracing::info!(server = %decided.backup.server, backup = %decided.backup.candidate.id, reason = %gone, "a backup goes");
                "removed"
            }
        };
        *counts.entry(name).or_default() += 1;
    });
    let error = ended.await.err().map(|error| chain(&error));
    Ran { counts, error }
}

async fn prune(context: &Context) -> Ran {
    let mut ran = Ran::default();
    if let Err(error) = prune_all(context, &mut ran.counts).await {
        ran.error = Some(chain(&error));
    }
    ran
}

async fn prune_all(
    context: &Context,
    counts: &mut BTreeMap<&'static str, u64>,
) -> Result<(), Error> {
    let (database, options) = (&context.database, &context.options.keeping);
    let jobs = maintenance::prune_jobs(database, options.jobs, options.failed_jobs);
    counts.insert("jobs", jobs.await?);
    if let Some(kept) = options.activity {
        let lines = maintenance::prune_activity(database, kept).await?;
        counts.insert("activity", lines);
        let lines = maintenance::prune_operator_log(database, kept).await?;
        counts.insert("operations", lines);
    }
    counts.insert("rates", maintenance::prune_rate_counts(database).await?);
    let runs = maintenance::prune_runs(database, options.failed_jobs);
    counts.insert("runs", runs.await?);
    Ok(())
}

/// Does something that has no place to stop at by itself, and may be done again.
async fn stoppable(stop: &CancellationToken, work: impl Future<Output = Ran>) -> Ran {
    tokio::select! {
        ran = work => ran,
        () = stop.cancelled() => Ran {
            error: Some("it was stopped before its end".to_owned()),
            ..Ran::default()
        },
    }
}
