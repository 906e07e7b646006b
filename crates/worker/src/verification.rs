//! Schedules verifications of archives, and records their results.

use std::time::Duration;

use serde_json::json;

use holdfast_db::backups::{
    ArchiveLocation, VERIFY_ATTEMPTS, VerificationOutcome, record_verification,
    schedule_verifications,
};
use holdfast_db::jobs::{self, Claim, JobFailure, NewJob};
use holdfast_db::{Error, Transaction, activity, backups};
use holdfast_domain::activity::ActivityEvent;
use holdfast_domain::backup::VerificationState;
use holdfast_domain::error_chain::chain;
use holdfast_domain::job::VerifyArgs;
use holdfast_domain::{BackupId, JobId, JobKind, ServerId};

use crate::context::Context;
use crate::verify_archive::ArchiveVerdict;

/// After how long an inconclusive verification is repeated, if the disk has a schedule.
const RETRY_INTERVAL: Duration = Duration::from_secs(86_400);

/// Adds a job for each verification that is due, for the disks that this node can reach.
pub(crate) async fn schedule(context: &Context) {
    let node = &context.options.node;
    for (name, disk) in context.disks.iter() {
        let Some(every) = context.options.verify_every.get(name) else {
            continue;
        };
        // On a disk that is away, every verification would be inconclusive.
        if disk.check().await.is_err() {
            continue;
        }
        let location = ArchiveLocation {
            disk: name,
            disk_node: disk.is_node_local().then_some(node),
        };
        match schedule_verifications(&context.database, location, node, *every).await {
            Ok(None | Some(0)) => {}
            Ok(Some(count)) => {
                tracing::info!(disk = %name, count, "scheduled verifications")
            }
            Err(error) => {
                context
                    .database_health
                    .record_failure("verifications could not be scheduled", &error);
                return;
            }
        }
    }
}

/// Enqueues a verification of a backup whose archive seems to be damaged. Only logs a failure: the
/// schedule of verifications will find out, too.
pub(crate) async fn enqueue(context: &Context, server: ServerId, backup: BackupId) {
    let enqueued = async {
        let mut transaction = context.database.begin().await?;
        if backups::find_for_update(&mut transaction, server, backup)
            .await?
            .is_none()
        {
            return Ok(());
        }
        let job = NewJob {
            kind: JobKind::VerifyBackup,
            server,
            backup,
            node: &context.options.node,
            args: json!(VerifyArgs::default()),
            max_attempts: VERIFY_ATTEMPTS,
            run: None,
        };
        jobs::enqueue(&mut transaction, &job).await?;
        transaction.commit().await
    };
    match enqueued.await {
        // One is queued already.
        Ok(()) | Err(Error::Conflict { .. }) => {}
        Err(error) => tracing::warn!(
            %backup,
            error = chain(&error),
            "a verification could not be enqueued",
        ),
    }
}

/// Records the result of a verification, in the transaction that completes its job.
pub(crate) async fn record(
    transaction: &mut Transaction,
    claim: &Claim,
    verdict: &ArchiveVerdict,
) -> Result<(), Error> {
    let args: VerifyArgs = serde_json::from_value(claim.args.clone()).unwrap_or_default();
    let verified = VerifiedBackup {
        server: claim.server,
        backup: claim.backup,
        job: Some(claim.id),
        is_requested: args.origin.is_some(),
    };
    record_verdict(transaction, verified, verdict).await?;
    Ok(())
}

/// The backup whose archive was verified, and the reason.
#[derive(Clone, Copy, Debug)]
pub struct VerifiedBackup {
    /// The server.
    pub server: ServerId,
    /// The backup.
    pub backup: BackupId,
    /// The job that verified it, unless a command did.
    pub job: Option<JobId>,
    /// Whether a user requested it. Then an event is recorded for every result, not only for
    /// failures.
    pub is_requested: bool,
}

/// Records the result of a verification in the backup's row and in the audit log. Returns `false`
/// if the backup no longer exists.
///
/// # Errors
/// If the database fails.
pub async fn record_verdict(
    transaction: &mut Transaction,
    verified: VerifiedBackup,
    verdict: &ArchiveVerdict,
) -> Result<bool, Error> {
    let VerifiedBackup { server, backup, .. } = verified;
    let (state, sentence) = match verdict {
        ArchiveVerdict::Intact { note } => (VerificationState::Passed, note.as_deref()),
        ArchiveVerdict::Damaged { sentence, .. } => {
            (VerificationState::Failed, Some(sentence.as_str()))
        }
    };
    let end = VerificationOutcome {
        state,
        sentence,
        job: verified.job,
        interval_elapsed: Duration::ZERO,
    };
    if !record_verification(transaction, backup, &end).await? {
        return Ok(false);
    }
    let (event, properties) = match verdict {
        ArchiveVerdict::Intact { note } => {
            if let Some(note) = note {
                tracing::warn!(
                    %backup,
                    %server,
                    note,
                    "an archive is intact, but its index or manifest is not",
                );
            }
            if !verified.is_requested {
                return Ok(true);
            }
            (ActivityEvent::VerifyComplete, json!({}))
        }
        // This event is what webhooks and event streams deliver.
        ArchiveVerdict::Damaged { sentence, detail } => {
            tracing::error!(
                %backup,
                %server,
                error = detail,
                "the archive of a backup is damaged or missing",
            );
            (ActivityEvent::VerifyFailed, json!({ "error": sentence }))
        }
    };
    activity::record(transaction, event, server, backup, None, &properties).await?;
    Ok(true)
}

/// Records that a verification was inconclusive.
pub(crate) async fn record_inconclusive(
    context: &Context,
    transaction: &mut Transaction,
    claim: &Claim,
    failure: &JobFailure,
) -> Result<(), Error> {
    let backup = backups::find_for_update(transaction, claim.server, claim.backup).await?;
    let disk = backup.map(|backup| backup.disk);
    let every = disk.and_then(|disk| context.options.verify_every.get(&disk));
    let end = VerificationOutcome {
        state: VerificationState::Inconclusive,
        sentence: Some(&failure.sentence),
        job: Some(claim.id),
        interval_elapsed: every
            .map_or(Duration::ZERO, |every| every.saturating_sub(RETRY_INTERVAL)),
    };
    record_verification(transaction, claim.backup, &end).await?;
    Ok(())
}
