//! `POST …/backups/{backup}/cancel`: calls off a backup that waits or runs. What it had stored goes,
//! and the backup ends as a failed one that says who called it off.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde_json::json;
use tokio::time::Instant;

use holdfast_db::{activity, backups, jobs};
use holdfast_domain::JobState;
use holdfast_domain::access::Action;
use holdfast_domain::activity::ActivityEvent;
use holdfast_domain::backup::cancelled_message;

use crate::auth::{Caller, permit};
use crate::error::ApiError;
use crate::openapi::Refusals;
use crate::state::ApiState;

/// How long the answer waits for a worker to stop. One that is dead is replaced within its lease, and
/// its successor hears that the job is called off.
const STOPPED: Duration = Duration::from_secs(60);

/// Calls off a backup that waits or runs.
#[utoipa::path(
    post,
    path = "/api/client/servers/{server}/backups/{backup}/cancel",
    tag = "backups",
    params(
        ("server" = String, Path, description = "UUID of the server, or the eight characters before its first dash"),
        ("backup" = String, Path, description = "UUID of the backup"),
    ),
    responses((status = 204, description = "Called off; the backup is now a failed one"), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn cancel(
    caller: Caller,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (server, standing, backup) = caller.backup()?;
    permit(standing, Action::Cancel)?;

    // Before the job is told, so that its end can't be missed.
    let mut ends = state.finals.subscribe();
    let mut transaction = state.database.begin().await?;
    // The job's row before the backup's, as everywhere: two that take them in
    // different orders would wait for each other.
    let cancelled =
        jobs::cancel_creation(&mut transaction, server.id, backup.id, &caller.email).await?;
    let (job, has_ended) = cancelled.ok_or(ApiError::Cancel)?;
    let origin = caller.origin();
    activity::record(
        &mut transaction,
        ActivityEvent::Cancel,
        server.id,
        backup.id,
        Some(&origin),
        &json!({}),
    )
    .await?;
    if has_ended {
        backups::fail(
            &mut transaction,
            backup.id,
            &cancelled_message(&caller.email),
        )
        .await?;
    }
    transaction.commit().await?;

    if has_ended {
        return Ok(HttpResponse::NoContent().finish());
    }
    match ends
        .wait(&state.database, job, Instant::now() + STOPPED)
        .await?
    {
        Some(JobState::Completed | JobState::Discarded) => Err(ApiError::Cancel),
        // Cancelled, or about to be: it was told, and will not complete.
        _ => Ok(HttpResponse::NoContent().finish()),
    }
}
