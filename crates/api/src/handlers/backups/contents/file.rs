//! `GET …/backups/{backup}/contents/file`: one file from a completed backup.
//!
//! Only the blocks of the archive that contain the file are read, as fast as the client receives
//! them.

use actix_web::body::SizedStream;
use actix_web::http::Method;
use actix_web::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, Charset, ContentDisposition, ContentType, DispositionParam,
    DispositionType, ExtendedValue, HttpDate, LAST_MODIFIED,
};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use chrono::DateTime;
use futures_util::stream;
use serde_json::json;

use holdfast_archive::{FileLocation, PathLookup, SingleFile, find_file};
use holdfast_domain::activity::ActivityEvent;
use holdfast_storage::BlockingReader;

use super::archive_access::{ArchiveAccess, map_archive_error, map_index_error, run_blocking};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::BackupPath;
use crate::state::ApiState;

/// The size of the chunks of the answer, in bytes.
const CHUNK_BYTES: usize = 256 << 10;

/// Downloads one file of a backup.
#[utoipa::path(
    get,
    path = "/api/client/servers/{server}/backups/{backup}/contents/file",
    tag = "backups",
    params(
        BackupPath,
        (
            "path" = String,
            Query,
            min_length = 1,
            description = "The file, such as `world/level.dat`"
        ),
    ),
    responses(
        (
            status = 200,
            description = "The file",
            content_type = "application/octet-stream",
            body = String
        ),
        Refusals,
    ),
    security(("key" = [])),
)]
pub(crate) async fn contents_file(
    caller: Caller,
    request: HttpRequest,
    state: Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let archive = ArchiveAccess::of_request(&caller, &state, request.query_string(), true)?;
    let location = find(&archive).await?;
    let (size, modified) = (location.entry().size, location.entry().mtime);
    let reader = archive.archive(location.range()).await?;
    let opened = run_blocking(move || location.open(reader)).await?;
    let file = opened.map_err(|error| map_archive_error(&error))?;

    let mut response = HttpResponse::Ok();
    response
        .insert_header(ContentType::octet_stream())
        .insert_header(attachment(&archive.path))
        // A proxy that compressed the file would take away its length.
        .insert_header((CACHE_CONTROL, "no-store, no-transform"))
        .insert_header((ACCEPT_RANGES, "none"));
    if let Some(modified) = DateTime::from_timestamp(modified.0, modified.1)
        && modified.timestamp() > 0
    {
        let modified = HttpDate::from(std::time::SystemTime::from(modified));
        response.insert_header((LAST_MODIFIED, modified));
    }
    if *request.method() == Method::HEAD {
        let empty = stream::empty::<Result<Bytes, actix_web::Error>>();
        return Ok(response.body(SizedStream::new(size, empty)));
    }
    let mut transaction = state.database.begin().await?;
    let path = String::from_utf8_lossy(&archive.path).replace('\0', "\u{fffd}");
    caller
        .record_event(
            &mut transaction,
            ActivityEvent::Download,
            archive.server,
            archive.backup,
            &json!({ "file": path }),
        )
        .await?;
    transaction.commit().await?;
    let chunks = stream::unfold(Some(file), next_chunk);
    Ok(response.body(SizedStream::new(size, chunks)))
}

/// Finds the file in the index. A hard link is followed to its file.
async fn find(archive: &ArchiveAccess<'_>) -> Result<Box<FileLocation<BlockingReader>>, ApiError> {
    let mut path = archive.path.clone();
    let mut is_first = true;
    let scan = archive.start_scan().await?;
    loop {
        let found = scan.pass(move |index| find_file(index, &path)).await?;
        match found.map_err(|error| map_index_error(&error))? {
            PathLookup::File(location) => return Ok(location),
            PathLookup::HardLink(target) if is_first => path = target,
            PathLookup::HardLink(_) => return Err(ApiError::IndexMissing),
            PathLookup::NotAFile(_) => return Err(ApiError::NotAFile),
            PathLookup::Missing if archive.path.is_empty() => return Err(ApiError::NotAFile),
            PathLookup::Missing if is_first => return Err(ApiError::NotFound),
            PathLookup::Missing => return Err(ApiError::IndexMissing),
        }
        is_first = false;
    }
}

type OpenFile = SingleFile<BlockingReader, BlockingReader>;

/// Returns the next chunk. After an error the stream ends, so that the client sees a truncated
/// answer.
async fn next_chunk(
    file: Option<OpenFile>,
) -> Option<(Result<Bytes, actix_web::Error>, Option<OpenFile>)> {
    let mut file = file?;
    let read = run_blocking(move || {
        let mut chunk = vec![0; CHUNK_BYTES];
        let length = file.read(&mut chunk)?;
        chunk.truncate(length);
        Ok((file, chunk))
    });
    match read.await {
        Ok(Ok((_, chunk))) if chunk.is_empty() => None,
        Ok(Ok((file, chunk))) => Some((Ok(chunk.into()), Some(file))),
        Ok(Err(error)) => Some((Err(map_archive_error(&error).into()), None)),
        Err(error) => Some((Err(error.into()), None)),
    }
}

/// Returns the file name for the client: the full name in UTF-8, and a version in ASCII.
fn attachment(path: &[u8]) -> ContentDisposition {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let ascii: String = name
        .iter()
        .map(|&byte| match byte {
            b'"' | b'\\' | b'%' => '_',
            b' '..=b'~' => char::from(byte),
            _ => '_',
        })
        .collect();
    let mut parameters = vec![DispositionParam::Filename(ascii.clone())];
    if ascii.as_bytes() != name {
        parameters.push(DispositionParam::FilenameExt(ExtendedValue {
            charset: Charset::Ext("UTF-8".to_owned()),
            language_tag: None,
            value: String::from_utf8_lossy(name).into_owned().into_bytes(),
        }));
    }
    ContentDisposition {
        disposition: DispositionType::Attachment,
        parameters,
    }
}
