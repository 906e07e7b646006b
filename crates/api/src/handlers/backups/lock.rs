//! `POST …/backups/{backup}/lock` and `/unlock`: keeps a backup from deletion, or no longer.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use holdfast_db::{Transaction, activity, backups, jobs};
use holdfast_domain::access::Action;
use holdfast_domain::activity::ActivityEvent;
use holdfast_domain::backup::BackupOperation;
use holdfast_domain::{Backup, BackupId, ServerId};

use crate::auth::{Caller, permit};
use crate::error::ApiError;
use crate::input::Fields;
use crate::openapi::{LockBody, Refusals};
use crate::state::ApiState;
use crate::views;
use crate::views::objects::BackupObject;

/// Toggles the lock, or sets it to the `is_locked` of the body.
#[utoipa::path(
    post,
    path = "/api/client/servers/{server}/backups/{backup}/lock",
    tag = "backups",
    params(
        ("server" = String, Path, description = "UUID of the server, or the eight characters before its first dash"),
        ("backup" = String, Path, description = "UUID of the backup"),
    ),
    request_body(content = LockBody),
    responses((status = 204, description = "Locked or unlocked"), (status = 200, description = "The same, in the profile `pterodactyl`", body = BackupObject), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn lock(
    caller: Caller,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (server, standing, backup) = caller.backup()?;
    permit(standing, Action::Lock)?;
    let mut fields = Fields::read(&request, payload, state.options.max_body_bytes).await?;
    let wanted = fields.is_locked();
    fields.check()?;

    let mut transaction = state.database.begin().await?;
    let mut backup = hold(&mut transaction, server.id, backup.id).await?;
    backup
        .check_completed(BackupOperation::Lock)
        .map_err(ApiError::NotCompleted)?;
    backup.is_locked = wanted.unwrap_or(!backup.is_locked);
    backups::set_locked(&mut transaction, backup.id, backup.is_locked).await?;
    let origin = caller.origin();
    activity::record(
        &mut transaction,
        if backup.is_locked {
            ActivityEvent::Lock
        } else {
            ActivityEvent::Unlock
        },
        server.id,
        backup.id,
        Some(&origin),
        &json!({}),
    )
    .await?;
    transaction.commit().await?;
    Ok(views::lock_changed(&backup, caller.profile))
}

/// Removes the lock; fine when there is none.
#[utoipa::path(
    post,
    path = "/api/client/servers/{server}/backups/{backup}/unlock",
    tag = "backups",
    params(
        ("server" = String, Path, description = "UUID of the server, or the eight characters before its first dash"),
        ("backup" = String, Path, description = "UUID of the backup"),
    ),
    responses((status = 204, description = "Unlocked"), (status = 200, description = "The same, in the profile `pterodactyl`", body = BackupObject), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn unlock(
    caller: Caller,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (server, standing, backup) = caller.backup()?;
    permit(standing, Action::Lock)?;

    let mut transaction = state.database.begin().await?;
    let mut backup = hold(&mut transaction, server.id, backup.id).await?;
    backup
        .check_completed(BackupOperation::Unlock)
        .map_err(ApiError::NotCompleted)?;
    backup.is_locked = false;
    backups::set_locked(&mut transaction, backup.id, false).await?;
    let origin = caller.origin();
    activity::record(
        &mut transaction,
        ActivityEvent::Unlock,
        server.id,
        backup.id,
        Some(&origin),
        &json!({}),
    )
    .await?;
    transaction.commit().await?;
    Ok(views::lock_changed(&backup, caller.profile))
}

/// Loads a backup for a change. One whose deletion is under way is as good as gone: a lock that came
/// too late must not look as if it had saved it.
async fn hold(
    transaction: &mut Transaction,
    server: ServerId,
    backup: BackupId,
) -> Result<Backup, ApiError> {
    let held = backups::lock(transaction, server, backup)
        .await?
        .ok_or(ApiError::NotFound)?;
    match jobs::find_deletion(transaction, backup).await? {
        Some(_) => Err(ApiError::NotFound),
        None => Ok(held),
    }
}
