//! `GET /download/backup?token=…` with a token of the panel: downloads an archive.

use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, HeaderValue, LOCATION, REFERRER_POLICY};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};

use holdfast_db::{backups as rows, servers};
use holdfast_domain::ServerRef;
use holdfast_domain::backup::BackupOperation;
use holdfast_domain::wings::WingsNode;
use holdfast_storage::{ArchiveKey, StorageKey};

use super::{recover, server};
use crate::error::{ApiError, NodeRefused};
use crate::handlers::{backups, files};
use crate::state::ApiState;
use crate::views::errors::NodeErrors;
use crate::{panel_request, panel_token};

/// Downloads an archive by a link of the panel. The link may be used any number of times until it
/// expires, with ranges, so that downloads can be resumed.
pub(crate) async fn download(
    request: HttpRequest,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let node = panel_request::node(&request).ok_or(ApiError::NotFound)?;
    request.extensions_mut().insert(NodeErrors);
    let token = files::token(request.query_string()).map_err(|_| ApiError::NotFound)?;
    answer(&request, &state, &node, &token).await
}

/// Answers a request with a token that may be one of the panel. A wrong token is answered like a
/// missing backup.
pub(crate) async fn answer(
    request: &HttpRequest,
    state: &ApiState,
    node: &WingsNode,
    token: &str,
) -> Result<HttpResponse, ApiError> {
    let permitted = panel_token::verify(token, node, (state.now)()).ok_or(ApiError::NotFound)?;
    let (server, backup) = (permitted.server, permitted.backup);
    let backup = recover::find(state, node, server, backup).await?;
    let found = servers::find(&state.database, &ServerRef::Id(server)).await?;
    let found = found.ok_or(ApiError::Node(NodeRefused::BackupUnknown))?;
    // The token names a server of any node. Only those of its own panel are its business.
    server::check_panel(state, node, &found)
        .await
        .map_err(|error| match error {
            ApiError::Node(_) => ApiError::NotFound,
            other => other,
        })?;
    if rows::is_deleting(&state.database, backup.id).await? {
        return Err(ApiError::Node(NodeRefused::BackupUnknown));
    }
    let completed = backup
        .check_completed(BackupOperation::Download)
        .map_err(ApiError::NotCompleted)?;
    let archive = StorageKey::Archive(ArchiveKey {
        server,
        backup: backup.id,
        attempt: completed.attempt,
    });
    // A presigned URL is valid for GET only.
    let ttl_seconds = state.options.download_ttl_seconds;
    if request.method() == Method::GET
        && let Some(url) = backups::presigned_url(state, &backup, archive, ttl_seconds).await?
    {
        return redirect(&url);
    }
    files::archive(request, state, &backup).await
}

fn redirect(url: &str) -> Result<HttpResponse, ApiError> {
    let url = HeaderValue::from_str(url).map_err(|_| ApiError::Internal)?;
    Ok(HttpResponse::Found()
        .insert_header((LOCATION, url))
        .insert_header((CACHE_CONTROL, "private, no-store"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .finish())
}
