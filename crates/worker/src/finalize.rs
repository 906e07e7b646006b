//! Records how an attempt of a job ended, under its claim.
//!
//! A finished archive must never be thrown away because of a database outage: recording waits for
//! the database. The archive is removed only if the database says that the claim no longer holds.
//! Another attempt then writes its own archive.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use holdfast_db::jobs::{self, Claim, JobFailure};
use holdfast_db::{Error, Transaction, activity, backups, retention, servers};
use holdfast_domain::activity::{ActivityEvent, RequestOrigin};
use holdfast_domain::backup::{self, CompletedBackup};
use holdfast_domain::error_chain::chain;
use holdfast_domain::job::DeleteArgs;
use holdfast_domain::{BackupState, JobKind, retry};
use holdfast_storage::{ArchiveKey, StorageKey};

use crate::context::Context;
use crate::lease::ActiveJob;
use crate::metrics::AttemptOutcome;
use crate::outcome::{JobError, JobSuccess};
use crate::retention::rotate;
use crate::verification;

/// How long releasing a job may take. After that, its lease expires instead.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(3);

/// Records the result of an attempt. Retries while the database is unavailable.
pub(crate) async fn finalize(
    context: &Arc<Context>,
    job: &ActiveJob,
    result: Result<JobSuccess, JobError>,
) {
    let claim = &job.claim;
    match result {
        Ok(success) => {
            persist(context, claim, || record_success(context, job, &success)).await;
        }
        Err(JobError::Stopped) if job.is_lost() => context
            .metrics
            .count_attempt(claim.kind, AttemptOutcome::Lost),
        Err(JobError::Stopped) => match job.cancelled_by() {
            Some(by) => persist(context, claim, || cancel(context, claim, by)).await,
            None => release(context, claim).await,
        },
        Err(JobError::Retryable(failure, reason)) if claim.attempt < claim.max_attempts => {
            tracing::warn!(
                job = %claim.id,
                backup = %claim.backup,
                attempt = claim.attempt,
                error = failure.detail,
                "an attempt of a job failed; it will be retried",
            );
            context.metrics.count_failure(claim.kind, reason);
            let wait = retry::backoff(claim.attempt, (context.jitter)());
            persist(context, claim, || async {
                let is_claimed = jobs::retry(&context.database, claim, &failure, wait).await?;
                context
                    .metrics
                    .count_attempt(claim.kind, outcome_of(is_claimed, AttemptOutcome::Retried));
                Ok(())
            })
            .await;
        }
        Err(JobError::Retryable(failure, reason) | JobError::Permanent(failure, reason)) => {
            context.metrics.count_failure(claim.kind, reason);
            persist(context, claim, || discard(context, claim, &failure)).await;
        }
    }
}

async fn record_success(
    context: &Context,
    job: &ActiveJob,
    success: &JobSuccess,
) -> Result<(), Error> {
    let claim = &job.claim;
    let mut transaction = context.database.begin().await?;
    if write_success(context, &mut transaction, claim, success).await? {
        transaction.commit().await?;
        context.metrics.count_completed(claim.kind, job.elapsed());
        if let JobSuccess::Created(completed, mode) = success {
            context.metrics.count_stored(completed, job.source_bytes());
            context.metrics.count_reuse(completed, *mode);
        }
        tracing::info!(
            job = %claim.id,
            kind = claim.kind.as_str(),
            backup = %claim.backup,
            "completed a job"
        );
        return Ok(());
    }
    drop(transaction);
    context
        .metrics
        .count_attempt(claim.kind, AttemptOutcome::Lost);
    match success {
        JobSuccess::Created(completed, _) => remove_orphan(context, claim, completed).await,
        JobSuccess::Restored(_)
        | JobSuccess::Deleted
        | JobSuccess::ServerDeleted
        | JobSuccess::Verified(_)
        | JobSuccess::TaskRun
        | JobSuccess::NothingToDo => Ok(()),
    }
}

/// Writes the job's result in its transaction. Returns `false` if the claim no longer holds; the
/// transaction must then be rolled back.
async fn write_success(
    context: &Context,
    transaction: &mut Transaction,
    claim: &Claim,
    success: &JobSuccess,
) -> Result<bool, Error> {
    // The server is locked before its job, as in a request for a backup, so that the two cannot
    // deadlock.
    let server_to_rotate = match success {
        JobSuccess::Created(..) => {
            retention::lock_rotating_server(transaction, claim.server).await?
        }
        _ => None,
    };
    if !jobs::complete(transaction, claim).await? {
        return Ok(false);
    }
    match success {
        JobSuccess::Created(completed, _) => {
            let event = ActivityEvent::Complete;
            record(transaction, claim, event, None, json!({})).await?;
            let is_recorded = backups::complete(transaction, claim.backup, completed).await?;
            if let Some(server) = server_to_rotate {
                rotate(context, transaction, &server).await?;
            }
            return Ok(is_recorded);
        }
        JobSuccess::Deleted => {
            let args: Option<DeleteArgs> = serde_json::from_value(claim.args.clone()).ok();
            let (origin, reason) = args.map_or((None, None), |args| (args.origin, args.reason));
            let properties = reason.map_or(json!({}), |reason| json!({ "reason": reason }));
            let event = ActivityEvent::Delete;
            record(transaction, claim, event, origin.as_ref(), properties).await?;
            backups::delete(transaction, claim.backup).await?;
        }
        JobSuccess::ServerDeleted => servers::end_deletion(transaction, claim.server).await?,
        JobSuccess::Restored(notes) => {
            jobs::record_notes(transaction, claim, notes).await?;
            let event = ActivityEvent::RestoreComplete;
            record(transaction, claim, event, None, json!({})).await?;
        }
        JobSuccess::Verified(verdict) => verification::record(transaction, claim, verdict).await?,
        JobSuccess::TaskRun | JobSuccess::NothingToDo => {}
    }
    Ok(true)
}

/// Removes the archive of an attempt whose claim no longer holds. Keeps it if this very archive was
/// recorded and only the database's reply was lost.
async fn remove_orphan(
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
    tracing::warn!(
        job = %claim.id,
        backup = %claim.backup,
        attempt = claim.attempt,
        "the lease was lost before the archive was recorded; removing it",
    );
    let key = ArchiveKey {
        server: claim.server,
        backup: claim.backup,
        attempt: claim.attempt,
    };
    for (name, disk) in context.disks.iter() {
        // If the backup's row was deleted, its disk is unknown: try all of them.
        if backup.as_ref().is_some_and(|backup| backup.disk != *name) {
            continue;
        }
        for key in StorageKey::all(key) {
            if let Err(error) = disk.delete(key).await {
                tracing::warn!(
                    disk = %name,
                    %key,
                    error = chain(&error),
                    "an orphaned object could not be removed",
                );
            }
        }
    }
    Ok(())
}

async fn discard(context: &Context, claim: &Claim, failure: &JobFailure) -> Result<(), Error> {
    let mut transaction = context.database.begin().await?;
    if !jobs::discard(&mut transaction, claim, failure).await? {
        // The worker that holds the job now may have removed the files of this attempt.
        tracing::warn!(
            job = %claim.id,
            backup = %claim.backup,
            attempt = claim.attempt,
            error = failure.detail,
            "a job failed after its lease was lost",
        );
        context
            .metrics
            .count_attempt(claim.kind, AttemptOutcome::Lost);
        return Ok(());
    }
    let why = json!({ "error": failure.sentence });
    match claim.kind {
        JobKind::CreateBackup => {
            backups::fail(&mut transaction, claim.backup, &failure.sentence).await?;
            record(&mut transaction, claim, ActivityEvent::Fail, None, why).await?;
        }
        JobKind::RestoreBackup => {
            let event = ActivityEvent::RestoreFailed;
            record(&mut transaction, claim, event, None, why).await?;
        }
        // The backup is unchanged. The run of a task is told by a trigger.
        JobKind::DeleteBackup | JobKind::RunTask => {}
        JobKind::VerifyBackup => {
            verification::record_inconclusive(context, &mut transaction, claim, failure).await?;
        }
        JobKind::DeleteServer => {
            servers::undo_deletion(&mut transaction, claim.server).await?;
        }
    }
    transaction.commit().await?;
    tracing::error!(
        job = %claim.id,
        kind = claim.kind.as_str(),
        backup = %claim.backup,
        attempt = claim.attempt,
        error = failure.detail,
        "a job failed permanently",
    );
    context
        .metrics
        .count_attempt(claim.kind, AttemptOutcome::Discarded);
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
        context
            .metrics
            .count_attempt(claim.kind, AttemptOutcome::Lost);
        return Ok(());
    }
    if claim.kind == JobKind::CreateBackup {
        let sentence = backup::cancelled_message(by);
        backups::fail(&mut transaction, claim.backup, &sentence).await?;
    }
    transaction.commit().await?;
    context
        .metrics
        .count_attempt(claim.kind, AttemptOutcome::Cancelled);
    tracing::info!(job = %claim.id, backup = %claim.backup, by, "cancelled a job");
    Ok(())
}

async fn release(context: &Context, claim: &Claim) {
    let released = jobs::release(&context.database, claim);
    match tokio::time::timeout(RELEASE_TIMEOUT, released).await {
        Ok(Ok(is_claimed)) => {
            context
                .metrics
                .count_attempt(claim.kind, outcome_of(is_claimed, AttemptOutcome::Released));
            tracing::info!(job = %claim.id, backup = %claim.backup, "released a job");
        }
        Ok(Err(error)) => {
            tracing::warn!(
                job = %claim.id,
                error = chain(&error),
                "a job could not be released; its lease will expire",
            );
        }
        Err(_) => {
            tracing::warn!(
                job = %claim.id,
                "a job could not be released in time; its lease will expire",
            );
        }
    }
}

/// Returns `outcome`, or [`AttemptOutcome::Lost`] if the claim no longer held.
fn outcome_of(is_claimed: bool, outcome: AttemptOutcome) -> AttemptOutcome {
    match is_claimed {
        true => outcome,
        false => AttemptOutcome::Lost,
    }
}

/// Repeats a write during an outage of the database. Gives up on other errors: the lease then
/// expires, and the job is tried again.
async fn persist<F>(context: &Context, claim: &Claim, write: impl Fn() -> F)
where
    F: Future<Output = Result<(), Error>>,
{
    let mut attempt = 1;
    loop {
        match write().await {
            Ok(()) => return,
            Err(error) if error.is_temporary() => {
                let what = "the result of a job waits to be recorded";
                context.database_health.record_failure(what, &error);
                tokio::time::sleep(retry::backoff(attempt, 0.0).min(Duration::from_secs(5))).await;
                attempt += 1;
            }
            Err(error) => {
                tracing::error!(
                    job = %claim.id,
                    error = chain(&error),
                    "the result of a job could not be recorded; its lease will expire",
                );
                return;
            }
        }
    }
}
