//! Reads an object of a bucket, and resumes after a lost connection.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::Response;
use reqwest::header::RANGE;

use super::GcsDisk;
use super::client::ATTEMPTS_MAX;
use super::failure::RequestError;
use crate::error::Error;
use crate::key::StorageKey;

/// The number of bytes between two lost connections that count as progress.
const PROGRESS_BYTES: u64 = 64 * 1024;
/// How long a connection may transfer nothing.
const STALL_TIMEOUT: Duration = Duration::from_secs(20);

/// The bytes of an object or of a range of it.
#[derive(Debug)]
pub(crate) struct GcsReader {
    disk: Arc<GcsDisk>,
    key: StorageKey,
    /// The URL of this generation of the object, which excludes later ones.
    url: String,
    object_bytes: u64,
    /// The range still to be read.
    left: Range<u64>,
    body: Option<Response>,
    /// The attempts in a row without progress.
    attempts: u32,
    /// The number of bytes read since the last lost connection.
    read_since_retry_bytes: u64,
}

impl GcsReader {
    pub(super) async fn begin(
        disk: Arc<GcsDisk>,
        key: StorageKey,
        range: Range<u64>,
    ) -> Result<Self, Error> {
        // Servers refuse ranges that are empty or begin after the end.
        let metadata = match disk.head(key).await {
            Ok(metadata) => metadata,
            Err(error) => return Err(disk.explain(error).await),
        };
        let object_bytes = metadata.size_bytes();
        let end = range.end.max(range.start).min(object_bytes);
        let generation: String = metadata
            .generation
            .chars()
            .filter(char::is_ascii_digit)
            .collect();
        Ok(Self {
            url: format!("{}?alt=media&generation={generation}", disk.object_url(key)),
            disk,
            key,
            object_bytes,
            left: range.start.min(end)..end,
            body: None,
            attempts: 0,
            read_since_retry_bytes: 0,
        })
    }

    pub(crate) fn object_bytes(&self) -> u64 {
        self.object_bytes
    }

    pub(crate) fn left_bytes(&self) -> u64 {
        self.left.end - self.left.start
    }

    /// Requests the range still to be read.
    async fn connect(&self) -> Result<Response, RequestError> {
        let range = format!("bytes={}-{}", self.left.start, self.left.end - 1);
        let request = self.disk.http.get(&self.url).header(RANGE, range);
        let response = self.disk.send_for_body(request).await?;
        let is_whole_object = self.left == (0..self.object_bytes);
        let is_range = response.status().as_u16() == 206;
        let length = response.content_length();
        if !(is_range || is_whole_object)
            || length.is_some_and(|length| length != self.left_bytes())
        {
            let source = "the server sent a different range than requested";
            return Err(RequestError::Connection(source.into()));
        }
        Ok(response)
    }

    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while !self.left.is_empty() {
            let Some(body) = &mut self.body else {
                match self.connect().await {
                    Ok(body) => self.body = Some(body),
                    Err(error) => self.wait_before_retry(error).await?,
                }
                continue;
            };
            let error = match tokio::time::timeout(STALL_TIMEOUT, body.chunk()).await {
                Ok(Ok(Some(chunk))) if chunk.is_empty() => continue,
                Ok(Ok(Some(chunk))) if chunk.len() as u64 <= self.left_bytes() => {
                    self.left.start += chunk.len() as u64;
                    self.read_since_retry_bytes += chunk.len() as u64;
                    return Ok(Some(chunk));
                }
                Ok(Ok(Some(_))) => {
                    RequestError::Connection("the server sent too many bytes".into())
                }
                Ok(Ok(None)) => RequestError::Connection("the connection ended too early".into()),
                Ok(Err(error)) => RequestError::from_transport(error),
                Err(elapsed) => RequestError::Connection(elapsed.into()),
            };
            self.wait_before_retry(error).await?;
        }
        Ok(None)
    }

    /// Waits before a new connection. Returns the error if a retry does not help.
    async fn wait_before_retry(&mut self, error: RequestError) -> Result<(), Error> {
        self.body = None;
        if std::mem::take(&mut self.read_since_retry_bytes) >= PROGRESS_BYTES {
            self.attempts = 0;
        }
        self.attempts += 1;
        let error = match self.disk.wait_before_retry(self.attempts, error).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        self.attempts = ATTEMPTS_MAX;
        Err(self.disk.error_from(self.key, error))
    }
}
