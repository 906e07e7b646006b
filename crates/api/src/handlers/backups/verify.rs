//! `POST …/backups/{backup}/verify`: asks for an archive to be read back and compared with what was stored.

use actix_web::{HttpResponse, web};
use serde_json::json;

use holdfast_db::backups::{VERIFY_ATTEMPTS, prioritize_verification};
use holdfast_db::jobs::NewJob;
use holdfast_db::{Error, activity, backups, jobs};
use holdfast_domain::access::Action;
use holdfast_domain::activity::{ActivityEvent, VerifyArgs};
use holdfast_domain::backup::BackupOperation;
use holdfast_domain::{Backup, JobKind, ServerId};

use crate::auth::{Caller, permit};
use crate::error::ApiError;
use crate::handlers::backups::reached_by;
use crate::openapi::Refusals;
use crate::state::ApiState;
use crate::views;
use crate::views::objects::BackupObject;

/// Has the archive read back and compared with what was stored; what it came to is in `verification`.
#[utoipa::path(
    post,
    path = "/api/client/servers/{server}/backups/{backup}/verify",
    tag = "backups",
    params(
        ("server" = String, Path, description = "UUID of the server, or the eight characters before its first dash"),
        ("backup" = String, Path, description = "UUID of the backup"),
    ),
    responses((status = 202, description = "A worker verifies it, or does so already", body = BackupObject), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn verify(
    caller: Caller,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (server, standing, backup) = caller.backup()?;
    permit(standing, Action::Verify)?;

    let args = VerifyArgs {
        origin: Some(caller.origin()),
    };
    let mut transaction = state.database.begin().await?.with_trace(caller.trace);
    // The job's row before the backup's, as everywhere.
    prioritize_verification(&mut transaction, backup.id, &args).await?;
    let backup = backups::lock(&mut transaction, server.id, backup.id)
        .await?
        .ok_or(ApiError::NotFound)?;
    backup
        .check_completed(BackupOperation::Verify)
        .map_err(ApiError::NotCompleted)?;
    let deletion = jobs::find_deletion(&mut transaction, backup.id).await?;
    if deletion.is_some() {
        return Err(ApiError::NotFound);
    }
    if !backup.is_being_verified() {
        let job = NewJob {
            kind: JobKind::VerifyBackup,
            server: server.id,
            backup: backup.id,
            node: reached_by(&state, server, &backup),
            args: json!(args),
            max_attempts: VERIFY_ATTEMPTS,
        };
        match jobs::enqueue(&mut transaction, &job).await {
            Ok(_) => {}
            // The schedule was faster.
            Err(Error::Conflict { .. }) => {
                return accepted(&state, &caller, server.id, &backup).await;
            }
            Err(other) => return Err(other.into()),
        }
        activity::record(
            &mut transaction,
            ActivityEvent::Verify,
            server.id,
            backup.id,
            args.origin.as_ref(),
            &json!({}),
        )
        .await?;
    }
    transaction.commit().await?;
    accepted(&state, &caller, server.id, &backup).await
}

/// The backup as it is now, with the verification that waits or runs.
async fn accepted(
    state: &ApiState,
    caller: &Caller,
    server: ServerId,
    backup: &Backup,
) -> Result<HttpResponse, ApiError> {
    let found = backups::find(&state.database, server, backup.id).await?;
    let backup = found.ok_or(ApiError::NotFound)?;
    Ok(views::accepted(&views::backup(&backup, caller.profile)))
}
