//! Schedules: begins the runs that are due, and brings each run to its next task.
//!
//! Only the leader does this. A second leader for a moment does no harm: rows are locked, and a due
//! time has one run. Every decision is one transaction, so a kill at any point loses nothing: the
//! next leader finds the run where it was.

mod backup;
mod step;

use futures_util::{StreamExt as _, stream};
use tokio_util::sync::CancellationToken;

use holdfast_db::Error;
use holdfast_db::schedules::{self, DueSchedule, NewRun};
use holdfast_domain::schedule::{ScheduleId, due_times};

use crate::context::Context;

/// How many schedules or runs one query reads.
const BATCH: u32 = 200;
/// How many of them are decided at the same time.
const CONCURRENCY: usize = 4;

/// Begins the runs that are due, and advances those that are ready, until nothing is left to do.
pub(crate) async fn advance(context: &Context, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        match advance_batch(context).await {
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

/// Returns how many schedules and runs have changed.
async fn advance_batch(context: &Context) -> Result<usize, Error> {
    let due = schedules::list_due(&context.database, BATCH).await?;
    let begun = stream::iter(due)
        .map(|schedule| begin_due(context, schedule))
        .buffer_unordered(CONCURRENCY)
        .collect::<Vec<Result<bool, Error>>>()
        .await;
    let ready = schedules::list_ready(&context.database, BATCH).await?;
    let advanced = stream::iter(ready)
        .map(|run| step::advance_run(context, run))
        .buffer_unordered(CONCURRENCY)
        .collect::<Vec<Result<bool, Error>>>()
        .await;
    let mut changed = 0;
    for result in begun.into_iter().chain(advanced) {
        // The others have been committed, each by itself.
        changed += usize::from(result?);
    }
    Ok(changed)
}

/// Inserts the run of a schedule that is due, and records the due times that it has missed.
async fn begin_due(context: &Context, schedule: ScheduleId) -> Result<bool, Error> {
    let mut transaction = context.database.begin().await?;
    let Some(due) = schedules::lock_due(&mut transaction, schedule).await? else {
        return Ok(false);
    };
    let DueSchedule {
        schedule,
        due_at,
        now,
    } = due;
    let timing = &schedule.settings.timing;
    let times = due_times(schedule.id, timing, due_at, now, schedule.is_processing);
    if !times.missed.is_empty() {
        let why = match schedule.is_processing {
            true => "The run before it had not ended.",
            false => "The service was not running at this time.",
        };
        schedules::insert_missed(&mut transaction, &schedule, &times.missed, why).await?;
        tracing::warn!(
            server = %schedule.server,
            schedule = %schedule.id,
            missed = times.missed.len(),
            why,
            "a schedule has missed its time"
        );
    }
    if let Some(due_at) = times.run {
        let run = NewRun {
            schedule: &schedule,
            due_at,
            is_manual: false,
        };
        schedules::insert_run(&mut transaction, &run).await?;
    }
    schedules::set_next(&mut transaction, schedule.id, times.next).await?;
    transaction.commit().await?;
    Ok(true)
}
