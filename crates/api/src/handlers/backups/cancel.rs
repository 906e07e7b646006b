//! `POST …/backups/{backup}/cancel`: cancels a queued or running backup.
//!
//! Its upload is removed, and the backup becomes a failed one whose error names the user.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde_json::json;
use tokio::time::Instant;

use holdfast_db::{backups, jobs};
use holdfast_domain::JobState;
use holdfast_domain::access::Action;
use holdfast_domain::activity::ActivityEvent;
use holdfast_domain::backup::cancelled_message;

use crate::auth::{Caller, permit};
use crate::error::ApiError;
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::BackupPath;
use crate::state::ApiState;

/// How long the answer waits for a worker to stop. If that worker is dead, another one takes the
/// job over after the lease has expired, and finds it cancelled.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// Cancels a queued or running backup.
#[utoipa::path(
    post,
    path = "/api/client/servers/{server}/backups/{backup}/cancel",
    tag = "backups",
    params(BackupPath),
    responses((status = 204, description = "Cancelled. The backup now counts as failed"), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn cancel(
    caller: Caller,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (server, access, backup) = caller.backup()?;
    permit(access, Action::Cancel)?;

    // Subscribed before the job is cancelled, so that its end cannot be missed.
    let mut ended_jobs = state.notifications.ended_jobs();
    let (mut transaction, _) = caller.begin(&state, Action::Cancel).await?;
    // All transactions lock the job before the backup, so that they cannot deadlock.
    let cancelled =
        jobs::cancel_creation(&mut transaction, server.id, backup.id, caller.name()).await?;
    let (job, has_ended) = cancelled.ok_or(ApiError::BackupEnded)?;
    let event = ActivityEvent::Cancel;
    caller
        .record_event(&mut transaction, event, server.id, backup.id, &json!({}))
        .await?;
    if has_ended {
        let error = cancelled_message(caller.name());
        backups::fail(&mut transaction, backup.id, &error).await?;
    }
    transaction.commit().await?;

    if has_ended {
        return Ok(HttpResponse::NoContent().finish());
    }
    let deadline = Instant::now() + STOP_TIMEOUT;
    match ended_jobs.wait(&state.database, job, deadline).await? {
        Some(JobState::Completed | JobState::Discarded) => Err(ApiError::BackupEnded),
        // Cancelled, or marked as cancelled so that it cannot complete any more.
        _ => Ok(HttpResponse::NoContent().finish()),
    }
}
