//! The backup of a schedule: begins it within the server's limits, and deletes older ones
//! afterwards.

use serde_json::json;
use uuid::Uuid;

use holdfast_db::activity::NewEntry;
use holdfast_db::backups::NewBackup;
use holdfast_db::jobs::NewJob;
use holdfast_db::schedules::ActiveRun;
use holdfast_db::{Error, Transaction, activity, backups, jobs, retention, schedules};
use holdfast_domain::activity::ActivityEvent;
use holdfast_domain::estimate::{ExpectedSpace, LatestArchive, NextArchive};
use holdfast_domain::ignore::IgnorePatterns;
use holdfast_domain::limit::{
    CreateLimits, CreateRefused, ServerBusy, ServerLoad, StorageBudget, Throttle, check_create,
    check_space,
};
use holdfast_domain::retention::{CandidateState, RetentionPolicy, RetentionVerdict, decide};
use holdfast_domain::schedule::ScheduleId;
use holdfast_domain::{BackupId, BackupName, DiskName, JobId, JobKind, Server};

use crate::context::Context;
use crate::retention::RetentionRun;

/// How often a task is tried.
pub(super) const ATTEMPTS: u32 = 3;

/// What became of a backup that a schedule should create.
pub(super) enum BackupStart {
    /// It was enqueued.
    Begun(JobId, BackupId),
    /// A backup or restore of the server runs. The run waits for its end.
    Busy,
    /// It can't be created, for this reason: a sentence for users.
    Refused(String),
}

/// Creates the backup and its job, within the limits of the server. At the limit, a schedule may
/// create one more backup if it can then delete one of its own.
pub(super) async fn begin(
    context: &Context,
    transaction: &mut Transaction,
    server: &Server,
    load: &ServerLoad,
    run: &ActiveRun,
    patterns: &str,
) -> Result<BackupStart, Error> {
    let options = &context.options;
    let own = retention::list_backups_of_schedule(transaction, server.id, run.schedule).await?;
    let own = own.iter().filter(|backup| {
        let candidate = &backup.candidate;
        matches!(candidate.state, CandidateState::Completed { .. })
            && !candidate.is_locked
            && !candidate.is_in_use
    });
    let own = u64::try_from(own.count()).unwrap_or(u64::MAX);
    let rotates = server.limits.rotate;
    let load = ServerLoad {
        rotatable: if rotates { load.rotatable } else { own },
        ..*load
    };
    let latest = backups::latest_archive_in(transaction, server.id).await?;
    let expected = expected_space(context, server, latest.as_ref());
    let disk = disk_of(context, server);
    let space = backups::free_and_reserved_bytes(transaction, &server.node, disk).await?;
    if let Err(refused) = check(context, server, &load, expected, space) {
        return Ok(refusal(refused));
    }
    let Ok(ignored) = IgnorePatterns::parse(patterns.lines(), options.max_ignored_bytes) else {
        let why = "The ignore patterns of the task are invalid.";
        return Ok(BackupStart::Refused(why.to_owned()));
    };
    let planned = PlannedBackup {
        id: BackupId(Uuid::new_v4()),
        ignored,
        disk,
        reserved_bytes: expected.stored_bytes,
    };
    let name = BackupName::from_time((context.now)());
    let backup = planned.row(server, run.schedule, &name);
    backups::insert(transaction, &backup).await?;
    let job = NewJob {
        kind: JobKind::CreateBackup,
        server: server.id,
        backup: backup.id,
        node: &server.node,
        args: json!({}),
        max_attempts: ATTEMPTS,
        run: Some(run.id),
    };
    let job = jobs::enqueue(transaction, &job).await?;
    let entry = planned.activity(server, run.schedule);
    activity::record_all(transaction, &[entry]).await?;
    Ok(BackupStart::Begun(job, backup.id))
}

/// A backup that a schedule creates.
pub(super) struct PlannedBackup<'a> {
    pub(super) id: BackupId,
    pub(super) ignored: IgnorePatterns,
    pub(super) disk: &'a DiskName,
    pub(super) reserved_bytes: u64,
}

impl PlannedBackup<'_> {
    /// Returns its row.
    pub(super) fn row<'a>(
        &'a self,
        server: &'a Server,
        schedule: ScheduleId,
        name: &'a BackupName,
    ) -> NewBackup<'a> {
        NewBackup {
            id: self.id,
            server: server.id,
            name,
            ignored_files: self.ignored.lines(),
            disk: self.disk,
            node: &server.node,
            reserved_bytes: self.reserved_bytes,
            is_locked: false,
            is_full: false,
            created_by: server.owner,
            schedule: Some(schedule),
            managed_by: None,
        }
    }

    /// Returns its entry in the audit log.
    pub(super) fn activity(&self, server: &Server, schedule: ScheduleId) -> NewEntry {
        NewEntry {
            event: ActivityEvent::Start,
            server: server.id,
            backup: self.id,
            schedule: None,
            properties: json!({ "locked": false, "schedule": schedule }),
        }
    }
}

/// Checks that a schedule may create a backup now. `space` are the free bytes of its disk, and how
/// many of them are reserved.
pub(super) fn check(
    context: &Context,
    server: &Server,
    load: &ServerLoad,
    expected: ExpectedSpace,
    space: (Option<u64>, u64),
) -> Result<(), CreateRefused> {
    let limits = CreateLimits {
        backups: backup_limit(context, server),
        throttle: Throttle {
            count: 0,
            seconds: 0,
        },
        rotate: true,
    };
    check_create(load, &limits)?;
    let options = &context.options;
    let (free_bytes, pending_bytes) = space;
    let budget = StorageBudget {
        free_bytes,
        pending_bytes,
        reserve_bytes: options.disk_reserve_bytes,
        quota_bytes: server
            .limits
            .quota_bytes
            .unwrap_or(options.quota_bytes_per_server),
        archived_bytes: load.archived_bytes,
    };
    check_space(expected, &budget)
}

/// Returns the disk of a server's next backup.
pub(super) fn disk_of<'a>(context: &'a Context, server: &'a Server) -> &'a DiskName {
    server.disk.as_ref().unwrap_or(context.disks.default_name())
}

/// Returns the space that a server's next backup is expected to need, given its latest archive.
pub(super) fn expected_space(
    context: &Context,
    server: &Server,
    latest: Option<&LatestArchive>,
) -> ExpectedSpace {
    let options = &context.options;
    let largest = server.limits.max_backup_bytes;
    let next = NextArchive {
        disk: disk_of(context, server),
        node: &server.node,
        is_full: false,
        size_bytes_max: largest.unwrap_or(options.max_backup_bytes),
        reuse: options.reuse,
        reread_every: options.reread_every,
    };
    latest.map_or_else(ExpectedSpace::default, |latest| next.expect_after(latest))
}

fn refusal(refused: CreateRefused) -> BackupStart {
    let sentence = match refused {
        CreateRefused::Busy(ServerBusy::BackingUp | ServerBusy::Restoring) => {
            return BackupStart::Busy;
        }
        CreateRefused::Busy(ServerBusy::Installing) => {
            "The server was being installed, so no backup was created."
        }
        CreateRefused::Busy(ServerBusy::Suspended) => {
            "The server was suspended, so no backup was created."
        }
        CreateRefused::Throttled(_) | CreateRefused::TooMany => {
            "The server has reached its limit of backups, and the schedule has no backup that it \
             may delete."
        }
        CreateRefused::NoSpace => "There was not enough space for a backup.",
    };
    BackupStart::Refused(sentence.to_owned())
}

/// Deletes backups of the schedule after one has completed: by the schedule's retention rules, and
/// the oldest one if the server is above its limit.
pub(super) async fn retain(
    context: &Context,
    transaction: &mut Transaction,
    server: &Server,
    schedule: ScheduleId,
) -> Result<(), Error> {
    let all = retention::list_locked_backups(transaction, server.id).await?;
    let total = all.iter().filter(|b| b.candidate.is_counted()).count();
    let own = retention::list_backups_of_schedule(transaction, server.id, schedule).await?;
    let own_count = own.iter().filter(|b| b.candidate.is_counted()).count();
    // The other backups use their part of the limit.
    let limit = usize::try_from(backup_limit(context, server)).unwrap_or(usize::MAX);
    let above = total.saturating_sub(limit);
    let rotate_to = (above > 0).then(|| {
        // The newest one stays in any case.
        u32::try_from(own_count.saturating_sub(above).max(1)).unwrap_or(u32::MAX)
    });
    let keep = schedules::keep_rules(transaction, schedule).await?;
    let policy = RetentionPolicy {
        days: 0,
        keep_rules: keep.unwrap_or_default(),
        rotate_to,
    };
    let run = RetentionRun::of(context);
    let candidates: Vec<_> = own.iter().map(|backup| backup.candidate).collect();
    for (candidate, verdict) in decide(&candidates, &policy, (context.now)()) {
        let RetentionVerdict::Remove(why) = verdict else {
            continue;
        };
        if let Some(backup) = own
            .iter()
            .find(|backup| backup.candidate.id == candidate.id)
        {
            let node = run.node_of(&server.node, backup);
            let reason = format!("schedule: {why}");
            retention::enqueue_deletion(transaction, backup, node, &reason).await?;
        }
    }
    Ok(())
}

pub(super) fn backup_limit(context: &Context, server: &Server) -> u32 {
    let default = context.options.maintenance.backups_per_server;
    server.limits.backups.unwrap_or(default)
}
