//! Has archives verified from time to time, and writes down what verifications came to.

use std::time::Duration;

use serde_json::json;

use holdfast_db::backups::{
    ArchiveLocation, VerificationOutcome, record_verification, schedule_verifications,
};
use holdfast_db::jobs::{Claim, JobFailure};
use holdfast_db::{Error, Transaction, activity, backups};
use holdfast_domain::activity::{ActivityEvent, VerifyArgs};
use holdfast_domain::backup::VerificationState;
use holdfast_domain::{BackupId, JobId, ServerId};

use crate::context::Context;
use crate::verify_archive::ArchiveVerdict;

/// After how long an archive whose disk could not be read is verified again, if its disk has a schedule.
const AGAIN: Duration = Duration::from_secs(86_400);

/// Puts verifications that are due into the job table, for each disk that this node can reach.
pub(crate) async fn schedule(context: &Context) {
    let node = &context.options.node;
    for (name, disk) in context.disks.iter() {
        let Some(every) = context.options.verify_every.get(name) else {
            continue;
        };
        // Whatever is begun on a disk that is away only ends without a verdict.
        if disk.check().await.is_err() {
            continue;
        }
        let place = ArchiveLocation {
            disk: name,
            of_node: disk.is_of_one_node().then_some(node),
        };
        match schedule_verifications(&context.database, place, node, *every).await {
            Ok(None | Some(0)) => {}
            Ok(Some(count)) => {
                tracing::info!(disk = %name, count, "archives are due to be verified")
            }
            Err(error) => {
                context
                    .outage
                    .failed("verifications could not be scheduled", &error);
                return;
            }
        }
    }
}

/// Writes down what a verification came to, in the transaction that ends its job.
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
        is_asked_for: args.origin.is_some(),
    };
    record_verdict(transaction, verified, verdict).await?;
    Ok(())
}

/// What was verified, and why.
#[derive(Clone, Copy, Debug)]
pub struct VerifiedBackup {
    /// Whose backup.
    pub server: ServerId,
    /// Which.
    pub backup: BackupId,
    /// The job that did it, if one did.
    pub job: Option<JobId>,
    /// Whether somebody waits to hear of it, whatever it came to.
    pub is_asked_for: bool,
}

/// Writes down what a verification came to, in row and audit log; says whether it did. Of a backup that is gone
/// meanwhile nothing is said.
///
/// # Errors
/// When the database can't be written.
pub async fn record_verdict(
    transaction: &mut Transaction,
    verified: VerifiedBackup,
    verdict: &ArchiveVerdict,
) -> Result<bool, Error> {
    let VerifiedBackup { server, backup, .. } = verified;
    let (state, sentence) = match verdict {
        ArchiveVerdict::Whole { note } => (VerificationState::Passed, note.as_deref()),
        ArchiveVerdict::Bad { sentence, .. } => {
            (VerificationState::Failed, Some(sentence.as_str()))
        }
    };
    let end = VerificationOutcome {
        state,
        sentence,
        job: verified.job,
        counts_from: Duration::ZERO,
    };
    if !record_verification(transaction, backup, &end).await? {
        return Ok(false);
    }
    let (event, properties) = match verdict {
        ArchiveVerdict::Whole { note } => {
            if let Some(note) = note {
                tracing::warn!(%backup, %server, note, "an archive is whole, but not all beside it is");
            }
            if !verified.is_asked_for {
                return Ok(true);
            }
            (ActivityEvent::VerifyComplete, json!({}))
        }
        // Whoever is to be told that a backup is bad is told from here.
        ArchiveVerdict::Bad { sentence, detail } => {
            tracing::error!(%backup, %server, error = detail, "a backup is bad: its archive is damaged or missing");
            (ActivityEvent::VerifyFailed, json!({ "error": sentence }))
        }
    };
    activity::record(transaction, event, server, backup, None, &properties).await?;
    Ok(true)
}

/// Writes down that a verification came to no verdict.
pub(crate) async fn record_none(
    context: &Context,
    transaction: &mut Transaction,
    claim: &Claim,
    failure: &JobFailure,
) -> Result<(), Error> {
    let backup = backups::lock(transaction, claim.server, claim.backup).await?;
    let disk = backup.map(|backup| backup.disk);
    let every = disk.and_then(|disk| context.options.verify_every.get(&disk));
    let end = VerificationOutcome {
        state: VerificationState::Inconclusive,
        sentence: Some(&failure.sentence),
        job: Some(claim.id),
        counts_from: every.map_or(Duration::ZERO, |every| every.saturating_sub(AGAIN)),
    };
    record_verification(transaction, claim.backup, &end).await?;
    Ok(())
}
