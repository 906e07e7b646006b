//! Ends attempts of jobs. Each function returns whether the claim still held. If it did not, the
//! job is unchanged, and the caller must undo its work.

use std::time::Duration;

use holdfast_domain::JobState;
use holdfast_domain::backup::BackupNotes;

use crate::error::Error;
use crate::jobs::Claim;
use crate::listen::{JOB_AVAILABLE, JOB_ENDED};
use crate::pool::{Database, Transaction};

/// Why an attempt failed, for two audiences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobFailure {
    /// For users: a sentence without internals of the service.
    pub sentence: String,
    /// For operators: the full error.
    pub detail: String,
}

/// Ends a job as completed.
///
/// # Errors
/// If the database can't be written.
pub async fn complete(transaction: &mut Transaction, claim: &Claim) -> Result<bool, Error> {
    finalize(transaction, claim, JobState::Completed, None).await
}

/// Stores the notes of a restore with its job, in the transaction that completes it.
///
/// # Errors
/// If the database can't be written.
pub async fn record_notes(
    transaction: &mut Transaction,
    claim: &Claim,
    notes: &BackupNotes,
) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE jobs SET notes_count = $2, notes = $3 WHERE id = $1",
        claim.id.0,
        i64::try_from(notes.count).unwrap_or(i64::MAX),
        &notes.first,
    )
    .execute(transaction.connection())
    .await?;
    Ok(())
}

/// Ends a job as discarded, with its last failure.
///
/// # Errors
/// If the database can't be written.
pub async fn discard(
    transaction: &mut Transaction,
    claim: &Claim,
    failure: &JobFailure,
) -> Result<bool, Error> {
    finalize(transaction, claim, JobState::Discarded, Some(failure)).await
}

/// Ends a running job as cancelled.
///
/// # Errors
/// If the database can't be written.
pub async fn cancel(transaction: &mut Transaction, claim: &Claim) -> Result<bool, Error> {
    finalize(transaction, claim, JobState::Cancelled, None).await
}

async fn finalize(
    transaction: &mut Transaction,
    claim: &Claim,
    state: JobState,
    failure: Option<&JobFailure>,
) -> Result<bool, Error> {
    let done = sqlx::query!(
        "WITH done AS (
            UPDATE jobs SET state = $4, finalized_at = now(), claimed_by = NULL,
                   lease_expires_at = NULL, progress = NULL,
                   errors = CASE WHEN $5::text IS NULL THEN errors
                       ELSE errors || jsonb_build_array(jsonb_build_object(
                           'attempt', attempt, 'at', now(), 'sentence', $5::text,
                           'detail', $6::text)) END
            WHERE id = $1 AND state = 'running' AND claimed_by = $2 AND attempt = $3
            RETURNING id
        )
        SELECT pg_notify($7, id::text) FROM done",
        claim.id.0,
        claim.worker,
        attempt(claim),
        state.as_str(),
        failure.map(|failure| failure.sentence.as_str()),
        failure.map(|failure| failure.detail.as_str()),
        JOB_ENDED,
    )
    .fetch_all(transaction.connection())
    .await?;
    Ok(done.len() == 1)
}

/// Ends an attempt and schedules the next one after `wait`.
///
/// # Errors
/// If the database can't be written.
pub async fn retry(
    database: &Database,
    claim: &Claim,
    failure: &JobFailure,
    wait: Duration,
) -> Result<bool, Error> {
    let done = sqlx::query!(
        "UPDATE jobs SET state = 'scheduled', claimed_by = NULL, lease_expires_at = NULL,
                progress = NULL, scheduled_at = now() + make_interval(secs => $6),
                errors = errors || jsonb_build_array(jsonb_build_object(
                    'attempt', attempt, 'at', now(), 'sentence', $4::text, 'detail', $5::text))
         WHERE id = $1 AND state = 'running' AND claimed_by = $2 AND attempt = $3",
        claim.id.0,
        claim.worker,
        attempt(claim),
        failure.sentence,
        failure.detail,
        wait.as_secs_f64(),
    )
    .execute(database.pool())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Makes a job available again without counting the attempt, because its worker stops.
///
/// # Errors
/// If the database can't be written.
pub async fn release(database: &Database, claim: &Claim) -> Result<bool, Error> {
    let done = sqlx::query!(
        "WITH released AS (
            UPDATE jobs SET state = 'available', attempt = attempt - 1, claimed_by = NULL,
                   lease_expires_at = NULL, progress = NULL
            WHERE id = $1 AND state = 'running' AND claimed_by = $2 AND attempt = $3
            RETURNING node
        )
        SELECT pg_notify($4, node) FROM released",
        claim.id.0,
        claim.worker,
        attempt(claim),
        JOB_AVAILABLE,
    )
    .fetch_all(database.pool())
    .await?;
    Ok(done.len() == 1)
}

fn attempt(claim: &Claim) -> i32 {
    i32::try_from(claim.attempt).unwrap_or(i32::MAX)
}
