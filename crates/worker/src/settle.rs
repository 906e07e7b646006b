//! Writes how an attempt ended, under its claim.
//!
//! An archive that is finished is never thrown away because the database is
//! away: settling waits for it. Only when the database says that the claim no
//! longer holds is the archive rubbish, since another attempt makes its own.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use holdfast_db::jobs::{self, Claim, JobFailure};
use holdfast_db::{Error, Transaction, activity, backups, retention, servers};
use holdfast_domain::activity::{ActivityEvent, DeleteArgs, RequestOrigin};
use holdfast_domain::backup::{self, CompletedBackup};
use holdfast_domain::{BackupState, JobKind, retry};
use holdfast_storage::{ArchiveKey, StorageKey};

use crate::context::Context;
use holdfast_domain::error_chain::chain;

use crate::lease::Work;
use crate::metrics::Outcome;
use crate::outcome::{Done, NotDone};
use crate::retention::rotate;
use crate::verification;

/// How long a job is offered back before the lease is left to run out instead.
const RELEASE: Duration = Duration::from_secs(3);

pub(crate) async fn settle(context: &Arc<Context>, work: &Work, end: Result<Done, NotDone>) {
    let claim = &work.claim;
    match end {
        Ok(done) => persist(context, claim, || settle_done(context, work, &done)).await,
        Err(NotDone::Stopped) if work.is_lost() => context.metrics.ended(claim.kind, Outcome::Lost),
        Err(NotDone::Stopped) => match work.cancelled_by() {
            Some(by) => persist(context, claim, || cancel(context, claim, by)).await,
            None => release(context, claim).await,
        },
        Err(NotDone::Retry(failure, reason)) if claim.attempt < claim.max_attempts => {
            tracing::warn!(job = %claim.id, backup = %claim.backup, attempt = claim.attempt, error = failure.detail, "a job failed; it will be tried again");
            context.metrics.failed(claim.kind, reason);
            let wait = retry::backoff(claim.attempt, (context.jitter)());
            persist(context, claim, || async {
                let ours = jobs::retry(&context.database, claim, &failure, wait).await?;
                context
                    .metrics
                    .ended(claim.kind, held(ours, Outcome::Retried));
                Ok(())
            })
            .await;
        }
        Err(NotDone::Retry(failure, reason) | NotDone::Final(failure, reason)) => {
            context.metrics.failed(claim.kind, reason);
            persist(context, claim, || discard(context, claim, &failure)).await;
        }
    }
}

async fn settle_done(context: &Context, work: &Work, done: &Done) -> Result<(), Error> {
    let claim = &work.claim;
    let mut transaction = context.database.begin().await?;
    // The server before its job, as whoever asks for a backup has them.
    let rotating = match done {
        Done::Created(_) => retention::lock_rotating_server(&mut transaction, claim.server).await?,
        _ => None,
    };
    let ours = jobs::complete(&mut transaction, claim).await?;
    let ours = match done {
        _ if !ours => false,
        Done::Created(completed) => {
            record(
                &mut transaction,
                claim,
                ActivityEvent::Complete,
                None,
                json!({}),
            )
            .await?;
            let ours = backups::complete(&mut transaction, claim.backup, completed).await?;
            if let Some(server) = rotating {
                rotate(context, &mut transaction, &server).await?;
            }
            ours
        }
        Done::Deleted => {
            let args: Option<DeleteArgs> = serde_json::from_value(claim.args.clone()).ok();
            let (origin, reason) = args.map_or((None, None), |args| (args.origin, args.reason));
            let why = reason.map_or(json!({}), |reason| json!({ "reason": reason }));
            record(
                &mut transaction,
                claim,
                ActivityEvent::Delete,
                origin.as_ref(),
                why,
            )
            .await?;
            backups::delete(&mut transaction, claim.backup).await?;
            true
        }
        Done::ServerDeleted => {
            servers::end_deletion(&mut transaction, claim.server).await?;
            true
        }
        Done::Restored => {
            record(
                &mut transaction,
                claim,
                ActivityEvent::RestoreComplete,
                None,
                json!({}),
            )
            .await?;
            true
        }
        Done::Verified(verdict) => {
            verification::record(&mut transaction, claim, verdict).await?;
            true
        }
        Done::Nothing => true,
    };
    if ours {
        transaction.commit().await?;
        context.metrics.completed(claim.kind, work.took());
        if let Done::Created(completed) = done {
            context.metrics.stored(completed, work.source_bytes());
        }
        tracing::info!(job = %claim.id, kind = claim.kind.as_str(), backup = %claim.backup, "a job is done");
        return Ok(());
    }
    drop(transaction);
    context.metrics.ended(claim.kind, Outcome::Lost);
    match done {
        Done::Created(completed) => drop_orphan(context, claim, completed).await,
        Done::Restored
        | Done::Deleted
        | Done::ServerDeleted
        | Done::Verified(_)
        | Done::Nothing => Ok(()),
    }
}

/// Removes the archive of an attempt whose claim no longer holds, unless it was this very archive
/// that was recorded and only the answer was lost.
async fn drop_orphan(
    context: &Context,
    claim: &Claim,
    completed: &CompletedBackup,
) -> Result<(), Error> {
    let backup = backups::find(&context.database, claim.server, claim.backup).await?;
    if let Some(backup) = &backup
        && let BackupState::Completed(recorded) = &backup.state
        && recorded.attempt == completed.attempt
    {
        return Ok(());
    }
    tracing::warn!(job = %claim.id, backup = %claim.backup, attempt = claim.attempt, "the lease was lost before the archive was recorded; removing it");
    let key = ArchiveKey {
        server: claim.server,
        backup: claim.backup,
        attempt: claim.attempt,
    };
    for (name, disk) in context.disks.iter() {
        // A row that is gone, deleted since, does not say any more which disk it was.
        if backup.as_ref().is_some_and(|backup| backup.disk != *name) {
            continue;
        }
        for key in StorageKey::all(key) {
            if let Err(error) = disk.delete(key).await {
                tracing::warn!(disk = %name, %key, error = chain(&error), "an orphaned object could not be removed");
            }
        }
    }
    Ok(())
}

async fn discard(context: &Context, claim: &Claim, failure: &JobFailure) -> Result<(), Error> {
    let mut transaction = context.database.begin().await?;
    if !jobs::discard(&mut transaction, claim, failure).await? {
        // Whoever has it now may have removed what this attempt was working with.
        tracing::warn!(job = %claim.id, backup = %claim.backup, attempt = claim.attempt, error = failure.detail, "a job that was taken away meanwhile failed");
        context.metrics.ended(claim.kind, Outcome::Lost);
        return Ok(());
    }
    let why = json!({ "error": failure.sentence });
    match claim.kind {
        JobKind::CreateBackup => {
            backups::fail(&mut transaction, claim.backup, &failure.sentence).await?;
            record(&mut transaction, claim, ActivityEvent::Fail, None, why).await?;
        }
        JobKind::RestoreBackup => {
            record(
                &mut transaction,
                claim,
                ActivityEvent::RestoreFailed,
                None,
                why,
            )
            .await?;
        }
        // Nothing was done to the backup.
        JobKind::DeleteBackup => {}
        JobKind::VerifyBackup => {
            verification::record_none(context, &mut transaction, claim, failure).await?;
        }
        JobKind::DeleteServer => {
            servers::undo_deletion(&mut transaction, claim.server).await?;
        }
    }
    transaction.commit().await?;
    tracing::error!(job = %claim.id, kind = claim.kind.as_str(), backup = %claim.backup, attempt = claim.attempt, error = failure.detail, "a job failed for good");
    context.metrics.ended(claim.kind, Outcome::Discarded);
    Ok(())
}

async fn record(
    transaction: &mut Transaction,
    claim: &Claim,
    event: ActivityEvent,
    origin: Option<&RequestOrigin>,
    properties: Value,
) -> Result<(), Error> {
    activity::record(
        transaction,
        event,
        claim.server,
        claim.backup,
        origin,
        &properties,
    )
    .await
}

async fn cancel(context: &Context, claim: &Claim, by: &str) -> Result<(), Error> {
    let mut transaction = context.database.begin().await?;
    if !jobs::cancel(&mut transaction, claim).await? {
        context.metrics.ended(claim.kind, Outcome::Lost);
        return Ok(());
    }
    if claim.kind == JobKind::CreateBackup {
        let sentence = backup::cancelled_message(by);
        backups::fail(&mut transaction, claim.backup, &sentence).await?;
    }
    transaction.commit().await?;
    context.metrics.ended(claim.kind, Outcome::Cancelled);
    tracing::info!(job = %claim.id, backup = %claim.backup, by, "a job was called off");
    Ok(())
}

async fn release(context: &Context, claim: &Claim) {
    let outcome = tokio::time::timeout(RELEASE, jobs::release(&context.database, claim)).await;
    match outcome {
        Ok(Ok(ours)) => {
            context
                .metrics
                .ended(claim.kind, held(ours, Outcome::Released));
            tracing::info!(job = %claim.id, backup = %claim.backup, "gave a job back");
        }
        Ok(Err(error)) => {
            tracing::warn!(job = %claim.id, error = chain(&error), "could not give a job back; its lease will run out");
        }
        Err(_) => {
            tracing::warn!(job = %claim.id, "could not give a job back in time; its lease will run out")
        }
    }
}

/// What became of an attempt whose claim held, or did not.
fn held(ours: bool, outcome: Outcome) -> Outcome {
    match ours {
        true => outcome,
        false => Outcome::Lost,
    }
}

/// Repeats a write until the database takes it. A write that fails for another reason is given up:
/// then the lease runs out, and the job is tried again.
async fn persist<F>(context: &Context, claim: &Claim, write: impl Fn() -> F)
where
    F: Future<Output = Result<(), Error>>,
{
    let mut attempt = 1;
    loop {
        match write().await {
            Ok(()) => return,
            Err(error) if error.may_pass() => {
                let what = "a job is done and waits to be settled";
                context.outage.failed(what, &error);
                tokio::time::sleep(retry::backoff(attempt, 0.0).min(Duration::from_secs(5))).await;
                attempt += 1;
            }
            Err(error) => {
                tracing::error!(job = %claim.id, error = chain(&error), "a job could not be settled; its lease will run out");
                return;
            }
        }
    }
}
