//! `POST …/backups/{backup}/lock` and `/unlock`: locks a backup against deletion, or unlocks it.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use holdfast_db::{Transaction, backups, jobs};
use holdfast_domain::access::Action;
use holdfast_domain::activity::ActivityEvent;
use holdfast_domain::backup::BackupOperation;
use holdfast_domain::{Backup, BackupId, ServerId};

use crate::auth::{Caller, permit};
use crate::error::ApiError;
use crate::input::Fields;
use crate::openapi::answers::Refusals;
use crate::openapi::bodies::LockBody;
use crate::openapi::parameters::BackupPath;
use crate::state::ApiState;
use crate::views;
use crate::views::objects::BackupObject;

/// Toggles the lock, or sets it to the value of `is_locked`.
#[utoipa::path(
    post,
    path = "/api/client/servers/{server}/backups/{backup}/lock",
    tag = "backups",
    params(BackupPath),
    request_body(content = LockBody),
    responses(
        (status = 204, description = "Locked or unlocked"),
        (
            status = 200,
            description = "Locked or unlocked, for keys with the profile `pterodactyl`",
            body = BackupObject,
        ),
        Refusals,
    ),
    security(("key" = [])),
)]
pub(crate) async fn lock(
    caller: Caller,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (server, access, backup) = caller.backup()?;
    permit(access, Action::Lock)?;
    let mut fields = Fields::read(&request, payload).await?;
    let is_locked = fields.is_locked();
    fields.check()?;

    let (mut transaction, _) = caller.begin(&state, Action::Lock).await?;
    let mut backup = load_for_change(&mut transaction, server.id, backup.id).await?;
    backup
        .check_completed(BackupOperation::Lock)
        .map_err(ApiError::NotCompleted)?;
    backup.is_locked = is_locked.unwrap_or(!backup.is_locked);
    save_lock(&mut transaction, &caller, &backup).await?;
    transaction.commit().await?;
    Ok(views::lock_changed(&backup, caller.profile))
}

/// Unlocks a backup. Succeeds even if it is not locked.
#[utoipa::path(
    post,
    path = "/api/client/servers/{server}/backups/{backup}/unlock",
    tag = "backups",
    params(BackupPath),
    responses(
        (status = 204, description = "Unlocked"),
        (
            status = 200,
            description = "Unlocked, for keys with the profile `pterodactyl`",
            body = BackupObject,
        ),
        Refusals,
    ),
    security(("key" = [])),
)]
pub(crate) async fn unlock(
    caller: Caller,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (server, access, backup) = caller.backup()?;
    permit(access, Action::Lock)?;

    let (mut transaction, _) = caller.begin(&state, Action::Lock).await?;
    let mut backup = load_for_change(&mut transaction, server.id, backup.id).await?;
    backup
        .check_completed(BackupOperation::Unlock)
        .map_err(ApiError::NotCompleted)?;
    backup.is_locked = false;
    save_lock(&mut transaction, &caller, &backup).await?;
    transaction.commit().await?;
    Ok(views::lock_changed(&backup, caller.profile))
}

/// Loads a backup and locks its row until the transaction ends. A backup that is being deleted
/// counts as missing, since it can no longer be protected.
async fn load_for_change(
    transaction: &mut Transaction,
    server: ServerId,
    backup: BackupId,
) -> Result<Backup, ApiError> {
    let loaded = backups::find_for_update(transaction, server, backup)
        .await?
        .ok_or(ApiError::NotFound)?;
    match jobs::find_deletion(transaction, backup).await? {
        Some(_) => Err(ApiError::NotFound),
        None => Ok(loaded),
    }
}

/// Saves the lock of a backup, and records it in the audit log.
async fn save_lock(
    transaction: &mut Transaction,
    caller: &Caller,
    backup: &Backup,
) -> Result<(), ApiError> {
    backups::set_locked(transaction, backup.id, backup.is_locked).await?;
    let event = match backup.is_locked {
        true => ActivityEvent::Lock,
        false => ActivityEvent::Unlock,
    };
    caller
        .record_event(transaction, event, backup.server, backup.id, &json!({}))
        .await
}
