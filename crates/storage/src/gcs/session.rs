//! The session of a large upload: chunks one after the other, and the question how far the server is
//! whenever something went wrong.
//!
//! The URL of a session opens it to whoever has it: it stands in no text and no log.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, LOCATION};
use serde_json::json;

use super::client::{self, Reply};
use super::failure::Failure;
use super::{ARCHIVE_TYPE, Found, GcsDisk, GcsOptions, MARK};
use crate::error::Error;
use crate::key::StorageKey;

/// A session that takes one upload.
#[derive(Clone)]
pub(super) struct Session {
    disk: Arc<GcsDisk>,
    key: StorageKey,
    url: Arc<str>,
}

/// A part of an upload.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    pub(super) offset: u64,
    pub(super) body: Bytes,
    /// Of the last one: the CRC-32C of the whole object, whose size it completes.
    pub(super) ends_with: Option<u32>,
}

/// What has become of a chunk.
#[derive(Debug)]
enum Answered {
    /// The server has so many bytes of the upload.
    Kept(u64),
    /// The object is there.
    Done(Found),
    /// The server knows no such session, or no longer.
    Lost,
}

/// Writes a CRC-32C as Google does.
pub(super) fn checksum(crc: u32) -> String {
    STANDARD.encode(crc.to_be_bytes())
}

/// How many bytes a server says that it has. What it keeps are whole units: of anything beyond it may
/// say so and yet lose it, and sending bytes twice harms nobody.
pub(super) fn kept_bytes(headers: &HeaderMap) -> u64 {
    let range = headers.get("range").and_then(|range| range.to_str().ok());
    let last = range.and_then(|range| range.rsplit('-').next()?.parse().ok());
    last.map_or(0, |last: u64| last.saturating_add(1))
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Session({})", self.key)
    }
}

impl Session {
    pub(super) async fn begin(
        disk: &Arc<GcsDisk>,
        key: StorageKey,
        mark: &str,
    ) -> Result<Self, Error> {
        let url = disk.upload_url(key, "resumable");
        let about = json!({ "contentType": ARCHIVE_TYPE, "metadata": { MARK: mark } });
        let about = about.to_string();
        let make = |http: &reqwest::Client| {
            let request = http.post(&url).body(about.clone());
            let request = request.header("X-Upload-Content-Type", ARCHIVE_TYPE);
            request.header(CONTENT_TYPE, "application/json")
        };
        let begun = disk.ask(make, client::ATTEMPT).await;
        let begun = begun.map_err(|failure| disk.failed_on_bucket(key, failure))?;
        let url = begun
            .headers
            .get(LOCATION)
            .and_then(|url| url.to_str().ok());
        let Some(url) = url else {
            return Err(disk.broken(key, "the server named no session"));
        };
        Ok(Self {
            disk: Arc::clone(disk),
            key,
            url: url.into(),
        })
    }

    /// Sends a chunk, taking up what did not arrive as often as it may help; returns the object after
    /// the last one.
    pub(super) async fn send(&self, chunk: Chunk) -> Result<Option<Found>, Error> {
        let end = chunk.offset + chunk.body.len() as u64;
        let (mut at, mut furthest, mut tries) = (chunk.offset, chunk.offset, 0);
        loop {
            tries += 1;
            let failure = match self.send_from(&chunk, at).await {
                Ok(Answered::Done(found)) if chunk.ends_with.is_some() => return Ok(Some(found)),
                Ok(Answered::Kept(kept)) if kept == end && chunk.ends_with.is_none() => {
                    return Ok(None);
                }
                Ok(answered) => {
                    match self.go_on(&chunk, answered, &mut at, &mut furthest, &mut tries)? {
                        true => continue,
                        false => Failure::Broken("the server kept nothing of what was sent".into()),
                    }
                }
                // Some say that they have the first byte when they have none: they want the whole unit.
                Err(failure)
                    if matches!(failure.status(), Some(400))
                        && !at.is_multiple_of(GcsOptions::CHUNK_BYTES_UNIT) =>
                {
                    at -= at % GcsOptions::CHUNK_BYTES_UNIT;
                    continue;
                }
                Err(failure) if matches!(failure.status(), Some(400)) && at > chunk.offset => {
                    Failure::Broken(failure.to_string().into())
                }
                Err(failure) => failure,
            };
            let waited = self.disk.before_another_try(tries, failure).await;
            waited.map_err(|failure| self.failed(failure))?;
            match self.ask(&chunk).await {
                Ok(Answered::Done(found)) if chunk.ends_with.is_some() => return Ok(Some(found)),
                Ok(Answered::Kept(kept)) if kept == end && chunk.ends_with.is_none() => {
                    return Ok(None);
                }
                Ok(answered) => {
                    self.go_on(&chunk, answered, &mut at, &mut furthest, &mut tries)?;
                }
                // The next try will tell.
                Err(failure) if failure.may_pass() => {}
                Err(failure) => return Err(self.failed(failure)),
            }
        }
    }

    /// Moves to where the server is; `false` if that is no further than before.
    fn go_on(
        &self,
        chunk: &Chunk,
        answered: Answered,
        at: &mut u64,
        furthest: &mut u64,
        tries: &mut u32,
    ) -> Result<bool, Error> {
        let end = chunk.offset + chunk.body.len() as u64;
        let kept = match answered {
            Answered::Kept(kept) => kept,
            Answered::Lost => return Err(self.lost()),
            Answered::Done(_) => {
                let source = "the server ended the upload before its end";
                return Err(self.disk.broken(self.key, source));
            }
        };
        // Google keeps whole units, others any number of bytes; each goes on exactly where it is.
        if kept < chunk.offset || kept > end {
            let source = format!("the server has {kept} bytes of an upload that is at {at}");
            return Err(self.disk.broken(self.key, source));
        }
        let is_further = kept > *furthest;
        if is_further {
            (*furthest, *tries) = (kept, 0);
        }
        *at = kept;
        Ok(is_further)
    }

    /// Sends what of a chunk lies at `at` and behind.
    async fn send_from(&self, chunk: &Chunk, at: u64) -> Result<Answered, Failure> {
        let skipped = usize::try_from(at - chunk.offset).unwrap_or(usize::MAX);
        let body = chunk.body.slice(skipped.min(chunk.body.len())..);
        if body.is_empty() {
            return self.ask(chunk).await;
        }
        let end = at + body.len() as u64;
        let total = match chunk.ends_with {
            Some(_) => end.to_string(),
            None => "*".to_owned(),
        };
        let range = format!("bytes {at}-{}/{total}", end - 1);
        self.put(range, chunk.ends_with, body).await
    }

    /// Asks how far the server is.
    async fn ask(&self, chunk: &Chunk) -> Result<Answered, Failure> {
        let total = match chunk.ends_with {
            Some(_) => (chunk.offset + chunk.body.len() as u64).to_string(),
            None => "*".to_owned(),
        };
        let range = format!("bytes */{total}");
        self.put(range, chunk.ends_with, Bytes::new()).await
    }

    async fn put(&self, range: String, crc: Option<u32>, body: Bytes) -> Result<Answered, Failure> {
        let request = self.disk.http.put(&*self.url);
        let mut request = request
            .timeout(client::time_for(body.len()))
            .header(CONTENT_RANGE, range)
            .header(CONTENT_LENGTH, body.len());
        if let Some(crc) = crc {
            request = request.header("X-Goog-Hash", format!("crc32c={}", checksum(crc)));
        }
        match self.disk.once(request.body(body)).await {
            Ok(reply) => answered(&reply),
            Err(failure) if matches!(failure.status(), Some(404 | 410)) => Ok(Answered::Lost),
            Err(failure) => Err(failure),
        }
    }

    fn failed(&self, failure: Failure) -> Error {
        self.disk.failed(self.key, failure)
    }

    fn lost(&self) -> Error {
        let source = "the server has lost the session of the upload";
        self.disk.broken(self.key, source)
    }

    /// Has the server forget the session, and what it has got.
    pub(super) async fn forget(&self) -> Result<(), Error> {
        let url = &*self.url;
        let make = |http: &reqwest::Client| http.delete(url).header(CONTENT_LENGTH, 0);
        match self.disk.ask(make, client::ATTEMPT).await {
            Ok(_) => Ok(()),
            // That is how the server says it (499), or it knows none any more, or it knows only its
            // own end (501), which comes.
            Err(failure) if matches!(failure.status(), Some(404 | 410 | 499 | 501)) => Ok(()),
            Err(failure) => Err(self.failed(failure)),
        }
    }
}

fn answered(reply: &Reply) -> Result<Answered, Failure> {
    match reply.status {
        308 => Ok(Answered::Kept(kept_bytes(&reply.headers))),
        _ => reply.json().map(Answered::Done),
    }
}
