//! Deletes the backups that no retention rule keeps: decides by `holdfast_domain::retention`, and
//! adds deletion jobs to the job table. This module must never touch an archive.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use holdfast_db::retention::{self as rows, RetentionBackup, RetentionServer};
use holdfast_db::{Database, Error, Transaction};
use holdfast_domain::retention::{RetentionPolicy, RetentionVerdict, decide};
use holdfast_domain::{DiskName, JobId, NodeName, ServerId};

use crate::context::Context;

/// How many servers one query reads.
const SERVERS_PER_PAGE: u32 = 200;
/// How many deletion jobs one transaction adds.
const DELETIONS_PER_TRANSACTION: usize = 200;

/// The options of a retention run.
#[derive(Clone, Debug)]
pub struct RetentionRun {
    /// The policy of servers without their own.
    pub policy: RetentionPolicy,
    /// The backup limit of servers without their own.
    pub backups_per_server: u32,
    /// The disks that every node can reach. Only its own node can reach a local disk.
    pub shared_disks: BTreeSet<DiskName>,
}

/// The decision about one backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionDecision {
    /// The backup.
    pub backup: RetentionBackup,
    /// Whether the backup is kept, and why.
    pub verdict: RetentionVerdict,
    /// The job that deletes the backup, unless it is kept or the run is dry.
    pub job: Option<JobId>,
}

/// Decides about the backups of all servers, or only of the server `only`, and passes each decision
/// to `report`. Adds the deletion jobs unless `is_dry`.
///
/// # Errors
/// If the database fails. Jobs that were added before that remain.
pub async fn run(
    database: &Database,
    options: &RetentionRun,
    only: Option<ServerId>,
    is_dry: bool,
    now: DateTime<Utc>,
    mut report: impl FnMut(RetentionDecision),
) -> Result<(), Error> {
    let mut after = None;
    loop {
        let mut servers = match only {
            None => rows::list_servers(database, after, SERVERS_PER_PAGE).await?,
            Some(_) if after.is_some() => Vec::new(),
            Some(server) => {
                let mut transaction = database.begin().await?;
                let locked = rows::lock_server(&mut transaction, server).await?;
                locked.map(|(server, _)| server).into_iter().collect()
            }
        };
        let Some(last) = servers.last() else {
            return Ok(());
        };
        after = Some(last.id);
        let ids: Vec<ServerId> = servers.iter().map(|server| server.id).collect();
        let mut backups_of: BTreeMap<ServerId, Vec<RetentionBackup>> = BTreeMap::new();
        for backup in rows::list_backups(database, &ids).await? {
            backups_of.entry(backup.server).or_default().push(backup);
        }
        for server in servers.drain(..) {
            let Some(backups) = backups_of.remove(&server.id) else {
                continue;
            };
            let decisions = decide_all(options, &server, backups, now);
            if is_dry || !decisions.iter().any(is_removal) {
                decisions.into_iter().for_each(&mut report);
                continue;
            }
            while !remove_batch(database, options, &server, now, &mut report).await? {}
        }
    }
}

fn is_removal(decision: &RetentionDecision) -> bool {
    matches!(decision.verdict, RetentionVerdict::Remove(_))
}

/// Applies the server's policy to its backups.
fn decide_all(
    options: &RetentionRun,
    server: &RetentionServer,
    backups: Vec<RetentionBackup>,
    now: DateTime<Utc>,
) -> Vec<RetentionDecision> {
    let candidates: Vec<_> = backups.iter().map(|backup| backup.candidate).collect();
    let limit = server.limit.unwrap_or(options.backups_per_server);
    let rotate_to = server.rotate.then_some(limit);
    let policy = options
        .policy
        .for_server(server.days, server.rules, rotate_to);
    let mut by_id: BTreeMap<_, RetentionBackup> = backups
        .into_iter()
        .map(|backup| (backup.candidate.id, backup))
        .collect();
    let verdicts = decide(&candidates, &policy, now).into_iter();
    verdicts
        .filter_map(|(candidate, verdict)| {
            Some(RetentionDecision {
                backup: by_id.remove(&candidate.id)?,
                verdict,
                job: None,
            })
        })
        .collect()
}

/// Locks the server's backups, decides again, and adds up to [`DELETIONS_PER_TRANSACTION`] deletion
/// jobs. Returns `true` after the last batch, which also reports the backups that are kept.
async fn remove_batch(
    database: &Database,
    options: &RetentionRun,
    server: &RetentionServer,
    now: DateTime<Utc>,
    report: &mut impl FnMut(RetentionDecision),
) -> Result<bool, Error> {
    let mut transaction = database.begin().await?;
    let Some((server, backups)) = rows::lock_server(&mut transaction, server.id).await? else {
        return Ok(true);
    };
    let mut decisions = decide_all(options, &server, backups, now);
    let mut tried = 0;
    for decision in &mut decisions {
        let RetentionVerdict::Remove(why) = decision.verdict else {
            continue;
        };
        if tried == DELETIONS_PER_TRANSACTION {
            break;
        }
        let node = options.node_of(&server.node, &decision.backup);
        let reason = format!("retention: {why}");
        decision.job =
            rows::enqueue_deletion(&mut transaction, &decision.backup, node, &reason).await?;
        tried += 1;
    }
    transaction.commit().await?;
    // If no job was added, another batch would not add one either.
    let is_last = tried < DELETIONS_PER_TRANSACTION
        || decisions.iter().all(|decision| decision.job.is_none());
    decisions
        .into_iter()
        .filter(|decision| is_last || is_removal(decision) && decision.job.is_some())
        // A backup that was locked or put to use meanwhile is kept.
        .filter(|decision| !is_removal(decision) || decision.job.is_some())
        .for_each(report);
    Ok(is_last)
}

/// Deletes the oldest backups of a server that has too many, in the transaction that completes the
/// newest one.
pub(crate) async fn rotate(
    context: &Context,
    transaction: &mut Transaction,
    server: &RetentionServer,
) -> Result<(), Error> {
    let mut options = RetentionRun::of(context);
    // Rotation counts backups only. The age rules apply in the regular run.
    options.policy = RetentionPolicy::default();
    let server_without_days = RetentionServer {
        days: None,
        ..server.clone()
    };
    let backups = rows::list_locked_backups(transaction, server.id).await?;
    for decision in decide_all(&options, &server_without_days, backups, (context.now)()) {
        if let RetentionVerdict::Remove(why) = decision.verdict {
            let node = options.node_of(&server.node, &decision.backup);
            let reason = format!("rotation: {why}");
            rows::enqueue_deletion(transaction, &decision.backup, node, &reason).await?;
        }
    }
    Ok(())
}

impl RetentionRun {
    pub(crate) fn of(context: &Context) -> Self {
        let disks = context.disks.iter();
        let shared = disks.filter(|(_, disk)| !disk.is_node_local());
        Self {
            policy: context.options.maintenance.retention_policy,
            backups_per_server: context.options.maintenance.backups_per_server,
            shared_disks: shared.map(|(name, _)| name.clone()).collect(),
        }
    }

    /// Returns the node whose worker can delete the archive: the node of the local disk that holds
    /// it, or else the server's node.
    pub(crate) fn node_of<'a>(
        &self,
        server: &'a NodeName,
        backup: &'a RetentionBackup,
    ) -> &'a NodeName {
        match &backup.node {
            Some(node) if !self.shared_disks.contains(&backup.disk) => node,
            _ => server,
        }
    }
}
