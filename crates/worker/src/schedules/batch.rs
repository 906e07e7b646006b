//! Begins the runs of schedules that are due at the same time: one transaction for many of them,
//! with a few statements for all.
//!
//! A run whose first task can begin at once gets its job in the same transaction. Others wait, and
//! `step` decides about each by itself: at a limit, for a server that is busy, or without tasks.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use holdfast_db::activity::NewEntry;
use holdfast_db::jobs::NewJob;
use holdfast_db::schedules::{self, DueDecision};
use holdfast_db::servers::{self, ServerFacts};
use holdfast_db::{Error, Transaction, activity, backups, jobs};
use holdfast_domain::activity::ActivityEvent;
use holdfast_domain::ignore::IgnorePatterns;
use holdfast_domain::schedule::{RunId, Schedule, ScheduleId, due_times};
use holdfast_domain::{BackupId, BackupName, DiskName, JobKind, NodeName, ServerId};

use super::backup::{self, ATTEMPTS, PlannedBackup};
use super::step::TaskStart;
use crate::context::Context;

/// A run to be begun.
struct FirstTask<'a> {
    run: RunId,
    schedule: &'a Schedule,
    due_at: Option<DateTime<Utc>>,
    facts: &'a ServerFacts,
    start: TaskStart,
    backup: Option<PlannedBackup<'a>>,
}

/// Begins the runs of schedules that are due. Returns for how many schedules it has decided.
pub(super) async fn begin(
    context: &Context,
    due: &[(ScheduleId, ServerId)],
) -> Result<usize, Error> {
    let mut transaction = context.database.begin().await?;
    let due = schedules::lock_due(&mut transaction, due).await?;
    if due.is_empty() {
        return Ok(0);
    }
    let mut decisions = Vec::new();
    for due in &due {
        let schedule = &due.schedule;
        let timing = &schedule.settings.timing;
        let is_busy = schedule.is_processing;
        let times = due_times(schedule.id, timing, due.due_at, due.now, is_busy);
        if !times.missed.is_empty() {
            record_missed(&mut transaction, schedule, &times.missed).await?;
        }
        decisions.push(DueDecision {
            schedule,
            run: times.run,
            next: times.next,
        });
    }
    let runs = schedules::insert_runs(&mut transaction, &decisions).await?;
    begin_first_tasks(context, &mut transaction, &decisions, &runs).await?;
    transaction.commit().await?;
    Ok(due.len())
}

async fn begin_first_tasks(
    context: &Context,
    transaction: &mut Transaction,
    decisions: &[DueDecision<'_>],
    runs: &[(RunId, ScheduleId)],
) -> Result<(), Error> {
    let decisions_of: BTreeMap<ScheduleId, &DueDecision<'_>> = decisions
        .iter()
        .map(|decision| (decision.schedule.id, decision))
        .collect();
    let servers: BTreeSet<ServerId> = decisions
        .iter()
        .map(|decision| decision.schedule.server)
        .collect();
    let servers: Vec<ServerId> = servers.into_iter().collect();
    let facts = servers::facts(transaction, &servers).await?;
    let mut idle: BTreeMap<ServerId, &ServerFacts> = facts
        .iter()
        .filter(|facts| !facts.has_run)
        .map(|facts| (facts.server.id, facts))
        .collect();
    let mut first = Vec::new();
    for (run, schedule) in runs {
        let Some(decision) = decisions_of.get(schedule) else {
            continue;
        };
        let schedule = decision.schedule;
        // A second run of the server waits for the first one.
        let Some(facts) = idle.remove(&schedule.server) else {
            continue;
        };
        if let Some(start) = TaskStart::first_of(schedule) {
            first.push(FirstTask {
                run: *run,
                schedule,
                due_at: decision.run,
                facts,
                start,
                backup: None,
            });
        }
    }
    let first = reserve_space(context, transaction, first).await?;
    insert(context, transaction, &first).await
}

/// Decides about the backups. Those that can't begin at once are left out.
async fn reserve_space<'a>(
    context: &'a Context,
    transaction: &mut Transaction,
    first: Vec<FirstTask<'a>>,
) -> Result<Vec<FirstTask<'a>>, Error> {
    // The disks are locked in their order, so that two leaders cannot deadlock.
    let mut disks: BTreeMap<(&NodeName, &DiskName), (Option<u64>, u64)> = BTreeMap::new();
    for task in &first {
        if let TaskStart::Backup(_) = task.start {
            let server = &task.facts.server;
            disks.insert((&server.node, backup::disk_of(context, server)), (None, 0));
        }
    }
    for ((node, disk), space) in &mut disks {
        *space = backups::free_and_reserved_bytes(transaction, node, disk).await?;
    }
    let mut kept = Vec::new();
    for mut task in first {
        let TaskStart::Backup(patterns) = &task.start else {
            kept.push(task);
            continue;
        };
        let facts = task.facts;
        let server = &facts.server;
        let disk = backup::disk_of(context, server);
        let Some(space) = disks.get_mut(&(&server.node, disk)) else {
            continue;
        };
        let expected = backup::expected_space(context, server, facts.latest.as_ref());
        let limit = u64::from(backup::backup_limit(context, server));
        // At the limit, the schedule may have a backup to delete.
        let is_below_limit = facts.load.backups < limit;
        let is_allowed = backup::check(context, server, &facts.load, expected, *space).is_ok();
        let ignored = IgnorePatterns::parse(patterns.lines(), context.options.max_ignored_bytes);
        if let Ok(ignored) = ignored
            && is_below_limit
            && is_allowed
        {
            space.1 = space.1.saturating_add(expected.stored_bytes);
            task.backup = Some(PlannedBackup {
                id: BackupId(Uuid::new_v4()),
                ignored,
                disk,
                reserved_bytes: expected.stored_bytes,
            });
            kept.push(task);
        }
    }
    Ok(kept)
}

/// Inserts the jobs and backups, and makes the runs running ones.
async fn insert(
    context: &Context,
    transaction: &mut Transaction,
    first: &[FirstTask<'_>],
) -> Result<(), Error> {
    let name = BackupName::from_time((context.now)());
    let mut new_backups = Vec::new();
    let mut new_jobs = Vec::new();
    let mut entries = Vec::new();
    for task in first {
        let server = &task.facts.server;
        let (schedule, backup) = (task.schedule, task.backup.as_ref());
        if let Some(backup) = backup {
            new_backups.push(backup.row(server, schedule.id, &name));
        }
        let (kind, args) = match &task.start {
            TaskStart::Backup(_) => (JobKind::CreateBackup, json!({})),
            TaskStart::Run(args) => (JobKind::RunTask, json!(args)),
        };
        new_jobs.push(NewJob {
            kind,
            server: server.id,
            backup: backup.map_or(BackupId::NONE, |backup| backup.id),
            node: &server.node,
            args,
            max_attempts: ATTEMPTS,
            run: Some(task.run),
        });
        entries.push(NewEntry {
            event: ActivityEvent::ScheduleStart,
            server: server.id,
            backup: BackupId::NONE,
            schedule: Some(schedule.id),
            properties: json!({ "due_at": task.due_at }),
        });
        entries.extend(backup.map(|backup| backup.activity(server, schedule.id)));
    }
    backups::insert_all(transaction, &new_backups).await?;
    let jobs = jobs::enqueue_all(transaction, &new_jobs).await?;
    let begun: Vec<_> = first
        .iter()
        .filter_map(|task| {
            let job = jobs.get(&task.run)?;
            Some((task.run, *job, task.backup.as_ref().map(|backup| backup.id)))
        })
        .collect();
    schedules::begin_first_tasks(transaction, &begun).await?;
    activity::record_all(transaction, &entries).await
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
