//! `GET …/backups/{backup}`: one backup.

use actix_web::HttpResponse;

use holdfast_domain::access::Action;

use crate::auth::{Caller, permit};
use crate::error::ApiError;
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::BackupPath;
use crate::views;
use crate::views::objects::BackupObject;

/// Shows a backup.
#[utoipa::path(
    get,
    path = "/api/client/servers/{server}/backups/{backup}",
    tag = "backups",
    params(BackupPath),
    responses((status = 200, description = "The backup", body = BackupObject), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn show(caller: Caller) -> Result<HttpResponse, ApiError> {
    let (_, access, backup) = caller.backup()?;
    permit(access, Action::View)?;
    Ok(views::ok(&views::backup(backup, caller.profile)))
}
