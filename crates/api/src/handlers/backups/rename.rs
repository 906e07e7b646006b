//! `PUT …/backups/{backup}/rename`: gives a backup another name.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use holdfast_db::{activity, backups};
use holdfast_domain::access::Action;
use holdfast_domain::activity::ActivityEvent;

use crate::auth::{Caller, permit};
use crate::error::ApiError;
use crate::input::Fields;
use crate::openapi::{Refusals, RenameBody};
use crate::state::ApiState;
use crate::views;
use crate::views::objects::BackupObject;

/// Gives a backup another name.
#[utoipa::path(
    put,
    path = "/api/client/servers/{server}/backups/{backup}/rename",
    tag = "backups",
    params(
        ("server" = String, Path, description = "UUID of the server, or the eight characters before its first dash"),
        ("backup" = String, Path, description = "UUID of the backup"),
    ),
    request_body(content = RenameBody),
    responses((status = 200, description = "The backup under its new name", body = BackupObject), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn rename(
    caller: Caller,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (server, standing, backup) = caller.backup()?;
    permit(standing, Action::Rename)?;
    let mut fields = Fields::read(&request, payload, state.options.max_body_bytes).await?;
    let name = fields.required_name();
    fields.check()?;
    let name = name.ok_or(ApiError::Internal)?;

    let mut transaction = state.database.begin().await?;
    backups::rename(&mut transaction, backup.id, &name).await?;
    let origin = caller.origin();
    activity::record(
        &mut transaction,
        ActivityEvent::Rename,
        server.id,
        backup.id,
        Some(&origin),
        &json!({}),
    )
    .await?;
    let renamed = backups::lock(&mut transaction, server.id, backup.id)
        .await?
        .ok_or(ApiError::NotFound)?;
    transaction.commit().await?;
    Ok(views::ok(&views::backup(&renamed, caller.profile)))
}
