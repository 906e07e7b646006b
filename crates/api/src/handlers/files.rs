//! `GET /download/backup?token=…`: the archive itself, to whoever holds a link.

mod stream;

use std::fs::File;

use actix_files::NamedFile;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, ContentDisposition, DispositionParam, DispositionType,
    HeaderValue, REFERRER_POLICY,
};
use actix_web::{HttpRequest, HttpResponse, web};

use holdfast_db::request_lookup::RequestKey;
use holdfast_domain::access::Action;
use holdfast_domain::backup::BackupOperation;
use holdfast_domain::key::KeyIdentifier;
use holdfast_domain::{Backup, ServerRef};
use holdfast_storage::{ArchiveKey, Disk, StorageKey};

use holdfast_domain::error_chain::chain;

use crate::download_token::Claims;
use crate::error::ApiError;
use crate::openapi::LinkRefusals;
use crate::state::ApiState;

/// Downloads an archive by link.
#[utoipa::path(
    get,
    path = "/download/backup",
    operation_id = "archive",
    tag = "service",
    params(
        ("token" = String, Query, description = "From the link"),
    ),
    responses((status = 200, description = "The archive", content_type = "application/gzip", body = String), (status = 206, description = "A range of the archive", content_type = "application/gzip", body = String), LinkRefusals),
    security(()),
)]
pub(crate) async fn download(
    request: HttpRequest,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let claims = state
        .signer
        .check(&token(request.query_string())?, (state.now)())?;
    let backup = load(&state, &claims).await?;
    let completed = backup
        .check_completed(BackupOperation::Download)
        .map_err(|_| ApiError::NotFound)?;
    let key = ArchiveKey {
        server: backup.server,
        backup: backup.id,
        attempt: completed.attempt,
    };
    let key = StorageKey::Archive(key);
    let disk = state.disks.get(&backup.disk).map_err(unavailable)?;
    let name = format!("{}.tar.gz", backup.id);
    let mut response = match disk.open(key).await.map_err(unavailable)? {
        Some(file) => match &state.options.downloads_accel_path {
            // It was opened, so that what is missing is said here and not by the proxy.
            Some(path) => by_proxy(path, disk, key, name),
            None => from_file(&request, file, name)?,
        },
        None => stream::archive(&request, disk, key, completed, name).await?,
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(response)
}

/// Tells the proxy in front which file to send. It adds the length, the ranges and the conditions.
fn by_proxy(path: &str, disk: &Disk, key: StorageKey, name: String) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header(("X-Accel-Redirect", format!("{path}/{}/{key}", disk.name())))
        .insert_header((CONTENT_TYPE, "application/gzip"))
        .insert_header(ContentDisposition {
            disposition: DispositionType::Attachment,
            parameters: vec![DispositionParam::Filename(name)],
        })
        .finish()
}

fn from_file(request: &HttpRequest, file: File, name: String) -> Result<HttpResponse, ApiError> {
    let file = NamedFile::from_file(file, &name)
        .map_err(|error| {
            tracing::error!(%error, name, "an archive can't be read");
            ApiError::Unavailable
        })?
        .set_content_type("application/gzip".parse().map_err(|_| ApiError::Internal)?)
        .set_content_disposition(ContentDisposition {
            disposition: DispositionType::Attachment,
            parameters: vec![DispositionParam::Filename(name)],
        });
    Ok(file.into_response(request))
}

fn token(query: &str) -> Result<String, ApiError> {
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap_or_default();
    pairs
        .into_iter()
        .find(|(name, _)| name == "token")
        .map(|(_, value)| value)
        .ok_or(ApiError::InvalidDownload)
}

/// Loads what a link is for. The link ends with the key that asked for it, and with that user's
/// right to download.
async fn load(state: &ApiState, claims: &Claims) -> Result<Backup, ApiError> {
    let named = RequestKey {
        key: KeyIdentifier::parse(&claims.key).ok_or(ApiError::InvalidDownload)?,
        server: Some(ServerRef::Id(claims.server)),
        backup: Some(claims.backup),
    };
    let visit = state.visits.find(named).await?;
    let visit = visit
        .filter(|visit| visit.key.key.is_live((state.now)()))
        .ok_or(ApiError::InvalidDownload)?;
    let (_, standing) = visit.server.ok_or(ApiError::NotFound)?;
    if !standing.may(Action::Download) {
        return Err(ApiError::InvalidDownload);
    }
    visit.backup.ok_or(ApiError::NotFound)
}

pub(crate) fn unavailable(error: holdfast_storage::Error) -> ApiError {
    tracing::error!(error = chain(&error), "an archive can't be opened");
    match error {
        // The disk is well, the archive is not there: trying again would not help.
        holdfast_storage::Error::NotFound { .. } => ApiError::ArchiveMissing,
        _ => ApiError::Unavailable,
    }
}
