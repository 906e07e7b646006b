//! Streams an archive from a disk that has neither files nor links for it, since it is encrypted.
//!
//! Ranges, conditional requests and HEAD work like those for files.

use actix_web::body::SizedStream;
use actix_web::http::header::{
    ACCEPT_RANGES, ByteRangeSpec, CONTENT_RANGE, ContentDisposition, ContentType, DispositionParam,
    DispositionType, ETag, EntityTag, Header, HeaderName, HttpDate, IF_MATCH, IF_NONE_MATCH,
    IF_RANGE, IfMatch, IfNoneMatch, IfRange, LAST_MODIFIED, RANGE, Range,
};
use actix_web::http::{Method, StatusCode};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream;

use holdfast_domain::backup::CompletedBackup;
use holdfast_domain::error_chain::chain;
use holdfast_storage::{Disk, ObjectReader, StorageKey};

use crate::error::ApiError;

/// Answers with the requested range of an archive.
pub(super) async fn archive(
    request: &HttpRequest,
    disk: &Disk,
    key: StorageKey,
    completed: &CompletedBackup,
    name: String,
) -> Result<HttpResponse, ApiError> {
    let total = completed.size_bytes;
    // The tag is the hash of the content. So a client can continue a download on another process.
    let tag = EntityTag::new_strong(hex::encode(completed.sha256));
    let modified = HttpDate::from(std::time::SystemTime::from(completed.at));
    if is_unmodified(request, &tag)? {
        return Ok(HttpResponse::NotModified()
            .insert_header(ETag(tag))
            .finish());
    }
    let range = match requested_range(request, &tag, total) {
        RequestedRange::All => None,
        RequestedRange::Part(from, to) => Some((from, to)),
        RequestedRange::Unsatisfiable => {
            return Ok(HttpResponse::RangeNotSatisfiable()
                .insert_header((CONTENT_RANGE, format!("bytes */{total}")))
                .finish());
        }
    };
    let (from, to) = range.unwrap_or((0, total));
    let mut response = match range {
        Some(_) => HttpResponse::build(StatusCode::PARTIAL_CONTENT),
        None => HttpResponse::Ok(),
    };
    if range.is_some() {
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
    let reader = open(disk, key, from..to, total).await?;
    if *request.method() == Method::HEAD {
        let empty = stream::empty::<Result<Bytes, actix_web::Error>>();
        return Ok(response.body(SizedStream::new(to - from, empty)));
    }
    let chunks = stream::unfold(Some(reader), move |reader| next_chunk(reader, key));
    Ok(response.body(SizedStream::new(to - from, chunks)))
}

/// Opens a range of an archive, and checks that the archive still has its size.
async fn open(
    disk: &Disk,
    key: StorageKey,
    range: std::ops::Range<u64>,
    size_bytes: u64,
) -> Result<ObjectReader, ApiError> {
    let reader = disk.read(key, range).await?;
    let object_bytes = reader.object_bytes();
    if object_bytes != size_bytes {
        tracing::error!(
            %key,
            object_bytes,
            size_bytes,
            "the size of an archive has changed"
        );
        return Err(ApiError::ArchiveMissing);
    }
    Ok(reader)
}

/// Returns the next chunk. After an error the stream ends, so that the client sees a truncated
/// answer.
async fn next_chunk(
    reader: Option<ObjectReader>,
    key: StorageKey,
) -> Option<(Result<Bytes, actix_web::Error>, Option<ObjectReader>)> {
    let mut reader = reader?;
    match reader.next().await {
        Ok(chunk) => chunk.map(|chunk| (Ok(chunk), Some(reader))),
        Err(error) => {
            tracing::error!(error = chain(&error), %key, "a download was interrupted");
            Some((Err(ApiError::Unavailable.into()), None))
        }
    }
}

/// Reads a conditional header. An invalid one counts as absent.
fn condition<T: Header>(request: &HttpRequest, name: HeaderName) -> Option<T> {
    request
        .headers()
        .contains_key(name)
        .then(|| T::parse(request).ok())?
}

/// Checks `If-Match`, and returns whether `If-None-Match` makes the answer 304.
fn is_unmodified(request: &HttpRequest, tag: &EntityTag) -> Result<bool, ApiError> {
    if let Some(IfMatch::Items(tags)) = condition(request, IF_MATCH)
        && !tags.iter().any(|item| item.strong_eq(tag))
    {
        return Err(ApiError::PreconditionFailed);
    }
    Ok(match condition(request, IF_NONE_MATCH) {
        Some(IfNoneMatch::Any) => true,
        Some(IfNoneMatch::Items(tags)) => tags.iter().any(|item| item.weak_eq(tag)),
        None => false,
    })
}

/// The part of an archive that a request asks for.
pub(crate) enum RequestedRange {
    All,
    /// From the first byte up to, but not including, the second one.
    Part(u64, u64),
    Unsatisfiable,
}

/// Reads the range of a request for an archive of `total` bytes.
pub(crate) fn requested_range(
    request: &HttpRequest,
    tag: &EntityTag,
    total: u64,
) -> RequestedRange {
    let spec = match allows_range(request, tag) {
        true => range(request),
        false => None,
    };
    match spec.map(|spec| spec.to_satisfiable_range(total)) {
        None => RequestedRange::All,
        Some(Some((first, last))) => RequestedRange::Part(first, last + 1),
        Some(None) => RequestedRange::Unsatisfiable,
    }
}

/// Returns whether `If-Range` allows an answer with a range: it is absent, or its tag still
/// matches.
fn allows_range(request: &HttpRequest, tag: &EntityTag) -> bool {
    match condition(request, IF_RANGE) {
        None => !request.headers().contains_key(IF_RANGE),
        Some(IfRange::EntityTag(item)) => item.strong_eq(tag),
        // A time in seconds cannot prove that the content is the same.
        Some(IfRange::Date(_)) => false,
    }
}

/// Reads the header `Range`. Several ranges count as none, so that the answer is the whole archive.
fn range(request: &HttpRequest) -> Option<ByteRangeSpec> {
    match condition(request, RANGE)? {
        Range::Bytes(specs) if specs.len() == 1 => specs.into_iter().next(),
        _ => None,
    }
}
