//! An archive that the service hands out piece by piece, since its disk has no links and no files of its own: it is
//! encrypted. Ranges, conditions and HEAD work as they do for files.

use actix_web::body::SizedStream;
use actix_web::http::header::{
    ACCEPT_RANGES, ByteRangeSpec, CONTENT_RANGE, ContentDisposition, ContentType, DispositionParam,
    DispositionType, ETag, EntityTag, Header, HeaderName, HttpDate, IF_MATCH, IF_NONE_MATCH,
    IF_RANGE, IfMatch, IfNoneMatch, IfRange, LAST_MODIFIED, RANGE, Range,
};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream;

use holdfast_domain::backup::CompletedBackup;
use holdfast_domain::error_chain::chain;
use holdfast_storage::{Disk, ObjectReader, StorageKey};

use super::unavailable;
use crate::error::ApiError;

/// Answers with the part of an archive that is asked for.
pub(super) async fn archive(
    request: &HttpRequest,
    disk: &Disk,
    key: StorageKey,
    completed: &CompletedBackup,
    name: String,
) -> Result<HttpResponse, ApiError> {
    let total = completed.size_bytes;
    // The content decides, so a download can be taken up on any process, and after a restart.
    let tag = EntityTag::new_strong(hex::encode(completed.sha256));
    let modified = HttpDate::from(std::time::SystemTime::from(completed.at));
    if let Some(IfMatch::Items(wanted)) = condition(request, IF_MATCH)
        && !wanted.iter().any(|one| one.strong_eq(&tag))
    {
        return Err(ApiError::PreconditionFailed);
    }
    let is_known = match condition(request, IF_NONE_MATCH) {
        Some(IfNoneMatch::Any) => true,
        Some(IfNoneMatch::Items(known)) => known.iter().any(|one| one.weak_eq(&tag)),
        None => false,
    };
    if is_known {
        return Ok(HttpResponse::NotModified()
            .insert_header(ETag(tag))
            .finish());
    }
    let wanted = match still_as_it_was(request, &tag) {
        true => range(request),
        false => None,
    };
    let wanted = match wanted.map(|spec| spec.to_satisfiable_range(total)) {
        None => None,
        Some(Some((first, last))) => Some((first, last + 1)),
        Some(None) => {
            return Ok(HttpResponse::RangeNotSatisfiable()
                .insert_header((CONTENT_RANGE, format!("bytes */{total}")))
                .finish());
        }
    };
    let (from, to) = wanted.unwrap_or((0, total));
    let mut response = match wanted {
        Some(_) => HttpResponse::build(StatusCode::PARTIAL_CONTENT),
        None => HttpResponse::Ok(),
    };
    if wanted.is_some() {
        let last = to.saturating_sub(1);
        response.insert_header((CONTENT_RANGE, format!("bytes {from}-{last}/{total}")));
    }
    response
        .insert_header(ContentType(
            "application/gzip".parse().map_err(|_| ApiError::Internal)?,
        ))
        .insert_header(ContentDisposition {
            disposition: DispositionType::Attachment,
            parameters: vec![DispositionParam::Filename(name)],
        })
        .insert_header(ETag(tag))
        .insert_header((LAST_MODIFIED, modified))
        .insert_header((ACCEPT_RANGES, "bytes"));
    let reader = disk.read(key, from..to).await.map_err(unavailable)?;
    if reader.object_bytes() != total {
        tracing::error!(%key, object_bytes = reader.object_bytes(), size_bytes = total, "an archive has another size than it had");
        return Err(ApiError::ArchiveMissing);
    }
    if *request.method() == Method::HEAD {
        let nothing = stream::empty::<Result<actix_web::web::Bytes, actix_web::Error>>();
        return Ok(response.body(SizedStream::new(to - from, nothing)));
    }
    let pieces = stream::unfold(Some(reader), move |reader| next(reader, key));
    Ok(response.body(SizedStream::new(to - from, pieces)))
}

/// The next piece. After a failure nothing comes: the client sees that the answer is too short.
async fn next(
    reader: Option<ObjectReader>,
    key: StorageKey,
) -> Option<(
    Result<actix_web::web::Bytes, actix_web::Error>,
    Option<ObjectReader>,
)> {
    let mut reader = reader?;
    match reader.next().await {
        Ok(piece) => piece.map(|piece| (Ok(piece), Some(reader))),
        Err(error) => {
            tracing::error!(error = chain(&error), %key, "a download broke off");
            Some((Err(ApiError::Unavailable.into()), None))
        }
    }
}

/// Reads a condition; one that makes no sense is none.
fn condition<T: Header>(request: &HttpRequest, name: HeaderName) -> Option<T> {
    request
        .headers()
        .contains_key(name)
        .then(|| T::parse(request).ok())?
}

/// Says whether a range may be answered: always, unless it is asked for only of what the client has begun with.
fn still_as_it_was(request: &HttpRequest, tag: &EntityTag) -> bool {
    match condition(request, IF_RANGE) {
        None => !request.headers().contains_key(IF_RANGE),
        Some(IfRange::EntityTag(known)) => known.strong_eq(tag),
        // Times are too coarse to be sure.
        Some(IfRange::Date(_)) => false,
    }
}

/// The range that is asked for; all of the archive when several are.
fn range(request: &HttpRequest) -> Option<ByteRangeSpec> {
    match condition(request, RANGE)? {
        Range::Bytes(specs) if specs.len() == 1 => specs.into_iter().next(),
        _ => None,
    }
}
