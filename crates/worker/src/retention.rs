//! Has the backups go that nothing keeps: decides by the rules of `holdfast_domain::retention`, and puts their
//! deletions into the job table. No archive is touched here.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use holdfast_db::retention::{self as rows, RetentionBackup, RetentionServer};
use holdfast_db::{Database, Error, Transaction};
use holdfast_domain::retention::{RetentionPolicy, RetentionVerdict, decide};
use holdfast_domain::{DiskName, JobId, NodeName, ServerId};

use crate::context::Context;

/// How many servers are looked at together.
const SERVERS: u32 = 200;
/// How many deletions are asked for in one transaction.
const DELETIONS: usize = 200;

/// What decides, and where deletions are done.
#[derive(Clone, Debug)]
pub struct RetentionRun {
    /// What holds for servers that say nothing of their own.
    pub policy: RetentionPolicy,
    /// How many backups such a server may have.
    pub backups_per_server: u32,
    /// The disks that any node reaches; a folder is reached by its own node alone.
    pub shared_disks: BTreeSet<DiskName>,
}

/// What was decided about a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionDecision {
    /// The backup.
    pub backup: RetentionBackup,
    /// What becomes of it, and why.
    pub verdict: RetentionVerdict,
    /// The job that removes it.
    pub job: Option<JobId>,
}

/// Decides about the backups of all servers, or of one, and tells each decision. Unless it is only to be seen
/// (`is_dry`), what goes is asked for.
///
/// # Errors
/// When the database can't be used; what was asked for until then stays asked for.
pub async fn run(
    database: &Database,
    keeping: &RetentionRun,
    only: Option<ServerId>,
    is_dry: bool,
    now: DateTime<Utc>,
    mut told: impl FnMut(RetentionDecision),
) -> Result<(), Error> {
    let mut after = None;
    loop {
        let mut servers = match only {
            None => rows::list_servers(database, after, SERVERS).await?,
            Some(_) if after.is_some() => Vec::new(),
            Some(server) => {
                let mut transaction = database.begin().await?;
                let found = rows::lock_server(&mut transaction, server).await?;
                found.map(|(server, _)| server).into_iter().collect()
            }
        };
        let Some(last) = servers.last() else {
            return Ok(());
        };
        after = Some(last.id);
        let ids: Vec<ServerId> = servers.iter().map(|server| server.id).collect();
        let mut held: BTreeMap<ServerId, Vec<RetentionBackup>> = BTreeMap::new();
        for backup in rows::list_backups(database, &ids).await? {
            held.entry(backup.server).or_default().push(backup);
        }
        for server in servers.drain(..) {
            let Some(backups) = held.remove(&server.id) else {
                continue;
            };
            let decided = judge(keeping, &server, backups, now);
            let goes = |decided: &RetentionDecision| {
                matches!(decided.verdict, RetentionVerdict::Remove(_))
            };
            if is_dry || !decided.iter().any(goes) {
                decided.into_iter().for_each(&mut told);
                continue;
            }
            while !ask(database, keeping, &server, now, &mut told).await? {}
        }
    }
}

fn judge(
    keeping: &RetentionRun,
    server: &RetentionServer,
    backups: Vec<RetentionBackup>,
    now: DateTime<Utc>,
) -> Vec<RetentionDecision> {
    let candidates: Vec<_> = backups.iter().map(|backup| backup.candidate).collect();
    let limit = server.limit.unwrap_or(keeping.backups_per_server);
    let rotate_to = server.rotate.then_some(limit);
    let policy = keeping
        .policy
        .for_server(server.days, server.rules, rotate_to);
    let mut by_id: BTreeMap<_, RetentionBackup> = backups
        .into_iter()
        .map(|backup| (backup.candidate.id, backup))
        .collect();
    let decided = decide(&candidates, &policy, now).into_iter();
    decided
        .filter_map(|(candidate, verdict)| {
            Some(RetentionDecision {
                backup: by_id.remove(&candidate.id)?,
                verdict,
                job: None,
            })
        })
        .collect()
}

/// Decides once more, while nobody else decides about the server's backups, and asks for what goes. Says whether
/// that was all; what is told then is all of it.
async fn ask(
    database: &Database,
    keeping: &RetentionRun,
    server: &RetentionServer,
    now: DateTime<Utc>,
    told: &mut impl FnMut(RetentionDecision),
) -> Result<bool, Error> {
    let mut transaction = database.begin().await?;
    let Some((server, backups)) = rows::lock_server(&mut transaction, server.id).await? else {
        return Ok(true);
    };
    let mut decided = judge(keeping, &server, backups, now);
    let mut asked = 0;
    for decided in &mut decided {
        let RetentionVerdict::Remove(gone) = decided.verdict else {
            continue;
        };
        if asked == DELETIONS {
            break;
        }
        let node = keeping.node_of(&server, &decided.backup);
        let reason = format!("retention: {gone}");
        decided.job =
            rows::enqueue_deletion(&mut transaction, &decided.backup, node, &reason).await?;
        asked += 1;
    }
    transaction.commit().await?;
    // Should nothing have been asked for, the next look would find the same.
    let is_all = asked < DELETIONS || decided.iter().all(|decided| decided.job.is_none());
    let goes = |decided: &RetentionDecision| matches!(decided.verdict, RetentionVerdict::Remove(_));
    decided
        .into_iter()
        .filter(|decided| is_all || goes(decided) && decided.job.is_some())
        // What was locked or taken to work with in this very moment stays.
        .filter(|decided| !goes(decided) || decided.job.is_some())
        .for_each(told);
    Ok(is_all)
}

/// Has the oldest backups of a server go that has too many, in the transaction that has completed the newest.
pub(crate) async fn rotate(
    context: &Context,
    transaction: &mut Transaction,
    server: &RetentionServer,
) -> Result<(), Error> {
    let mut keeping = RetentionRun::of(context);
    // Age is another matter, and another time.
    keeping.policy = RetentionPolicy::default();
    let always = RetentionServer {
        days: None,
        ..server.clone()
    };
    let backups = rows::list_locked_backups(transaction, server.id).await?;
    for decided in judge(&keeping, &always, backups, (context.now)()) {
        if let RetentionVerdict::Remove(gone) = decided.verdict {
            let node = keeping.node_of(server, &decided.backup);
            let reason = format!("rotation: {gone}");
            rows::enqueue_deletion(transaction, &decided.backup, node, &reason).await?;
        }
    }
    Ok(())
}

impl RetentionRun {
    pub(crate) fn of(context: &Context) -> Self {
        let disks = context.disks.iter();
        let shared = disks.filter(|(_, disk)| !disk.is_of_one_node());
        Self {
            policy: context.options.keeping.policy,
            backups_per_server: context.options.keeping.backups_per_server,
            shared_disks: shared.map(|(name, _)| name.clone()).collect(),
        }
    }

    /// The node whose worker can remove a backup's archive: the server's own, or the one in whose folder it lies.
    fn node_of<'a>(
        &self,
        server: &'a RetentionServer,
        backup: &'a RetentionBackup,
    ) -> &'a NodeName {
        match &backup.node {
            Some(node) if !self.shared_disks.contains(&backup.disk) => node,
            _ => &server.node,
        }
    }
}
