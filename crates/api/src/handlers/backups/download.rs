//! `GET …/backups/{backup}/download`: creates a download link, which needs no key.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;
use uuid::Uuid;

use holdfast_db::workers;
use holdfast_domain::Backup;
use holdfast_domain::access::Action;
use holdfast_domain::activity::ActivityEvent;
use holdfast_domain::backup::BackupOperation;
use holdfast_domain::error_chain::chain;
use holdfast_storage::{ArchiveKey, StorageKey};

use crate::auth::{Caller, permit};
use crate::client_address::base_url;
use crate::download_token::Claims;
use crate::error::ApiError;
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::BackupPath;
use crate::state::ApiState;
use crate::views;
use crate::views::objects::SignedUrl;

/// The longest time that a link of a panel's caller is valid, in seconds.
const PANEL_LINK_SECONDS: u32 = 900;

/// Creates a download link.
#[utoipa::path(
    method(get, post),
    path = "/api/client/servers/{server}/backups/{backup}/download",
    tag = "backups",
    params(BackupPath),
    responses((status = 200, description = "The download link", body = SignedUrl), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn download(
    caller: Caller,
    request: HttpRequest,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (server, access, backup) = caller.backup()?;
    permit(access, Action::Download)?;
    let completed = backup
        .check_completed(BackupOperation::Download)
        .map_err(ApiError::NotCompleted)?;
    // The link is valid for longer than the answers of a panel.
    caller.confirm(&state, Action::Download).await?;
    let ttl_seconds = link_ttl_seconds(&caller, &state);
    let archive = StorageKey::Archive(ArchiveKey {
        server: server.id,
        backup: backup.id,
        attempt: completed.attempt,
    });
    let url = match presigned_url(&state, backup, archive, ttl_seconds).await? {
        Some(url) => url,
        None => {
            let claims = Claims {
                jti: Uuid::new_v4(),
                exp: (state.now)().timestamp() + i64::from(ttl_seconds),
                backup: backup.id,
                server: server.id,
                user: caller.user(),
                key: caller.key().map(ToString::to_string),
            };
            token_url(&state, &claims, backup, &request).await?
        }
    };

    let mut transaction = state.database.begin().await?;
    let event = ActivityEvent::Download;
    caller
        .record_event(&mut transaction, event, server.id, backup.id, &json!({}))
        .await?;
    transaction.commit().await?;
    Ok(views::ok(&views::signed_url(url)))
}

/// Returns how long a link of the caller is valid, in seconds.
fn link_ttl_seconds(caller: &Caller, state: &ApiState) -> u32 {
    let ttl_seconds = state.options.download_ttl_seconds;
    match caller.key() {
        Some(_) => ttl_seconds,
        // The panel is not asked when the link is used, so the link does not last longer than
        // those of the panel.
        None => ttl_seconds.min(PANEL_LINK_SECONDS),
    }
}

/// Returns the presigned URL of an archive in a bucket. Returns `None` for a disk without such
/// URLs.
pub(crate) async fn presigned_url(
    state: &ApiState,
    backup: &Backup,
    archive: StorageKey,
    ttl_seconds: u32,
) -> Result<Option<String>, ApiError> {
    // A disk that is not configured here is the local disk of another node.
    let Ok(disk) = state.disks.get(&backup.disk) else {
        return Ok(None);
    };
    let file_name = format!("{}.tar.gz", backup.id);
    let ttl = Duration::from_secs(ttl_seconds.into());
    disk.presigned_url(archive, &file_name, ttl)
        .await
        .map_err(|error| {
            tracing::error!(
                error = chain(&error),
                backup = %backup.id,
                "cannot create a presigned URL"
            );
            ApiError::Unavailable
        })
}

/// Returns a URL of this service, or of the service on the archive's node, with a signed token.
async fn token_url(
    state: &ApiState,
    claims: &Claims,
    backup: &Backup,
    request: &HttpRequest,
) -> Result<String, ApiError> {
    let token = state.signer.sign(claims)?;
    let base_url = downloads_url(state, backup, request).await?;
    Ok(format!("{base_url}/download/backup?token={token}"))
}

/// Returns the URL of the service that can read the archive, without a slash at the end.
async fn downloads_url(
    state: &ApiState,
    backup: &Backup,
    request: &HttpRequest,
) -> Result<String, ApiError> {
    if let Some(node) = state.foreign_node(backup)
        && let Some(url) = workers::downloads_url(&state.database, node).await?
    {
        return Ok(url);
    }
    Ok(match &state.options.downloads_public_url {
        Some(url) => url.clone(),
        None => base_url(request, &state.options),
    })
}
