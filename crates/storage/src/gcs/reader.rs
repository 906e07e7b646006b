//! Reads an object of a bucket, and goes on where a connection was cut.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::Response;
use reqwest::header::RANGE;

use super::GcsDisk;
use super::client::ATTEMPTS;
use super::failure::Failure;
use crate::error::Error;
use crate::key::StorageKey;

/// How many bytes have to come before a cut is not counted with the one before.
const PROGRESS: u64 = 64 * 1024;
/// How long nothing at all may move in a connection.
const STALL: Duration = Duration::from_secs(20);

/// The bytes of an object, or of a part of it.
#[derive(Debug)]
pub(crate) struct GcsReader {
    disk: Arc<GcsDisk>,
    key: StorageKey,
    /// Where the bytes of this object are, and of none that took its place.
    url: String,
    object_bytes: u64,
    /// What is still to come.
    left: Range<u64>,
    body: Option<Response>,
    tries: u32,
    /// How much has come since the last cut.
    since_cut_bytes: u64,
}

impl GcsReader {
    pub(super) async fn begin(
        disk: Arc<GcsDisk>,
        key: StorageKey,
        range: Range<u64>,
    ) -> Result<Self, Error> {
        // A range that is empty, or begins behind the end, is refused by servers.
        let found = match disk.head(key).await {
            Ok(found) => found,
            Err(error) => return Err(disk.explain(error).await),
        };
        let object_bytes = found.size_bytes();
        let end = range.end.max(range.start).min(object_bytes);
        let generation: String = found
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
            tries: 0,
            since_cut_bytes: 0,
        })
    }

    pub(crate) fn object_bytes(&self) -> u64 {
        self.object_bytes
    }

    pub(crate) fn left_bytes(&self) -> u64 {
        self.left.end - self.left.start
    }

    /// Asks for what is still to come.
    async fn connect(&self) -> Result<Response, Failure> {
        let range = format!("bytes={}-{}", self.left.start, self.left.end - 1);
        let request = self.disk.http.get(&self.url).header(RANGE, range);
        let found = self.disk.open(request).await?;
        let is_whole = self.left == (0..self.object_bytes);
        let is_part = found.status().as_u16() == 206;
        let length = found.content_length();
        if !(is_part || is_whole) || length.is_some_and(|length| length != self.left_bytes()) {
            let source = "the server sent another range than it was asked for";
            return Err(Failure::Broken(source.into()));
        }
        Ok(found)
    }

    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while !self.left.is_empty() {
            let Some(body) = &mut self.body else {
                match self.connect().await {
                    Ok(body) => self.body = Some(body),
                    Err(failure) => self.cut(failure).await?,
                }
                continue;
            };
            let failure = match tokio::time::timeout(STALL, body.chunk()).await {
                Ok(Ok(Some(piece))) if piece.is_empty() => continue,
                Ok(Ok(Some(piece))) if piece.len() as u64 <= self.left_bytes() => {
                    self.left.start += piece.len() as u64;
                    self.since_cut_bytes += piece.len() as u64;
                    return Ok(Some(piece));
                }
                Ok(Ok(Some(_))) => Failure::Broken("the server sent too much".into()),
                Ok(Ok(None)) => Failure::Broken("the connection ended too early".into()),
                Ok(Err(error)) => Failure::lost(error),
                Err(late) => Failure::Broken(late.into()),
            };
            self.cut(failure).await?;
        }
        Ok(None)
    }

    /// Waits after a cut, unless there were too many of them.
    async fn cut(&mut self, failure: Failure) -> Result<(), Error> {
        self.body = None;
        if std::mem::take(&mut self.since_cut_bytes) >= PROGRESS {
            self.tries = 0;
        }
        self.tries += 1;
        let failure = match self.disk.before_another_try(self.tries, failure).await {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        self.tries = ATTEMPTS;
        Err(self.disk.failed(self.key, failure))
    }
}
