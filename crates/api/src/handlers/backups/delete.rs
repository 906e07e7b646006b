//! `DELETE …/backups/{backup}`: removes the archive, then the backup.
//!
//! The worker does it, since only its node may see the disk; the answer waits
//! for the worker, so that 204 means gone and an error means kept, or, after two minutes, that it is not known yet.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde_json::json;
use tokio::time::Instant;

use holdfast_db::jobs::NewJob;
use holdfast_db::{backups, jobs};
use holdfast_domain::access::Action;
use holdfast_domain::activity::DeleteArgs;
use holdfast_domain::{Backup, JobKind, JobState, NodeName, Server};

use crate::auth::{Caller, permit};
use crate::error::ApiError;
use crate::openapi::Refusals;
use crate::state::ApiState;

/// How often the disk is tried before the caller is told that it is away.
const MAX_ATTEMPTS: u32 = 3;
/// How long the answer waits for a worker to take the job up.
const UNTAKEN: Duration = Duration::from_secs(25);
/// How long it waits in all.
const UNFINISHED: Duration = Duration::from_secs(110);

/// Deletes a backup.
#[utoipa::path(
    delete,
    path = "/api/client/servers/{server}/backups/{backup}",
    tag = "backups",
    params(
        ("server" = String, Path, description = "UUID of the server, or the eight characters before its first dash"),
        ("backup" = String, Path, description = "UUID of the backup"),
    ),
    responses((status = 204, description = "It is gone"), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn delete(
    caller: Caller,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (server, standing, backup) = caller.backup()?;
    permit(standing, Action::Delete)?;

    // Before the job exists, so that its end can't be missed.
    let mut ends = state.finals.subscribe();
    let mut transaction = state.database.begin().await?.with_trace(caller.trace);
    let backup = backups::lock(&mut transaction, server.id, backup.id)
        .await?
        .ok_or(ApiError::NotFound)?;
    backup.check_delete().map_err(ApiError::Delete)?;
    let job = match jobs::find_deletion(&mut transaction, backup.id).await? {
        Some(job) => job,
        None => {
            let job = NewJob {
                kind: JobKind::DeleteBackup,
                server: server.id,
                backup: backup.id,
                node: reached_by(&state, server, &backup),
                args: json!(DeleteArgs {
                    origin: Some(caller.origin()),
                    reason: None,
                }),
                max_attempts: MAX_ATTEMPTS,
            };
            jobs::enqueue(&mut transaction, &job).await?
        }
    };
    transaction.commit().await?;

    let begun = Instant::now();
    let mut reached = ends.wait(&state.database, job, begun + UNTAKEN).await?;
    if !reached.is_none_or(JobState::is_final) {
        if jobs::cancel_queued(&state.database, job).await? {
            return Err(ApiError::DeleteFailed);
        }
        reached = ends.wait(&state.database, job, begun + UNFINISHED).await?;
    }
    match reached {
        // A job that was pruned meanwhile had ended well: failed ones are kept longer.
        Some(JobState::Completed) | None => Ok(HttpResponse::NoContent().finish()),
        Some(state) if state.is_final() => Err(ApiError::DeleteFailed),
        // A worker is still at it and may yet succeed; whoever asks again waits for the same job.
        Some(_) => Err(ApiError::Unavailable),
    }
}

/// The node whose worker can reach a backup's archive: the server's own, or the one in whose folder it lies.
pub(crate) fn reached_by<'a>(
    state: &ApiState,
    server: &'a Server,
    backup: &'a Backup,
) -> &'a NodeName {
    match &backup.node {
        Some(node) if state.is_of_one_node(&backup.disk) => node,
        _ => &server.node,
    }
}
