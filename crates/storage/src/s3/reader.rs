//! Reads an object of a bucket, and goes on where a connection was cut.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;

use super::S3Disk;
use crate::error::Error;
use crate::key::StorageKey;

/// How often in a row a connection may be cut with hardly a byte in between.
const CUTS: u32 = 5;
/// How many bytes are more than hardly one.
const PROGRESS: u64 = 64 * 1024;
/// How long to wait after a cut, times the number of cuts.
const WAIT: Duration = Duration::from_millis(300);

/// The bytes of an object, or of a part of it.
#[derive(Debug)]
pub(crate) struct S3Reader {
    disk: Arc<S3Disk>,
    key: StorageKey,
    object_bytes: u64,
    /// What is still to come.
    left: Range<u64>,
    /// What the object was when the first byte was read.
    tag: Option<String>,
    body: Option<ByteStream>,
    cuts: u32,
    /// How much has come since the last cut.
    since_cut_bytes: u64,
}

impl S3Reader {
    pub(super) async fn begin(
        disk: Arc<S3Disk>,
        key: StorageKey,
        range: Range<u64>,
    ) -> Result<Self, Error> {
        let mut reader = Self {
            disk,
            key,
            object_bytes: 0,
            left: range.start..range.end.max(range.start),
            tag: None,
            body: None,
            cuts: 0,
            since_cut_bytes: 0,
        };
        // A range that is empty, or begins behind the end, is refused by servers.
        let object_bytes = reader.disk.size(key).await?;
        reader.object_bytes = object_bytes;
        reader.left.end = reader.left.end.min(object_bytes);
        reader.left.start = reader.left.start.min(reader.left.end);
        if !reader.left.is_empty() {
            reader.connect().await?;
        }
        Ok(reader)
    }

    pub(crate) fn object_bytes(&self) -> u64 {
        self.object_bytes
    }

    pub(crate) fn left_bytes(&self) -> u64 {
        self.left.end - self.left.start
    }

    /// Asks for what is still to come.
    async fn connect(&mut self) -> Result<(), Error> {
        let request = self.disk.client().await.get_object();
        let request = request
            .bucket(self.disk.bucket())
            .key(self.disk.object(self.key))
            .range(format!("bytes={}-{}", self.left.start, self.left.end - 1));
        let found = request
            .send()
            .await
            .map_err(|error| self.disk.failed(self.key, error))?;
        self.check(&found)?;
        self.body = Some(found.body);
        Ok(())
    }

    /// Checks that it is the same object still, and the part of it that was asked for.
    fn check(&mut self, found: &GetObjectOutput) -> Result<(), Error> {
        if self.tag.is_some() && self.tag.as_deref() != found.e_tag() {
            return Err(self.disk.broken(self.key, "it changed while it was read"));
        }
        let length = found.content_length().and_then(|n| u64::try_from(n).ok());
        if length.is_some_and(|length| length != self.left_bytes()) {
            return Err(self.disk.broken(
                self.key,
                "the server sent another range than it was asked for",
            ));
        }
        self.tag = found.e_tag().map(str::to_owned);
        Ok(())
    }

    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while !self.left.is_empty() {
            let Some(body) = &mut self.body else {
                self.connect().await?;
                continue;
            };
            let cut: Box<dyn std::error::Error + Send + Sync> = match body.next().await {
                Some(Ok(piece)) if piece.is_empty() => continue,
                Some(Ok(piece)) if piece.len() as u64 <= self.left_bytes() => {
                    self.left.start += piece.len() as u64;
                    self.since_cut_bytes += piece.len() as u64;
                    return Ok(Some(piece));
                }
                Some(Ok(_)) => return Err(self.disk.broken(self.key, "the server sent too much")),
                Some(Err(error)) => error.into(),
                None => "the connection ended too early".into(),
            };
            self.body = None;
            if std::mem::take(&mut self.since_cut_bytes) >= PROGRESS {
                self.cuts = 0;
            }
            self.cuts += 1;
            if self.cuts > CUTS {
                return Err(self.disk.broken(self.key, cut));
            }
            tracing::debug!(disk = %self.disk.name, object = %self.key, offset_bytes = self.left.start, error = %cut, "a download was cut; going on");
            tokio::time::sleep(WAIT * self.cuts).await;
        }
        Ok(None)
    }
}
