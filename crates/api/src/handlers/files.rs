//! `GET /download/backup?token=…`: downloads an archive with the token of a download link.

#[cfg(fuzzing)]
pub(crate) mod stream;
#[cfg(not(fuzzing))]
mod stream;

use std::fs::File;

use actix_files::NamedFile;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, ContentDisposition, DispositionParam, DispositionType,
    HeaderValue, REFERRER_POLICY,
};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};

use holdfast_db::backups;
use holdfast_db::request_lookup::LookupRequest;
use holdfast_domain::access::Action;
use holdfast_domain::backup::BackupOperation;
use holdfast_domain::key::KeyIdentifier;
use holdfast_domain::wings::WingsNode;
use holdfast_domain::{Backup, ServerRef};
use holdfast_storage::{ArchiveKey, Disk, StorageKey};

use crate::auth;
use crate::download_token::{self, Claims};
use crate::error::ApiError;
use crate::handlers::node;
use crate::openapi::answers::LinkRefusals;
use crate::state::ApiState;
use crate::views::errors::NodeErrors;

/// Downloads an archive by link.
#[utoipa::path(
    get,
    path = "/download/backup",
    operation_id = "archive",
    tag = "service",
    params(("token" = String, Query, description = "The token of the download link")),
    responses(
        (
            status = 200,
            description = "The archive",
            content_type = "application/gzip",
            body = String
        ),
        (
            status = 206,
            description = "A range of the archive",
            content_type = "application/gzip",
            body = String
        ),
        LinkRefusals,
    ),
    security(()),
)]
pub(crate) async fn download(
    request: HttpRequest,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let token = match (token(request.query_string()), panel_node(&state)) {
        (Err(_), Some(_)) => {
            request.extensions_mut().insert(NodeErrors);
            return Err(ApiError::NotFound);
        }
        (token, _) => token?,
    };
    let claims = match (
        state.signer.verify(&token, (state.now)()),
        panel_node(&state),
    ) {
        (Ok(claims), _) => claims,
        (Err(_), Some(node)) if !download_token::is_own(&token) => {
            request.extensions_mut().insert(NodeErrors);
            return node::answer(&request, &state, node, &token).await;
        }
        (Err(error), _) => return Err(error),
    };
    let backup = load(&state, &claims).await?;
    archive(&request, &state, &backup).await
}

/// Returns the node whose panel has its download links answered at the address of the service.
fn panel_node(state: &ApiState) -> Option<&WingsNode> {
    let node = state.options.wings.as_deref();
    node.filter(|_| !state.options.wings_has_listener)
}

/// Answers with the archive of a backup, or a range of it.
pub(crate) async fn archive(
    request: &HttpRequest,
    state: &ApiState,
    backup: &Backup,
) -> Result<HttpResponse, ApiError> {
    let completed = backup
        .check_completed(BackupOperation::Download)
        .map_err(|_| ApiError::NotFound)?;
    let key = ArchiveKey {
        server: backup.server,
        backup: backup.id,
        attempt: completed.attempt,
    };
    let key = StorageKey::Archive(key);
    let disk = state.disks.get(&backup.disk)?;
    let name = format!("{}.tar.gz", backup.id);
    let mut response = match disk.open(key).await? {
        Some(file) => {
            check_size(&file, key, completed.size_bytes)?;
            match &state.options.downloads_accel_path {
                // The file was opened only to detect a missing archive here instead of in the
                // proxy.
                Some(path) => from_proxy(path, disk, key, name),
                None => from_file(request, file, name)?,
            }
        }
        None => stream::archive(request, disk, key, completed, name).await?,
    };
    let headers = response.headers_mut();
    // A proxy that compressed the archive would take away its length and its ranges.
    let caching = HeaderValue::from_static("private, no-store, no-transform");
    headers.insert(CACHE_CONTROL, caching);
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(response)
}

/// Checks that an archive still has its size, before its first byte is sent.
fn check_size(file: &File, key: StorageKey, size_bytes: u64) -> Result<(), ApiError> {
    let object_bytes = file.metadata().map(|metadata| metadata.len());
    if matches!(object_bytes, Ok(bytes) if bytes == size_bytes) {
        return Ok(());
    }
    tracing::error!(
        %key,
        ?object_bytes,
        size_bytes,
        "the size of an archive has changed"
    );
    Err(ApiError::ArchiveMissing)
}

/// Answers with the path of the file for the proxy, which then sends it and handles ranges.
fn from_proxy(path: &str, disk: &Disk, key: StorageKey, name: String) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header(("X-Accel-Redirect", format!("{path}/{}/{key}", disk.name())))
        .insert_header((CONTENT_TYPE, "application/gzip"))
        .insert_header(ContentDisposition {
            disposition: DispositionType::Attachment,
            parameters: vec![DispositionParam::Filename(name)],
        })
        .finish()
}

/// Answers with a file, or a range of it.
pub(crate) fn from_file(
    request: &HttpRequest,
    file: File,
    name: String,
) -> Result<HttpResponse, ApiError> {
    let file = NamedFile::from_file(file, &name)
        .map_err(|error| {
            tracing::error!(%error, name, "cannot read an archive");
            ApiError::Unavailable
        })?
        .set_content_type("application/gzip".parse().map_err(|_| ApiError::Internal)?)
        .set_content_disposition(ContentDisposition {
            disposition: DispositionType::Attachment,
            parameters: vec![DispositionParam::Filename(name)],
        });
    Ok(file.into_response(request))
}

pub(crate) fn token(query: &str) -> Result<String, ApiError> {
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap_or_default();
    pairs
        .into_iter()
        .find(|(name, _)| name == "token")
        .map(|(_, value)| value)
        .ok_or(ApiError::InvalidDownload)
}

/// Loads the backup of a link. The link is valid only as long as its key is valid and the user may
/// download the backup. A link that the panel has allowed is valid until it expires, as long as the
/// panel's credentials are accepted at all.
async fn load(state: &ApiState, claims: &Claims) -> Result<Backup, ApiError> {
    let Some(key) = &claims.key else {
        state.panel.as_ref().ok_or(ApiError::InvalidDownload)?;
        let server = auth::find_panel_server(state, claims.server).await?;
        let server = server.ok_or(ApiError::NotFound)?;
        let backup = backups::find(&state.database, server.id, claims.backup).await?;
        return backup.ok_or(ApiError::NotFound);
    };
    let lookup = LookupRequest {
        key: KeyIdentifier::parse(key).ok_or(ApiError::InvalidDownload)?,
        server: Some(ServerRef::Id(claims.server)),
        backup: Some(claims.backup),
    };
    let context = state.request_lookup.find(lookup).await?;
    let context = context
        .filter(|context| context.key.api_key.is_live((state.now)()))
        .ok_or(ApiError::InvalidDownload)?;
    let (_, access) = context.server.ok_or(ApiError::NotFound)?;
    if !access.may(Action::Download) {
        return Err(ApiError::InvalidDownload);
    }
    context.backup.ok_or(ApiError::NotFound)
}
