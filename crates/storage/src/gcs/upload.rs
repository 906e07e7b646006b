//! An upload to a bucket at Google: one chunk on its way while the next one fills, and one moment in
//! which the object becomes visible.
//!
//! An object that fits into one chunk is sent as it is. What makes an object visible is told not to
//! overwrite and what the checksum of all bytes is, and may be answered with an error although it was
//! done: so each upload marks its object, and after such an answer the object is looked at.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use reqwest::header::CONTENT_TYPE;
use serde_json::json;
use tokio::task::JoinSet;

use super::session::{Chunk, Session, checksum};
use super::{ARCHIVE_TYPE, Found, GcsDisk, GcsOptions, MARK, client};
use crate::error::Error;
use crate::key::StorageKey;

/// An upload to a [`GcsDisk`].
#[derive(Debug)]
pub(crate) struct GcsUpload {
    disk: Arc<GcsDisk>,
    key: StorageKey,
    /// What this upload marks its object with.
    mark: String,
    chunk_bytes: usize,
    /// What does not fill a chunk yet.
    buffer: BytesMut,
    /// How many bytes have left the buffer.
    sent_bytes: u64,
    /// The CRC-32C of all bytes so far.
    crc: u32,
    has_failed: bool,
    chunks: Chunks,
}

/// The chunks of an upload that has more than one. Dropped, it stops the one on its way, and has the
/// server forget the rest as well as it can.
#[derive(Debug, Default)]
struct Chunks {
    /// `None` before the first chunk, and after the end.
    session: Option<Session>,
    /// One at most.
    on_its_way: JoinSet<Result<Option<Found>, Error>>,
}

impl GcsDisk {
    pub(crate) fn begin(
        self: &Arc<Self>,
        key: StorageKey,
        most_bytes: u64,
    ) -> Result<GcsUpload, Error> {
        if most_bytes > GcsOptions::OBJECT_BYTES_MAX {
            return Err(Error::Full {
                disk: self.name.to_string(),
                object: key.to_string(),
            });
        }
        Ok(GcsUpload {
            disk: Arc::clone(self),
            key,
            mark: format!("{:032x}", rand::random::<u128>()),
            chunk_bytes: self.options.chunk_bytes(),
            buffer: BytesMut::new(),
            sent_bytes: 0,
            crc: 0,
            has_failed: false,
            chunks: Chunks::default(),
        })
    }
}

impl GcsUpload {
    pub(crate) async fn write(&mut self, mut chunk: Bytes) -> Result<(), Error> {
        self.refuse_failed()?;
        self.crc = crc32c::crc32c_append(self.crc, &chunk);
        // A full buffer waits for one byte more: the last chunk is never empty.
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

    fn refuse_failed(&self) -> Result<(), Error> {
        match self.has_failed {
            true => Err(self.disk.broken(self.key, "the upload has failed before")),
            false => Ok(()),
        }
    }

    /// Sends what the buffer holds, once the chunk before has arrived.
    async fn send_chunk(&mut self, ends_with: Option<u32>) -> Result<(), Error> {
        let body = std::mem::take(&mut self.buffer).freeze();
        let session = match &self.chunks.session {
            Some(session) => session.clone(),
            None => {
                let begun = Session::begin(&self.disk, self.key, &self.mark).await?;
                self.chunks.session.insert(begun).clone()
            }
        };
        self.await_chunk().await?;
        let offset = self.sent_bytes;
        self.sent_bytes += body.len() as u64;
        let chunk = Chunk {
            offset,
            body,
            ends_with,
        };
        let sending = async move { session.send(chunk).await };
        self.chunks.on_its_way.spawn(sending);
        Ok(())
    }

    /// Waits until the chunk on its way has arrived; after the last one there is an object.
    async fn await_chunk(&mut self) -> Result<Option<Found>, Error> {
        match self.chunks.on_its_way.join_next().await {
            Some(Ok(arrived)) => arrived,
            Some(Err(panic)) => Err(self.disk.broken(self.key, panic)),
            None => Ok(None),
        }
    }

    pub(crate) async fn finish(mut self) -> Result<(), Error> {
        self.refuse_failed()?;
        let ended = match self.chunks.session {
            None => self.put().await,
            Some(_) => self.complete().await,
        };
        if let Err(error) = ended {
            self.chunks.give_up().await;
            return Err(error);
        }
        self.chunks.session = None;
        Ok(())
    }

    /// Refuses a key that is taken, for servers that know no condition, and before the last bytes are
    /// sent in vain.
    async fn refuse_taken(&self) -> Result<(), Error> {
        match self.disk.head(self.key).await {
            Ok(_) => Err(Error::Exists {
                disk: self.disk.name.to_string(),
                object: self.key.to_string(),
            }),
            Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Sends a small object whole, with what is to be known of it.
    async fn put(&mut self) -> Result<(), Error> {
        self.refuse_taken().await?;
        let body = std::mem::take(&mut self.buffer);
        self.sent_bytes = body.len() as u64;
        let about = json!({
            "contentType": ARCHIVE_TYPE,
            "crc32c": checksum(self.crc),
            "metadata": { MARK: self.mark },
        });
        // The mark is random, so that no content holds the line between the parts.
        let line = &self.mark;
        let mut whole = BytesMut::with_capacity(body.len() + 600);
        let head = format!(
            "--{line}\r\nContent-Type: application/json\r\n\r\n{about}\r\n\
             --{line}\r\nContent-Type: {ARCHIVE_TYPE}\r\n\r\n"
        );
        whole.extend_from_slice(head.as_bytes());
        whole.extend_from_slice(&body);
        whole.extend_from_slice(format!("\r\n--{line}--\r\n").as_bytes());
        let whole = whole.freeze();
        let url = self.disk.upload_url(self.key, "multipart");
        let kind = format!("multipart/related; boundary={line}");
        let make = |http: &reqwest::Client| {
            let request = http.post(&url).header(CONTENT_TYPE, &kind);
            request.body(whole.clone())
        };
        let sent = self.disk.ask(make, client::time_for(whole.len())).await;
        match sent.and_then(|reply| reply.json()) {
            Ok(found) => self.verify(found).await,
            Err(failure) => {
                let error = self.disk.failed_on_bucket(self.key, failure);
                self.doubt(error).await
            }
        }
    }

    /// Sends the last chunk, which has the server put the object together.
    async fn complete(&mut self) -> Result<(), Error> {
        self.await_chunk().await?;
        self.refuse_taken().await?;
        self.send_chunk(Some(self.crc)).await?;
        match self.await_chunk().await {
            Ok(Some(found)) => self.verify(found).await,
            Ok(None) => {
                self.doubt(self.disk.broken(self.key, "the upload did not end"))
                    .await
            }
            Err(error) => self.doubt(error).await,
        }
    }

    /// After an error: looks whether the object was written all the same. A request may have been
    /// done although its answer was lost, and its repetition refused for that.
    async fn doubt(&self, error: Error) -> Result<(), Error> {
        match self.disk.head(self.key).await {
            Ok(found) if found.mark() == Some(&self.mark) => self.verify(found).await,
            _ => Err(error),
        }
    }

    /// Checks that what lies there is what was sent.
    async fn verify(&self, found: Found) -> Result<(), Error> {
        let (sent, there) = (self.sent_bytes, found.size_bytes());
        let ours = checksum(self.crc);
        let theirs = found.crc32c.as_deref().unwrap_or(&ours);
        let source = match sent == there {
            true if ours == theirs => return Ok(()),
            true => format!("the checksum of what lies there is {theirs} and not {ours}"),
            false => format!("{sent} bytes were sent, but {there} lie there"),
        };
        let condition = format!("?ifGenerationMatch={}", found.generation);
        self.disk.delete_if(self.key, &condition).await?;
        Err(self.disk.broken(self.key, source))
    }

    pub(crate) async fn abort(mut self) -> Result<(), Error> {
        self.chunks.on_its_way.shutdown().await;
        match self.chunks.session.take() {
            None => Ok(()),
            Some(session) => session.forget().await,
        }
    }
}

impl Chunks {
    /// Has the server forget the session; what can't be done now, a week will do.
    async fn give_up(&mut self) {
        self.on_its_way.shutdown().await;
        if let Some(session) = self.session.take() {
            forget(session).await;
        }
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else {
            return;
        };
        // Without a runtime nothing can be sent.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // Not `self`: a runtime that ends drops what it is given, and this would begin again.
            let mut on_its_way = std::mem::take(&mut self.on_its_way);
            runtime.spawn(async move {
                on_its_way.shutdown().await;
                forget(session).await;
            });
        }
    }
}

async fn forget(session: Session) {
    if let Err(error) = session.forget().await {
        tracing::debug!(%error, "could not end the session of an upload; it ends by itself");
    }
}
