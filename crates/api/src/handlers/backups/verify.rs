//! `POST …/backups/{backup}/verify`: enqueues the job that reads an archive back and compares it
//! with what was stored.

use actix_web::{HttpResponse, web};
use serde_json::json;

use holdfast_db::backups::{VERIFY_ATTEMPTS, prioritize_verification};
use holdfast_db::jobs::NewJob;
use holdfast_db::{Transaction, backups, jobs};
use holdfast_domain::access::Action;
use holdfast_domain::activity::ActivityEvent;
use holdfast_domain::backup::BackupOperation;
use holdfast_domain::job::VerifyArgs;
use holdfast_domain::{Backup, BackupId, JobKind, Server, ServerId};

use crate::auth::{Caller, permit};
use crate::error::ApiError;
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::BackupPath;
use crate::state::ApiState;
use crate::views;
use crate::views::objects::BackupObject;

/// Verifies the archive of a backup. `verification` in the backup shows the result.
#[utoipa::path(
    post,
    path = "/api/client/servers/{server}/backups/{backup}/verify",
    tag = "backups",
    params(BackupPath),
    responses(
        (
            status = 202,
            description = "The backup. Its verification is queued or running",
            body = BackupObject
        ),
        Refusals,
    ),
    security(("key" = [])),
)]
pub(crate) async fn verify(
    caller: Caller,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (server, access, backup) = caller.backup()?;
    permit(access, Action::Verify)?;

    let (mut transaction, _) = caller.begin(&state, Action::Verify).await?;
    let args = VerifyArgs {
        origin: Some(caller.origin()),
    };
    // All transactions lock the job before the backup, so that they cannot deadlock.
    prioritize_verification(&mut transaction, backup.id, &args).await?;
    let backup = backups::find_for_update(&mut transaction, server.id, backup.id)
        .await?
        .ok_or(ApiError::NotFound)?;
    backup
        .check_completed(BackupOperation::Verify)
        .map_err(ApiError::NotCompleted)?;
    let deletion = jobs::find_deletion(&mut transaction, backup.id).await?;
    if deletion.is_some() {
        return Err(ApiError::NotFound);
    }
    if backup.is_being_verified() {
        transaction.commit().await?;
        return accepted(&state, &caller, server.id, backup.id).await;
    }
    if enqueue(&mut transaction, &state, server, &backup, &args).await? {
        let event = ActivityEvent::Verify;
        caller
            .record_event(&mut transaction, event, server.id, backup.id, &json!({}))
            .await?;
        transaction.commit().await?;
    }
    accepted(&state, &caller, server.id, backup.id).await
}

/// Enqueues the job that verifies the backup. Returns `false` if the schedule has just enqueued
/// one; then the transaction cannot be continued.
async fn enqueue(
    transaction: &mut Transaction,
    state: &ApiState,
    server: &Server,
    backup: &Backup,
    args: &VerifyArgs,
) -> Result<bool, ApiError> {
    let job = NewJob {
        kind: JobKind::VerifyBackup,
        server: server.id,
        backup: backup.id,
        node: state.archive_node(server, backup),
        args: json!(args),
        max_attempts: VERIFY_ATTEMPTS,
        run: None,
    };
    match jobs::enqueue(transaction, &job).await {
        Ok(_) => Ok(true),
        Err(holdfast_db::Error::Conflict { .. }) => Ok(false),
        Err(other) => Err(other.into()),
    }
}

/// Answers with the backup, whose verification is now queued or running.
async fn accepted(
    state: &ApiState,
    caller: &Caller,
    server: ServerId,
    backup: BackupId,
) -> Result<HttpResponse, ApiError> {
    let found = backups::find(&state.database, server, backup).await?;
    let backup = found.ok_or(ApiError::NotFound)?;
    Ok(views::accepted(&views::backup(&backup, caller.profile)))
}
