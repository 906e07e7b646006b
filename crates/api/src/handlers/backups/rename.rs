//! `PUT …/backups/{backup}/rename`: renames a backup.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use holdfast_db::backups;
use holdfast_domain::access::Action;
use holdfast_domain::activity::ActivityEvent;

use crate::auth::{Caller, permit};
use crate::error::ApiError;
use crate::input::Fields;
use crate::openapi::answers::Refusals;
use crate::openapi::bodies::RenameBody;
use crate::openapi::parameters::BackupPath;
use crate::state::ApiState;
use crate::views;
use crate::views::objects::BackupObject;

/// Renames a backup.
#[utoipa::path(
    put,
    path = "/api/client/servers/{server}/backups/{backup}/rename",
    tag = "backups",
    params(BackupPath),
    request_body(content = RenameBody),
    responses((status = 200, description = "The renamed backup", body = BackupObject), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn rename(
    caller: Caller,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (server, access, backup) = caller.backup()?;
    permit(access, Action::Rename)?;
    let mut fields = Fields::read(&request, payload).await?;
    let name = fields.required_name();
    fields.check()?;
    let name = name.ok_or(ApiError::Internal)?;

    let (mut transaction, _) = caller.begin(&state, Action::Rename).await?;
    backups::rename(&mut transaction, backup.id, &name).await?;
    let event = ActivityEvent::Rename;
    caller
        .record_event(&mut transaction, event, server.id, backup.id, &json!({}))
        .await?;
    let renamed = backups::find_for_update(&mut transaction, server.id, backup.id)
        .await?
        .ok_or(ApiError::NotFound)?;
    transaction.commit().await?;
    Ok(views::ok(&views::backup(&renamed, caller.profile)))
}
