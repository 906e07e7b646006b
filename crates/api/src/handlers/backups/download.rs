//! `GET …/backups/{backup}/download`: makes a link that needs no other credential.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;
use uuid::Uuid;

use holdfast_db::{activity, workers};
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
use crate::openapi::Refusals;
use crate::state::ApiState;
use crate::views;
use crate::views::objects::SignedUrl;

/// Makes a download link.
#[utoipa::path(
    method(get, post),
    path = "/api/client/servers/{server}/backups/{backup}/download",
    tag = "backups",
    params(
        ("server" = String, Path, description = "UUID of the server, or the eight characters before its first dash"),
        ("backup" = String, Path, description = "UUID of the backup"),
    ),
    responses((status = 200, description = "A link that needs no key", body = SignedUrl), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn download(
    caller: Caller,
    request: HttpRequest,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (server, standing, backup) = caller.backup()?;
    permit(standing, Action::Download)?;
    let completed = backup
        .check_completed(BackupOperation::Download)
        .map_err(ApiError::NotCompleted)?;
    let archive = StorageKey::Archive(ArchiveKey {
        server: server.id,
        backup: backup.id,
        attempt: completed.attempt,
    });
    // A bucket's server hands out its objects itself; a folder's, this service does.
    let url = match link(&state, backup, archive).await? {
        Some(url) => url,
        None => {
            let token = state.signer.sign(&Claims {
                jti: Uuid::new_v4(),
                exp: (state.now)().timestamp() + i64::from(state.options.download_ttl_seconds),
                backup: backup.id,
                server: server.id,
                user: caller.user,
                key: caller.key.to_string(),
            })?;
            let base_url = downloads_url(&state, backup, &request).await?;
            format!("{base_url}/download/backup?token={token}")
        }
    };
    let mut transaction = state.database.begin().await?;
    let origin = caller.origin();
    activity::record(
        &mut transaction,
        ActivityEvent::Download,
        server.id,
        backup.id,
        Some(&origin),
        &json!({}),
    )
    .await?;
    transaction.commit().await?;
    Ok(views::ok(&views::signed_url(url)))
}

/// Where the process is reached that sees the archive: this one, or that of the node whose folder it lies in.
async fn downloads_url(
    state: &ApiState,
    backup: &Backup,
    request: &HttpRequest,
) -> Result<String, ApiError> {
    if let Some(node) = &backup.node
        && *node != state.options.node
        && state.is_of_one_node(&backup.disk)
        && let Some(url) = workers::downloads_url(&state.database, node).await?
    {
        return Ok(url);
    }
    Ok(match &state.options.downloads_public_url {
        Some(url) => url.clone(),
        None => base_url(request, &state.options),
    })
}

/// The disk's own link to an archive, where it makes some.
async fn link(
    state: &ApiState,
    backup: &Backup,
    archive: StorageKey,
) -> Result<Option<String>, ApiError> {
    // A local disk of another process's node is none of ours, but its link is made here.
    let Ok(disk) = state.disks.get(&backup.disk) else {
        return Ok(None);
    };
    let file_name = format!("{}.tar.gz", backup.id);
    let ttl = Duration::from_secs(state.options.download_ttl_seconds.into());
    disk.link(archive, &file_name, ttl).await.map_err(|error| {
        tracing::error!(error = chain(&error), backup = %backup.id, "a download link can't be signed");
        ApiError::Unavailable
    })
}
