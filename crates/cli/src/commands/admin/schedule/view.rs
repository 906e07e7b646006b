//! Schedules and their runs as JSON values.

use std::iter;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use holdfast_domain::schedule::{Schedule, ScheduleRun};

use crate::commands::admin::date;

/// How many of the next runs are shown.
const NEXT_RUNS: usize = 5;

/// A schedule in a list.
pub(super) fn row(schedule: &Schedule) -> Value {
    let settings = &schedule.settings;
    json!({
        "id": schedule.id,
        "server": schedule.server,
        "name": settings.name.as_str(),
        "cron": settings.timing.cron.fields().to_string(),
        "timezone": settings.timing.timezone.name(),
        "is_active": settings.is_active,
        "is_default": schedule.is_default,
        "next_run_at": schedule.next_run_at.map(date),
        "last_run_at": schedule.last_run_at.map(date),
        "last_result": schedule.last_result.as_ref().map(|result| result.state.as_str()),
    })
}

/// A schedule with all its settings and its tasks.
pub(super) fn whole(schedule: &Schedule) -> Value {
    let settings = &schedule.settings;
    let timing = &settings.timing;
    let tasks = schedule.tasks.iter().map(|stored| {
        json!({
            "sequence": stored.sequence,
            "action": stored.task.action.kind().as_str(),
            "payload": stored.task.action.payload(),
            "time_offset": stored.task.time_offset_seconds,
            "continue_on_failure": stored.task.continue_on_failure,
        })
    });
    json!({
        "id": schedule.id,
        "server": schedule.server,
        "name": settings.name.as_str(),
        "cron": timing.cron.fields().to_string(),
        "timezone": timing.timezone.name(),
        "jitter_seconds": timing.jitter_seconds,
        "missed": timing.missed.as_str(),
        "keep": settings.keep.map(|rules| rules.to_string()),
        "is_active": settings.is_active,
        "only_when_online": settings.only_when_online,
        "is_default": schedule.is_default,
        "is_processing": schedule.is_processing,
        "next_run_at": schedule.next_run_at.map(date),
        "next_run_local": schedule.next_run_at.map(|time| local(schedule, time)),
        "last_run_at": schedule.last_run_at.map(date),
        "last_result": schedule.last_result.as_ref().map(|result| result.state.as_str()),
        "created_at": date(schedule.created_at),
        "tasks": tasks.collect::<Vec<Value>>(),
    })
}

/// A schedule as [`whole`], with its next and its latest runs.
pub(super) fn with_runs(schedule: &Schedule, runs: &[ScheduleRun], now: DateTime<Utc>) -> Value {
    let mut value = whole(schedule);
    let next = next_runs(schedule, now)
        .map(|begin| json!({ "local": local(schedule, begin), "utc": date(begin) }));
    value["next_runs"] = next.collect();
    let runs = runs.iter().map(|run| {
        json!({
            "run": run.id,
            "due_at": date(run.due_at),
            "manual": run.is_manual,
            "state": run.state.as_str(),
            "started_at": run.started_at.map(date),
            "finished_at": run.finished_at.map(date),
            "backup": run.backup,
            "error": run.error,
        })
    });
    value["runs"] = runs.collect();
    value
}

/// Returns when the next runs begin, with the jitter. The first one may be overdue.
fn next_runs(schedule: &Schedule, now: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
    let timing = &schedule.settings.timing;
    let delay = timing.delay(schedule.id);
    let later = move |due: &DateTime<Utc>| timing.cron.next_after(now.max(*due), timing.timezone);
    let due = iter::successors(schedule.next_due_at, later);
    due.take(NEXT_RUNS).map(move |due| due + delay)
}

/// Formats a time as clocks in the schedule's time zone show it.
fn local(schedule: &Schedule, time: DateTime<Utc>) -> String {
    let shown = schedule.settings.timing.timezone.show(time);
    shown.to_rfc3339_opts(SecondsFormat::Secs, false)
}
