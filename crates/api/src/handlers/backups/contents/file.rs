//! `GET …/backups/{backup}/contents/file`: one file out of a completed backup. Of the archive only the blocks are read
//! that hold it, piece by piece as the client takes them.

use actix_web::body::SizedStream;
use actix_web::http::Method;
use actix_web::http::header::{
    ACCEPT_RANGES, Charset, ContentDisposition, ContentType, DispositionParam, DispositionType,
    ExtendedValue, HttpDate, LAST_MODIFIED,
};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use chrono::DateTime;
use futures_util::stream;
use serde_json::json;

use holdfast_archive::{FileLocation, PathLookup, SingleFile, find_file};
use holdfast_db::activity;
use holdfast_domain::activity::ActivityEvent;
use holdfast_storage::BlockingReader;

use super::archive_access::{Reach, apart, damaged, index_damaged};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::openapi::Refusals;
use crate::state::ApiState;

/// The size of a piece that is unpacked at a time.
const PIECE_BYTES: usize = 256 << 10;

/// Reads one file of a backup.
#[utoipa::path(
    get,
    path = "/api/client/servers/{server}/backups/{backup}/contents/file",
    tag = "backups",
    params(
        ("server" = String, Path, description = "UUID of the server, or the eight characters before its first dash"),
        ("backup" = String, Path, description = "UUID of the backup"),
        ("path" = String, Query, min_length = 1, description = "The file, such as `world/level.dat`"),
    ),
    responses((status = 200, description = "The file", content_type = "application/octet-stream", body = String), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn contents_file(
    caller: Caller,
    request: HttpRequest,
    state: Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let wanted = Reach::of(&caller, &state, request.query_string(), true)?;
    let place = find(&wanted).await?;
    let (size, modified) = (place.entry().size, place.entry().mtime);
    let archive = wanted.archive(place.range()).await?;
    let opened = apart(move || place.open(archive)).await?;
    let file = opened.map_err(|error| damaged(&error))?;

    let mut response = HttpResponse::Ok();
    response
        .insert_header(ContentType::octet_stream())
        .insert_header(attachment(&wanted.path))
        .insert_header((ACCEPT_RANGES, "none"));
    if let Some(modified) = DateTime::from_timestamp(modified.0, modified.1)
        && modified.timestamp() > 0
    {
        let modified = HttpDate::from(std::time::SystemTime::from(modified));
        response.insert_header((LAST_MODIFIED, modified));
    }
    if *request.method() == Method::HEAD {
        let nothing = stream::empty::<Result<Bytes, actix_web::Error>>();
        return Ok(response.body(SizedStream::new(size, nothing)));
    }
    let mut transaction = state.database.begin().await?;
    let path = String::from_utf8_lossy(&wanted.path).replace('\0', "\u{fffd}");
    activity::record(
        &mut transaction,
        ActivityEvent::Download,
        wanted.server,
        wanted.backup,
        Some(&caller.origin()),
        &json!({ "file": path }),
    )
    .await?;
    transaction.commit().await?;
    Ok(response.body(SizedStream::new(size, stream::unfold(Some(file), next))))
}

/// Looks for the file; a further name of it leads to its first.
async fn find(wanted: &Reach<'_>) -> Result<Box<FileLocation<BlockingReader>>, ApiError> {
    let mut path = wanted.path.clone();
    let mut is_first = true;
    loop {
        let index = wanted.index().await?;
        let found = apart(move || find_file(index, &path)).await?;
        match found.map_err(|error| index_damaged(&error))? {
            PathLookup::File(place) => return Ok(place),
            PathLookup::Link(first) if is_first => path = first,
            PathLookup::Link(_) => return Err(ApiError::IndexMissing),
            PathLookup::NoFile(_) => return Err(ApiError::NoFile),
            PathLookup::Nothing if wanted.path.is_empty() => return Err(ApiError::NoFile),
            PathLookup::Nothing if is_first => return Err(ApiError::NotFound),
            PathLookup::Nothing => return Err(ApiError::IndexMissing),
        }
        is_first = false;
    }
}

type Open = SingleFile<BlockingReader, BlockingReader>;

/// The next piece. After a failure nothing comes: the client sees that the answer is too short.
async fn next(file: Option<Open>) -> Option<(Result<Bytes, actix_web::Error>, Option<Open>)> {
    let mut file = file?;
    let read = apart(move || {
        let mut piece = vec![0; PIECE_BYTES];
        let length = file.read(&mut piece)?;
        piece.truncate(length);
        Ok((file, piece))
    });
    match read.await {
        Ok(Ok((_, piece))) if piece.is_empty() => None,
        Ok(Ok((file, piece))) => Some((Ok(piece.into()), Some(file))),
        Ok(Err(error)) => Some((Err(damaged(&error).into()), None)),
        Err(error) => Some((Err(error.into()), None)),
    }
}

/// Names the file as its folder did: in full for those who read UTF-8, and with what ASCII has of it.
fn attachment(path: &[u8]) -> ContentDisposition {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let plain: String = name
        .iter()
        .map(|&byte| match byte {
            b'"' | b'\\' | b'%' => '_',
            b' '..=b'~' => char::from(byte),
            _ => '_',
        })
        .collect();
    let mut parameters = vec![DispositionParam::Filename(plain.clone())];
    if plain.as_bytes() != name {
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
