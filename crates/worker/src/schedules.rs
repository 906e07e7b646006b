//! Schedules: begins the runs that are due, and brings each run to its next task.
//!
//! Only the leader does this. A second leader for a moment does no harm: rows are locked, and a due
//! time has one run. Every decision is one transaction, so a kill at any point loses nothing: the
//! next leader finds the run where it was.

mod backup;
mod batch;
mod step;

use futures_util::{StreamExt as _, stream};
use tokio_util::sync::CancellationToken;

use holdfast_db::{Error, schedules};
use holdfast_domain::ServerId;
use holdfast_domain::error_chain::chain;
use holdfast_domain::schedule::ScheduleId;

use crate::context::Context;

/// How many schedules or runs one query reads.
const BATCH: u32 = 200;
/// How many runs one transaction begins. Their servers are locked meanwhile.
const RUNS_PER_TRANSACTION: usize = 50;
/// How many transactions decide at the same time.
const CONCURRENCY: usize = 4;

/// Begins the runs that are due, advances those that are ready, and gives servers the default
/// schedule, until nothing is left to do.
pub(crate) async fn advance(context: &Context, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        let changed = match advance_batch(context).await {
            // A default schedule that is due must begin its run before the settings change it.
            Ok(0) => apply_default(context).await,
            changed => changed,
        };
        match changed {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                let what = "schedules could not be advanced";
                context.database_health.record_failure(what, &error);
                return;
            }
        }
    }
}

/// Returns how many schedules and runs have changed. An error of one does not keep the others from
/// being decided; if nothing has changed, it is returned.
async fn advance_batch(context: &Context) -> Result<usize, Error> {
    let due = schedules::list_due(&context.database, BATCH).await?;
    let due: Vec<_> = due
        .chunks(RUNS_PER_TRANSACTION)
        .map(<[_]>::to_vec)
        .collect();
    let begun = stream::iter(due)
        .map(|due| begin_due(context, due))
        .buffer_unordered(CONCURRENCY)
        .collect::<Vec<Result<usize, Error>>>()
        .await;
    let ready = schedules::list_ready(&context.database, BATCH).await?;
    let advanced = stream::iter(ready)
        .map(|(run, server)| step::advance_run(context, run, server))
        .buffer_unordered(CONCURRENCY)
        .map(|advanced| advanced.map(usize::from))
        .collect::<Vec<Result<usize, Error>>>()
        .await;
    let mut changed = 0;
    let mut failed = None;
    for result in begun.into_iter().chain(advanced) {
        match result {
            Ok(count) => changed += count,
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) if changed == 0 => Err(error),
        _ => Ok(changed),
    }
}

/// Gives one batch of servers the default schedule of the settings. Returns how many have changed.
async fn apply_default(context: &Context) -> Result<usize, Error> {
    let options = &context.options;
    let changed = schedules::apply_default(
        &context.database,
        options.default_schedule.as_ref(),
        options.maintenance.backups_per_server,
        BATCH,
    )
    .await?;
    if changed > 0 {
        tracing::info!(
            servers = changed,
            is_on = options.default_schedule.is_some(),
            "applied the default schedule to servers"
        );
    }
    Ok(changed)
}

/// Begins the runs of some schedules. If that fails, each is tried by itself, so that one whose row
/// cannot be read does not stop the others.
async fn begin_due(context: &Context, due: Vec<(ScheduleId, ServerId)>) -> Result<usize, Error> {
    let failed = match batch::begin(context, &due).await {
        Err(error) if due.len() > 1 && !error.is_temporary() => error,
        begun => return begun,
    };
    tracing::debug!(error = chain(&failed), "schedules are begun one by one");
    let mut changed = 0;
    for one in due {
        match batch::begin(context, &[one]).await {
            Ok(begun) => changed += begun,
            Err(error) => {
                let (schedule, server) = one;
                tracing::error!(
                    %schedule,
                    %server,
                    error = chain(&error),
                    "a schedule could not be begun"
                );
            }
        }
    }
    Ok(changed)
}
