//! Uploads to a bucket: one chunk in flight while the next one fills, then one request that makes
//! the object visible.
//!
//! An object that fits into one chunk is sent with a single request. The final request carries the
//! checksum of all bytes and must not overwrite. It can succeed although its response is lost, and
//! its retry then fails. So each upload stores a random tag in the object's metadata. After an
//! error, the upload compares the tag of the object.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use reqwest::header::CONTENT_TYPE;
use serde_json::json;
use tokio::task::JoinSet;

use super::session::{Chunk, Session, format_crc};
use super::{ARCHIVE_TYPE, GcsDisk, GcsOptions, ObjectMetadata, TAG_NAME, client};
use crate::error::{Error, Shortage};
use crate::key::StorageKey;

/// An upload to a [`GcsDisk`].
#[derive(Debug)]
pub(crate) struct GcsUpload {
    disk: Arc<GcsDisk>,
    key: StorageKey,
    /// The random tag of this upload.
    tag: String,
    chunk_bytes: usize,
    /// The bytes of the next chunk.
    buffer: BytesMut,
    /// The number of bytes sent from the buffer.
    sent_bytes: u64,
    /// The CRC-32C of all bytes so far.
    crc: u32,
    has_failed: bool,
    chunked: ChunkedUpload,
}

/// The state of an upload with several chunks. Dropping it stops the chunk in flight, and deletes
/// the session in the background.
#[derive(Debug, Default)]
struct ChunkedUpload {
    /// `None` before the first chunk, and after the end.
    session: Option<Session>,
    /// At most one chunk.
    in_flight: JoinSet<Result<Option<ObjectMetadata>, Error>>,
}

impl GcsDisk {
    pub(crate) fn begin(
        self: &Arc<Self>,
        key: StorageKey,
        size_max_bytes: u64,
    ) -> Result<GcsUpload, Error> {
        if size_max_bytes > GcsOptions::OBJECT_BYTES_MAX {
            return Err(Error::Full {
                disk: self.name.to_string(),
                object: key.to_string(),
                shortage: Shortage::FileSize,
            });
        }
        Ok(GcsUpload {
            disk: Arc::clone(self),
            key,
            tag: format!("{:032x}", rand::random::<u128>()),
            chunk_bytes: self.options.chunk_bytes(),
            buffer: BytesMut::new(),
            sent_bytes: 0,
            crc: 0,
            has_failed: false,
            chunked: ChunkedUpload::default(),
        })
    }
}

impl GcsUpload {
    pub(crate) async fn write(&mut self, mut chunk: Bytes) -> Result<(), Error> {
        self.check_not_failed()?;
        self.crc = crc32c::crc32c_append(self.crc, &chunk);
        // Keep a full buffer until another byte comes, so that the last chunk is never empty.
        while self.buffer.len() + chunk.len() > self.chunk_bytes {
            let rest = self.chunk_bytes - self.buffer.len();
            self.buffer.extend_from_slice(&chunk.split_to(rest));
            if let Err(error) = self.send_chunk(None).await {
                self.has_failed = true;
                return Err(error);
            }
        }
        if self.buffer.capacity() == 0 && !chunk.is_empty() {
            self.buffer.reserve(self.chunk_bytes);
        }
        self.buffer.extend_from_slice(&chunk);
        Ok(())
    }

    fn check_not_failed(&self) -> Result<(), Error> {
        match self.has_failed {
            true => Err(self.disk.unavailable(self.key, "an earlier write failed")),
            false => Ok(()),
        }
    }

    /// Sends the buffer, once the chunk before it has arrived.
    async fn send_chunk(&mut self, final_crc: Option<u32>) -> Result<(), Error> {
        let body = std::mem::take(&mut self.buffer).freeze();
        let session = match &self.chunked.session {
            Some(session) => session.clone(),
            None => {
                let begun = Session::begin(&self.disk, self.key, &self.tag).await?;
                self.chunked.session.insert(begun).clone()
            }
        };
        self.wait_for_chunk().await?;
        let offset = self.sent_bytes;
        self.sent_bytes += body.len() as u64;
        let chunk = Chunk {
            offset,
            body,
            final_crc,
        };
        let sending = async move { session.send(chunk).await };
        self.chunked.in_flight.spawn(sending);
        Ok(())
    }

    /// Waits until the chunk in flight has arrived. Returns the object's metadata after the last
    /// one.
    async fn wait_for_chunk(&mut self) -> Result<Option<ObjectMetadata>, Error> {
        match self.chunked.in_flight.join_next().await {
            Some(Ok(arrived)) => arrived,
            Some(Err(panic)) => Err(self.disk.unavailable(self.key, panic)),
            None => Ok(None),
        }
    }

    pub(crate) async fn finish(mut self) -> Result<(), Error> {
        self.check_not_failed()?;
        let ended = match self.chunked.session {
            None => self.put_object().await,
            Some(_) => self.complete_session().await,
        };
        if let Err(error) = ended {
            self.chunked.abort_and_log().await;
            return Err(error);
        }
        self.chunked.session = None;
        Ok(())
    }

    /// Checks that the key does not exist. Servers that ignore conditions need this; for the
    /// others, it avoids a useless final request.
    async fn check_key_is_free(&self) -> Result<(), Error> {
        match self.disk.head(self.key).await {
            Ok(_) => Err(Error::Exists {
                disk: self.disk.name.to_string(),
                object: self.key.to_string(),
            }),
            Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Sends a small object and its metadata with one request.
    async fn put_object(&mut self) -> Result<(), Error> {
        self.check_key_is_free().await?;
        let body = std::mem::take(&mut self.buffer);
        self.sent_bytes = body.len() as u64;
        let metadata = json!({
            "contentType": ARCHIVE_TYPE,
            "crc32c": format_crc(self.crc),
            "metadata": { TAG_NAME: self.tag },
        });
        // The tag is random, so no content contains this boundary.
        let boundary = &self.tag;
        let mut whole = BytesMut::with_capacity(body.len() + 600);
        let head = format!(
            "--{boundary}\r\nContent-Type: application/json\r\n\r\n{metadata}\r\n\
             --{boundary}\r\nContent-Type: {ARCHIVE_TYPE}\r\n\r\n"
        );
        whole.extend_from_slice(head.as_bytes());
        whole.extend_from_slice(&body);
        whole.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        let whole = whole.freeze();
        let url = self.disk.upload_url(self.key, "multipart");
        let content_type = format!("multipart/related; boundary={boundary}");
        let build = |http: &reqwest::Client| {
            let request = http.post(&url).header(CONTENT_TYPE, &content_type);
            request.body(whole.clone())
        };
        let sent = self
            .disk
            .send(build, client::timeout_for(whole.len()))
            .await;
        match sent.and_then(|response| response.json()) {
            Ok(metadata) => self.verify(metadata).await,
            Err(error) => {
                let error = self.disk.bucket_error_from(self.key, error);
                self.check_after_error(error).await
            }
        }
    }

    /// Sends the last chunk, which completes the object.
    async fn complete_session(&mut self) -> Result<(), Error> {
        self.wait_for_chunk().await?;
        self.check_key_is_free().await?;
        self.send_chunk(Some(self.crc)).await?;
        match self.wait_for_chunk().await {
            Ok(Some(metadata)) => self.verify(metadata).await,
            Ok(None) => {
                let error = self.disk.unavailable(self.key, "the upload did not end");
                self.check_after_error(error).await
            }
            Err(error) => self.check_after_error(error).await,
        }
    }

    /// Checks after an error whether the object was written anyway: the response may have been
    /// lost, and the retry refused.
    async fn check_after_error(&self, error: Error) -> Result<(), Error> {
        match self.disk.head(self.key).await {
            Ok(metadata) if metadata.upload_tag() == Some(&self.tag) => self.verify(metadata).await,
            // Whether the object was written is unknown, so the first error says nothing.
            Err(unknown) if unknown.is_temporary() => Err(unknown),
            _ => Err(error),
        }
    }

    /// Checks size and checksum of the stored object, and deletes it if they are wrong.
    async fn verify(&self, metadata: ObjectMetadata) -> Result<(), Error> {
        let (sent, stored) = (self.sent_bytes, metadata.size_bytes());
        let sent_crc = format_crc(self.crc);
        let stored_crc = metadata.crc32c.as_deref().unwrap_or(&sent_crc);
        let source = match sent == stored {
            true if sent_crc == stored_crc => return Ok(()),
            true => format!("the checksum of the stored object is {stored_crc}, not {sent_crc}"),
            false => format!("{sent} bytes were sent, but {stored} were stored"),
        };
        let condition = format!("?ifGenerationMatch={}", metadata.generation);
        self.disk.delete_if(self.key, &condition).await?;
        Err(self.disk.unavailable(self.key, source))
    }

    pub(crate) async fn abort(mut self) -> Result<(), Error> {
        self.chunked.in_flight.shutdown().await;
        match self.chunked.session.take() {
            None => Ok(()),
            Some(session) => session.delete().await,
        }
    }
}

impl ChunkedUpload {
    /// Deletes the session. If that fails, it ends after a week.
    async fn abort_and_log(&mut self) {
        self.in_flight.shutdown().await;
        if let Some(session) = self.session.take() {
            delete_and_log(session).await;
        }
    }
}

impl Drop for ChunkedUpload {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else {
            return;
        };
        // Without a runtime, the session ends after a week.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // Do not move `self` into the task: a runtime that shuts down drops the task, which
            // would call `drop` again.
            let mut in_flight = std::mem::take(&mut self.in_flight);
            runtime.spawn(async move {
                in_flight.shutdown().await;
                delete_and_log(session).await;
            });
        }
    }
}

async fn delete_and_log(session: Session) {
    if let Err(error) = session.delete().await {
        tracing::debug!(%error, "failed to delete the session of an upload; it will expire");
    }
}
