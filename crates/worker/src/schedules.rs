//! Schedules: begins the runs that are due, and brings each run to its next task.
//!
//! Only the leader does this. A second leader for a moment does no harm: rows are locked, and a due
//! time has one run. Every decision is one transaction, so a kill at any point loses nothing: the
//! next leader finds the run where it was.

mod backup;
mod step;

use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, stream};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use holdfast_db::schedules::{self, ActiveRun, DueSchedule, NewRun};
use holdfast_db::{Error, Transaction, activity, servers};
use holdfast_domain::ServerId;
use holdfast_domain::activity::ActivityEvent;
use holdfast_domain::schedule::{Schedule, ScheduleId, due_times};

use crate::context::Context;

/// How many schedules or runs one query reads.
const BATCH: u32 = 200;
/// How many of them are decided at the same time.
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
    let begun = stream::iter(due)
        .map(|(schedule, server)| begin_due(context, schedule, server))
        .buffer_unordered(CONCURRENCY)
        .collect::<Vec<Result<bool, Error>>>()
        .await;
    let ready = schedules::list_ready(&context.database, BATCH).await?;
    let advanced = stream::iter(ready)
        .map(|(run, server)| step::advance_run(context, run, server))
        .buffer_unordered(CONCURRENCY)
        .collect::<Vec<Result<bool, Error>>>()
        .await;
    let mut changed = 0;
    let mut failed = None;
    for result in begun.into_iter().chain(advanced) {
        match result {
            Ok(is_changed) => changed += usize::from(is_changed),
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

/// Inserts the run of a schedule that is due with its first task, and records the due times that it
/// has missed. The server is locked first, as in every transaction.
async fn begin_due(
    context: &Context,
    schedule: ScheduleId,
    server: ServerId,
) -> Result<bool, Error> {
    let mut transaction = context.database.begin().await?;
    let server = servers::lock_and_find(&mut transaction, server).await?;
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
        record_missed(&mut transaction, &schedule, &times.missed).await?;
    }
    schedules::set_next(&mut transaction, schedule.id, timing, times.next).await?;
    if let Some(due_at) = times.run {
        let run = NewRun {
            schedule: &schedule,
            due_at,
            is_manual: false,
        };
        if let Some(id) = schedules::insert_run(&mut transaction, &run).await? {
            let run = ActiveRun::new(id, &run);
            step::decide(context, &mut transaction, server, run).await?;
        }
    }
    transaction.commit().await?;
    Ok(true)
}

async fn record_missed(
    transaction: &mut Transaction,
    schedule: &Schedule,
    missed: &[DateTime<Utc>],
) -> Result<(), Error> {
    let why = match schedule.is_processing {
        true => "The run before it had not ended.",
        false => "The service was not running at this time.",
    };
    schedules::insert_missed(transaction, schedule, missed, why).await?;
    let (event, properties) = (
        ActivityEvent::ScheduleMiss,
        json!({ "missed": missed.len(), "since": missed.first(), "error": why }),
    );
    let (server, id) = (schedule.server, schedule.id);
    activity::record_schedule(transaction, event, server, id, None, &properties).await?;
    tracing::warn!(
        %server,
        schedule = %id,
        missed = missed.len(),
        why,
        "a schedule has missed its time"
    );
    Ok(())
}
