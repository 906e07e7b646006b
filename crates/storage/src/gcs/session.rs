//! Resumable sessions for large uploads: sends chunks in order, and asks the server for its
//! position after an error.
//!
//! Anyone with the URL of a session can write to it. It must never appear in an error or a log.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, LOCATION};
use serde_json::json;

use super::client::{self, FullResponse};
use super::failure::RequestError;
use super::{ARCHIVE_TYPE, GcsDisk, GcsOptions, ObjectMetadata, TAG_NAME};
use crate::error::Error;
use crate::key::StorageKey;

/// A resumable session of one upload.
#[derive(Clone)]
pub(super) struct Session {
    disk: Arc<GcsDisk>,
    key: StorageKey,
    url: Arc<str>,
}

/// A chunk of an upload.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    pub(super) offset: u64,
    pub(super) body: Bytes,
    /// In the last chunk: the CRC-32C of the whole object.
    pub(super) final_crc: Option<u32>,
}

/// The state of a session, as the server reports it.
#[derive(Debug)]
enum SessionState {
    /// The server has stored this number of bytes.
    Stored(u64),
    /// The object is complete.
    Completed(ObjectMetadata),
    /// The server does not know the session.
    Lost,
}

/// Formats a CRC-32C as Google does: big-endian, in base64.
pub(super) fn format_crc(crc: u32) -> String {
    STANDARD.encode(crc.to_be_bytes())
}

/// Parses the number of stored bytes from the header `Range`. A server may report bytes beyond a
/// whole unit and lose them later. Then they are sent again, which is harmless.
pub(super) fn stored_bytes(headers: &HeaderMap) -> u64 {
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
        tag: &str,
    ) -> Result<Self, Error> {
        let url = disk.upload_url(key, "resumable");
        let metadata = json!({ "contentType": ARCHIVE_TYPE, "metadata": { TAG_NAME: tag } });
        let metadata = metadata.to_string();
        let build = |http: &reqwest::Client| {
            let request = http.post(&url).body(metadata.clone());
            let request = request.header("X-Upload-Content-Type", ARCHIVE_TYPE);
            request.header(CONTENT_TYPE, "application/json")
        };
        let response = disk.send(build, client::TIMEOUT).await;
        let response = response.map_err(|error| disk.bucket_error_from(key, error))?;
        let url = response
            .headers
            .get(LOCATION)
            .and_then(|url| url.to_str().ok());
        let Some(url) = url else {
            return Err(disk.unavailable(key, "the server returned no session"));
        };
        Ok(Self {
            disk: Arc::clone(disk),
            key,
            url: url.into(),
        })
    }

    /// Sends a chunk. Resumes where the server is, as long as retries help. Returns the object's
    /// metadata after the last chunk.
    pub(super) async fn send(&self, chunk: Chunk) -> Result<Option<ObjectMetadata>, Error> {
        let mut progress = Progress::new(&chunk);
        loop {
            progress.attempts += 1;
            let error = match self.send_from(&chunk, progress.position).await {
                Ok(SessionState::Completed(metadata)) if chunk.is_last() => {
                    return Ok(Some(metadata));
                }
                Ok(SessionState::Stored(stored)) if stored == chunk.end() && !chunk.is_last() => {
                    return Ok(None);
                }
                Ok(state) => match self.update_progress(&chunk, state, &mut progress)? {
                    true => continue,
                    false => RequestError::Connection("the server stored no sent bytes".into()),
                },
                // Some servers report the first byte as stored although it is not. They accept only
                // whole units.
                Err(error)
                    if error.status() == Some(400)
                        && !progress
                            .position
                            .is_multiple_of(GcsOptions::CHUNK_BYTES_UNIT) =>
                {
                    progress.position -= progress.position % GcsOptions::CHUNK_BYTES_UNIT;
                    continue;
                }
                Err(error) if error.status() == Some(400) && progress.position > chunk.offset => {
                    RequestError::Connection(error.to_string().into())
                }
                Err(error) => error,
            };
            let waited = self.disk.wait_before_retry(progress.attempts, error).await;
            waited.map_err(|error| self.error_from(error))?;
            match self.query_state(&chunk).await {
                Ok(SessionState::Completed(metadata)) if chunk.is_last() => {
                    return Ok(Some(metadata));
                }
                Ok(SessionState::Stored(stored)) if stored == chunk.end() && !chunk.is_last() => {
                    return Ok(None);
                }
                Ok(state) => {
                    self.update_progress(&chunk, state, &mut progress)?;
                }
                // The next attempt shows the state.
                Err(error) if error.is_temporary() => {}
                Err(error) => return Err(self.error_from(error)),
            }
        }
    }

    /// Moves the position to that of the server. Returns whether it is further than ever before.
    fn update_progress(
        &self,
        chunk: &Chunk,
        state: SessionState,
        progress: &mut Progress,
    ) -> Result<bool, Error> {
        let stored = match state {
            SessionState::Stored(stored) => stored,
            SessionState::Lost => {
                let source = "the server has lost the session of the upload";
                return Err(self.disk.unavailable(self.key, source));
            }
            SessionState::Completed(_) => {
                let source = "the server completed the upload before its end";
                return Err(self.disk.unavailable(self.key, source));
            }
        };
        // Google stores whole units, other servers any number of bytes.
        if stored < chunk.offset || stored > chunk.end() {
            let position = progress.position;
            let source =
                format!("the server has {stored} bytes of an upload that is at byte {position}");
            return Err(self.disk.unavailable(self.key, source));
        }
        let is_further = stored > progress.furthest;
        if is_further {
            progress.furthest = stored;
            progress.attempts = 0;
        }
        progress.position = stored;
        Ok(is_further)
    }

    /// Sends the bytes of a chunk from `position` on.
    async fn send_from(&self, chunk: &Chunk, position: u64) -> Result<SessionState, RequestError> {
        let skipped = usize::try_from(position - chunk.offset).unwrap_or(usize::MAX);
        let body = chunk.body.slice(skipped.min(chunk.body.len())..);
        if body.is_empty() {
            return self.query_state(chunk).await;
        }
        let end = position + body.len() as u64;
        let total = match chunk.is_last() {
            true => end.to_string(),
            false => "*".to_owned(),
        };
        let range = format!("bytes {position}-{}/{total}", end - 1);
        self.put(range, chunk.final_crc, body).await
    }

    /// Queries the state of the session.
    async fn query_state(&self, chunk: &Chunk) -> Result<SessionState, RequestError> {
        let total = match chunk.is_last() {
            true => chunk.end().to_string(),
            false => "*".to_owned(),
        };
        let range = format!("bytes */{total}");
        self.put(range, chunk.final_crc, Bytes::new()).await
    }

    async fn put(
        &self,
        range: String,
        crc: Option<u32>,
        body: Bytes,
    ) -> Result<SessionState, RequestError> {
        let request = self.disk.http.put(&*self.url);
        let mut request = request
            .timeout(client::timeout_for(body.len()))
            .header(CONTENT_RANGE, range)
            .header(CONTENT_LENGTH, body.len());
        if let Some(crc) = crc {
            request = request.header("X-Goog-Hash", format!("crc32c={}", format_crc(crc)));
        }
        match self.disk.send_once(request.body(body)).await {
            Ok(response) => parse_state(&response),
            Err(error) if matches!(error.status(), Some(404 | 410)) => Ok(SessionState::Lost),
            Err(error) => Err(error),
        }
    }

    fn error_from(&self, error: RequestError) -> Error {
        self.disk.error_from(self.key, error)
    }

    /// Deletes the session, with the bytes that it has stored.
    pub(super) async fn delete(&self) -> Result<(), Error> {
        let url = &*self.url;
        let build = |http: &reqwest::Client| http.delete(url).header(CONTENT_LENGTH, 0);
        match self.disk.send(build, client::TIMEOUT).await {
            Ok(_) => Ok(()),
            // Google confirms the deletion with 499. With 404 and 410, the session is gone. With
            // 501, the server can't delete sessions, and they expire.
            Err(error) if matches!(error.status(), Some(404 | 410 | 499 | 501)) => Ok(()),
            Err(error) => Err(self.error_from(error)),
        }
    }
}

/// The progress of sending a chunk.
struct Progress {
    /// The next byte to send.
    position: u64,
    /// The furthest position that the server has reported.
    furthest: u64,
    /// The attempts in a row without progress.
    attempts: u32,
}

impl Progress {
    fn new(chunk: &Chunk) -> Self {
        Self {
            position: chunk.offset,
            furthest: chunk.offset,
            attempts: 0,
        }
    }
}

impl Chunk {
    fn end(&self) -> u64 {
        self.offset + self.body.len() as u64
    }

    fn is_last(&self) -> bool {
        self.final_crc.is_some()
    }
}

fn parse_state(response: &FullResponse) -> Result<SessionState, RequestError> {
    match response.status {
        308 => Ok(SessionState::Stored(stored_bytes(&response.headers))),
        _ => response.json().map(SessionState::Completed),
    }
}
