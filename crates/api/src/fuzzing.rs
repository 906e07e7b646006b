//! Entrances to private parsers for the programs in `fuzz/`, which feed them arbitrary input.
//!
//! This module is compiled only with `--cfg fuzzing`, so it is not part of the crate's interface.
//! It decides nothing: each function calls the code that a request would reach.

mod bodies;

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use actix_http::ServiceConfig;
use actix_web::HttpRequest;
use actix_web::http::header::{
    AUTHORIZATION, CONTENT_RANGE, EntityTag, HeaderName, HeaderValue, RANGE,
};
use actix_web::test::TestRequest;
use chrono::DateTime;
use ipnet::IpNet;

use crate::AllowedHosts;
use crate::auth;
use crate::client_address;
use crate::download_token::TokenSigner;
use crate::handlers::backups::normalize;
use crate::handlers::files::stream::{RequestedRange, requested_range};
use crate::handlers::files::{from_file, token};
use crate::host::Host;
use crate::middleware::has_readable_range;
use crate::page::{self, Page};
use crate::serve::strict_lines::LineCheck;

pub use bodies::{
    BackupBody, JobQuery, MAX_IGNORED_BYTES, Refusal, application_key, create_backup,
    delete_server_query, job_query, lock, rename, restore, schedule, schedule_task, server,
    server_state, subuser, user,
};

/// A request with these headers. What HTTP does not allow in a header is left out, since such a
/// request never arrives.
fn request(peer: Option<SocketAddr>, headers: &[(&str, &[u8])]) -> HttpRequest {
    let mut request = TestRequest::default();
    if let Some(peer) = peer {
        request = request.peer_addr(peer);
    }
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            request = request.append_header((name, value));
        }
    }
    request.to_http_request()
}

/// What a request says about its client, with these trusted proxies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenClient {
    /// The client's address; `None` if it is unknown.
    pub address: Option<IpAddr>,
    /// The URL of the service, as the client has asked for it.
    pub url: String,
}

/// Reads the headers of a request from `peer`.
pub fn client(peer: SocketAddr, headers: &[(&str, &[u8])], trusted: &[IpNet]) -> SeenClient {
    let request = request(Some(peer), headers);
    SeenClient {
        address: client_address::address(&request, trusted),
        url: client_address::requested_url(&request, trusted),
    }
}

/// Parses a host: its name, and its port.
pub fn host(text: &str) -> Option<(String, Option<u16>)> {
    Host::parse(text).map(|host| (host.name, host.port))
}

/// Returns whether a request may name a host if only `allowed` is. `None`: one of them is no host.
pub fn is_allowed_host(allowed: &str, text: &str) -> Option<bool> {
    let mut hosts = AllowedHosts::default();
    let is_valid = hosts.add(allowed);
    Some(hosts.contains(&Host::parse(text).filter(|_| is_valid)?))
}

/// Returns what the service reads from a connection on which these bytes arrive, in pieces of these
/// lengths, over and over.
pub fn strict_lines(bytes: &[u8], lengths: &[usize]) -> Vec<u8> {
    thread_local! {
        static CONFIG: ServiceConfig = actix_web::rt::Runtime::new()
            .expect("a runtime")
            .block_on(async { ServiceConfig::default() });
    }
    let mut check = CONFIG.with(|config| LineCheck::new(config.clone()));
    let mut bytes = bytes.to_vec();
    let mut rest = &mut bytes[..];
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, following) = rest.split_at_mut((*length).clamp(1, rest.len()));
        check.check(piece);
        rest = following;
    }
    bytes
}

/// Returns the key in `Authorization`, with its secret.
pub fn bearer(headers: &[&[u8]]) -> Option<String> {
    let headers: Vec<_> = headers
        .iter()
        .map(|value| (AUTHORIZATION.as_str(), *value))
        .collect();
    auth::bearer(&request(None, &headers)).map(|token| token.reveal())
}

/// The status of an answer with an archive, and the bytes of it that it has. They are `None` if the
/// range is outside the archive.
pub type AnsweredRange = (u16, Option<Range<u64>>);

/// A request as the middleware passes it on.
fn with_readable_range(headers: &[(&str, &[u8])]) -> HttpRequest {
    let sent = request(None, headers);
    if has_readable_range(&sent) {
        return sent;
    }
    let others = headers.iter().filter(|(name, _)| *name != RANGE.as_str());
    request(None, &others.copied().collect::<Vec<_>>())
}

/// Reads the range of a request for an encrypted archive of `total` bytes.
pub fn streamed_range(headers: &[(&str, &[u8])], tag: &str, total: u64) -> AnsweredRange {
    let tag = EntityTag::new_strong(tag.to_owned());
    match requested_range(&with_readable_range(headers), &tag, total) {
        RequestedRange::All => (200, Some(0..total)),
        RequestedRange::Part(from, to) => (206, Some(from..to)),
        RequestedRange::Unsatisfiable => (416, None),
    }
}

/// Reads the range of a request for an archive that is a file, as the middleware and the handler
/// do.
///
/// # Panics
/// If the file cannot be read, or the answer has no readable `Content-Range`.
pub fn file_range(range: &[u8], file: File) -> AnsweredRange {
    let total = file.metadata().expect("the length of the file").len();
    let answered = with_readable_range(&[(RANGE.as_str(), range)]);
    let response = from_file(&answered, file, "archive.tar.gz".to_owned()).expect("an answer");
    let status = response.status().as_u16();
    let part = response.headers().get(CONTENT_RANGE).map(|value| {
        let text = value.to_str().expect("text");
        let (part, _) = text
            .strip_prefix("bytes ")
            .and_then(|text| text.split_once('/'))
            .expect("a range");
        let (first, last) = part.split_once('-')?;
        let last: u64 = last.parse().expect("a number");
        Some(first.parse().expect("a number")..last + 1)
    });
    (status, part.unwrap_or(Some(0..total)))
}

/// A page that a query selects, out of `total` entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectedPage {
    /// The number of the page.
    pub number: u64,
    /// The most entries on it.
    pub size: u32,
    /// The number of entries before it.
    pub offset: u64,
    /// The number of pages.
    pub pages: u64,
    /// The link to the page before it.
    pub previous: Option<String>,
    /// The link to the page after it.
    pub next: Option<String>,
}

/// Reads the query of a list.
pub fn page(url: &str, query: &str, total: u64) -> SelectedPage {
    let page = Page::from_query(url, query);
    let pagination = page.pagination(total, 0);
    SelectedPage {
        number: pagination.current_page,
        size: page.size(),
        offset: page.offset(),
        pages: pagination.total_pages,
        previous: pagination.links.previous,
        next: pagination.links.next,
    }
}

/// Returns the bytes of a parameter of a query.
pub fn query_value(query: &str, name: &str) -> Option<Vec<u8>> {
    page::query_value(query, name)
}

/// Returns a path as in an archive.
pub fn normalized_path(path: &[u8]) -> Vec<u8> {
    normalize(path)
}

/// Returns the download token of a query.
pub fn query_token(query: &str) -> Option<String> {
    token(query).ok()
}

/// Verifies a download token. Returns the expiry time of a valid one, and the same claims signed
/// again.
///
/// # Panics
/// If the claims of a valid token cannot be signed again.
pub fn verified_token(signer: &TokenSigner, token: &str, now: i64) -> Option<(i64, String)> {
    let now = DateTime::from_timestamp(now, 0)?;
    let claims = signer.verify(token, now).ok()?;
    let again = signer.sign(&claims).expect("a token");
    assert_eq!(signer.verify(&again, now).ok(), Some(claims.clone()));
    Some((claims.exp, again))
}
