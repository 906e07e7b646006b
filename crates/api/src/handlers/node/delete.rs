//! `DELETE /api/servers/{server}/backup/{backup}` and `DELETE …/deleteAllBackups`: promises to
//! delete backups. The panel takes the answer as done, so the promise is durable before it, and a
//! worker keeps it.

use actix_web::{HttpResponse, web};

use holdfast_db::backups;
use holdfast_domain::backup::DeleteRefused;

use super::{backup_id, recover, server, server_id};
use crate::error::{ApiError, NodeRefused};
use crate::panel_request::PanelRequest;
use crate::state::ApiState;

/// The name under which a cancelled backup is shown.
const CANCELLED_BY: &str = "the panel";

/// Deletes a backup for the panel. A backup that is being created is cancelled first.
pub(crate) async fn delete(
    panel: PanelRequest,
    path: web::Path<(String, String)>,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let server = server_id(&path.0)?;
    let backup = backup_id(&path.1)?;

    recover::find(&state, &panel.node, server, backup).await?;
    let mut transaction = state.database.begin().await?.with_trace(panel.trace);
    let locked = server::lock(&state, &panel.node, &mut transaction, server).await?;
    let server = locked.ok_or(ApiError::Node(NodeRefused::BackupUnknown))?.id;
    let found = backups::find_for_update(&mut transaction, server, backup).await?;
    let found = found.ok_or(ApiError::Node(NodeRefused::BackupUnknown))?;
    if found.is_locked {
        return Err(ApiError::Delete(DeleteRefused::Locked));
    }
    backups::begin_deletions(&mut transaction, server, Some(backup), CANCELLED_BY).await?;
    transaction.commit().await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Deletes all backups of a server for the panel, except those that an operator has locked.
pub(crate) async fn delete_all(
    panel: PanelRequest,
    path: web::Path<String>,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let server = server_id(&path)?;

    let mut transaction = state.database.begin().await?.with_trace(panel.trace);
    let locked = server::lock(&state, &panel.node, &mut transaction, server).await?;
    let server = locked.ok_or(ApiError::NotFound)?.id;
    let count = backups::begin_deletions(&mut transaction, server, None, CANCELLED_BY).await?;
    transaction.commit().await?;
    tracing::info!(%server, count, "the panel deletes all backups of a server");
    Ok(HttpResponse::NoContent().finish())
}
