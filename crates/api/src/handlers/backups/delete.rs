//! `DELETE …/backups/{backup}`: deletes the archive, then the backup.
//!
//! A worker does it, since only its node may be able to reach the disk. The answer waits for the
//! worker: 204 means deleted, and an error means kept. After two minutes it says that the result is
//! not known yet.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde_json::json;
use tokio::time::Instant;

use holdfast_db::jobs::NewJob;
use holdfast_db::{Transaction, backups, jobs};
use holdfast_domain::access::Action;
use holdfast_domain::job::DeleteArgs;
use holdfast_domain::{Backup, JobId, JobKind, JobState, Server};

use crate::auth::{Caller, permit};
use crate::error::ApiError;
use crate::notifications::EndedJobs;
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::BackupPath;
use crate::state::ApiState;

/// The number of attempts to reach the disk.
const MAX_ATTEMPTS: u32 = 3;
/// How long the answer waits for a worker to start the job.
const START_TIMEOUT: Duration = Duration::from_secs(25);
/// How long the answer waits in total.
const END_TIMEOUT: Duration = Duration::from_secs(110);

/// Deletes a backup.
#[utoipa::path(
    delete,
    path = "/api/client/servers/{server}/backups/{backup}",
    tag = "backups",
    params(BackupPath),
    responses((status = 204, description = "The backup is deleted"), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn delete(
    caller: Caller,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (server, access, backup) = caller.backup()?;
    permit(access, Action::Delete)?;

    // Subscribed before the job exists, so that its end cannot be missed.
    let mut ended_jobs = state.notifications.ended_jobs();
    let (mut transaction, _) = caller.begin(&state, Action::Delete).await?;
    let backup = backups::find_for_update(&mut transaction, server.id, backup.id)
        .await?
        .ok_or(ApiError::NotFound)?;
    backup.check_delete().map_err(ApiError::Delete)?;
    let job = match jobs::find_deletion(&mut transaction, backup.id).await? {
        Some(job) => job,
        None => enqueue(&mut transaction, &caller, &state, server, &backup).await?,
    };
    transaction.commit().await?;

    wait_for_deletion(&state, &mut ended_jobs, job).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Enqueues the job that deletes the backup.
async fn enqueue(
    transaction: &mut Transaction,
    caller: &Caller,
    state: &ApiState,
    server: &Server,
    backup: &Backup,
) -> Result<JobId, ApiError> {
    let job = NewJob {
        kind: JobKind::DeleteBackup,
        server: server.id,
        backup: backup.id,
        node: state.archive_node(server, backup),
        args: json!(DeleteArgs {
            origin: Some(caller.origin()),
            reason: None,
        }),
        max_attempts: MAX_ATTEMPTS,
        run: None,
    };
    Ok(jobs::enqueue(transaction, &job).await?)
}

/// Waits until the job has deleted the backup. Cancels a job that no worker starts in time.
async fn wait_for_deletion(
    state: &ApiState,
    ended_jobs: &mut EndedJobs,
    job: JobId,
) -> Result<(), ApiError> {
    let started = Instant::now();
    let deadline = started + START_TIMEOUT;
    let mut outcome = ended_jobs.wait(&state.database, job, deadline).await?;
    if !outcome.is_none_or(JobState::is_final) {
        if jobs::cancel_queued(&state.database, job).await? {
            return Err(ApiError::DeleteFailed);
        }
        let deadline = started + END_TIMEOUT;
        outcome = ended_jobs.wait(&state.database, job, deadline).await?;
    }
    match outcome {
        // Only completed jobs are pruned this early, so a job that is gone has completed.
        Some(JobState::Completed) | None => Ok(()),
        Some(state) if state.is_final() => Err(ApiError::DeleteFailed),
        // A worker is still running the job. A repeated request waits for the same job.
        Some(_) => Err(ApiError::Unavailable),
    }
}
