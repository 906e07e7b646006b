//! Reads an object of a bucket, and resumes after a lost connection.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;

use super::S3Disk;
use crate::error::Error;
use crate::key::StorageKey;

/// The maximum number of lost connections in a row without progress.
const RETRIES_MAX: u32 = 5;
/// The number of bytes between two lost connections that count as progress.
const PROGRESS_BYTES: u64 = 64 * 1024;
/// The delay after a lost connection, multiplied by the number of retries.
const RETRY_DELAY: Duration = Duration::from_millis(300);

/// The bytes of an object or of a range of it.
#[derive(Debug)]
pub(crate) struct S3Reader {
    disk: Arc<S3Disk>,
    key: StorageKey,
    object_bytes: u64,
    /// The range still to be read.
    left: Range<u64>,
    /// The object's `ETag` at the first request, which shows whether it has changed.
    e_tag: Option<String>,
    body: Option<ByteStream>,
    retries: u32,
    /// The number of bytes read since the last lost connection.
    read_since_retry_bytes: u64,
}

impl S3Reader {
    pub(super) async fn begin(
        disk: Arc<S3Disk>,
        key: StorageKey,
        range: Range<u64>,
    ) -> Result<Self, Error> {
        let object_bytes = disk.size(key).await?;
        let mut reader = Self::new(disk, key, object_bytes, None, range);
        if !reader.left.is_empty() {
            reader.connect().await?;
        }
        Ok(reader)
    }

    /// Returns a reader of an object whose size and `ETag` are known. It connects when it is first
    /// used.
    pub(super) fn new(
        disk: Arc<S3Disk>,
        key: StorageKey,
        object_bytes: u64,
        e_tag: Option<String>,
        range: Range<u64>,
    ) -> Self {
        // Servers refuse ranges that are empty or begin after the end.
        let end = range.end.max(range.start).min(object_bytes);
        Self {
            disk,
            key,
            object_bytes,
            left: range.start.min(end)..end,
            e_tag,
            body: None,
            retries: 0,
            read_since_retry_bytes: 0,
        }
    }

    pub(crate) fn object_bytes(&self) -> u64 {
        self.object_bytes
    }

    pub(crate) fn left_bytes(&self) -> u64 {
        self.left.end - self.left.start
    }

    /// Requests the range still to be read.
    async fn connect(&mut self) -> Result<(), Error> {
        let request = self.disk.client().await.get_object();
        let request = request
            .bucket(self.disk.bucket())
            .key(self.disk.object_name(self.key))
            .range(format!("bytes={}-{}", self.left.start, self.left.end - 1));
        let response = request
            .send()
            .await
            .map_err(|error| self.disk.error_from(self.key, error))?;
        self.check(&response)?;
        self.body = Some(response.body);
        Ok(())
    }

    /// Checks that the object has not changed, and that the response has the requested range.
    fn check(&mut self, response: &GetObjectOutput) -> Result<(), Error> {
        if self.e_tag.is_some() && self.e_tag.as_deref() != response.e_tag() {
            return Err(self
                .disk
                .unavailable(self.key, "it changed while it was read"));
        }
        let length = response
            .content_length()
            .and_then(|n| u64::try_from(n).ok());
        if length.is_some_and(|length| length != self.left_bytes()) {
            return Err(self
                .disk
                .unavailable(self.key, "the server sent a different range than requested"));
        }
        self.e_tag = response.e_tag().map(str::to_owned);
        Ok(())
    }

    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while !self.left.is_empty() {
            let Some(body) = &mut self.body else {
                self.connect().await?;
                continue;
            };
            let error: Box<dyn std::error::Error + Send + Sync> = match body.next().await {
                Some(Ok(chunk)) if chunk.is_empty() => continue,
                Some(Ok(chunk)) if chunk.len() as u64 <= self.left_bytes() => {
                    self.left.start += chunk.len() as u64;
                    self.read_since_retry_bytes += chunk.len() as u64;
                    return Ok(Some(chunk));
                }
                Some(Ok(_)) => {
                    return Err(self
                        .disk
                        .unavailable(self.key, "the server sent too many bytes"));
                }
                Some(Err(error)) => error.into(),
                None => "the connection ended too early".into(),
            };
            self.body = None;
            if std::mem::take(&mut self.read_since_retry_bytes) >= PROGRESS_BYTES {
                self.retries = 0;
            }
            self.retries += 1;
            if self.retries > RETRIES_MAX {
                return Err(self.disk.unavailable(self.key, error));
            }
            tracing::debug!(
                disk = %self.disk.name,
                object = %self.key,
                offset_bytes = self.left.start,
                %error,
                "lost the connection of a download; resuming"
            );
            tokio::time::sleep(RETRY_DELAY * self.retries).await;
        }
        Ok(None)
    }
}
