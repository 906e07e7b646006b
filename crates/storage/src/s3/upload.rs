//! An upload to a bucket: parts side by side, and one moment in which it becomes visible.
//!
//! An object that fits into one part is sent as it is. Every part is a buffer that can be sent
//! again. What makes the object visible is told not to overwrite, and may be answered with an error
//! although it was done (a connection cut at the wrong moment): so each upload marks its object, and
//! after such an answer the object is looked at.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, ServerSideEncryption as Sse,
};
use bytes::{Bytes, BytesMut};
use tokio::task::JoinSet;

use super::{ARCHIVE_TYPE, S3Disk, ServerSideEncryption, client, failure};
use crate::error::Error;
use crate::key::StorageKey;

/// How many parts of an upload are on their way at once.
const PARTS_AT_ONCE: usize = 4;
/// The metadata that says which upload wrote an object.
pub(super) const MARK: &str = "holdfast-upload";

/// An upload to an [`S3Disk`].
#[derive(Debug)]
pub(crate) struct S3Upload {
    disk: Arc<S3Disk>,
    key: StorageKey,
    /// What this upload marks its object with.
    mark: String,
    part_bytes: usize,
    /// What does not fill a part yet.
    buffer: BytesMut,
    /// Buffers of parts that have arrived, to be filled again: fresh ones of this size would
    /// scatter over the heap.
    spare: Vec<BytesMut>,
    sent_bytes: u64,
    has_failed: bool,
    parts: Parts,
}

/// The parts of an upload that has more than one. Dropped, it stops what is on its way, and has the
/// server forget the rest as well as it can.
#[derive(Debug, Default)]
struct Parts {
    /// What the server calls the upload; `None` before the first part, and after the end.
    upload: Option<(Arc<S3Disk>, StorageKey, String)>,
    /// Whether the server keeps the checksums of parts, and so wants them again at the end.
    has_checksums: bool,
    begun: i32,
    on_their_way: JoinSet<Result<(CompletedPart, Bytes), Error>>,
    done: Vec<CompletedPart>,
}

impl S3Disk {
    pub(crate) fn begin(
        self: &Arc<Self>,
        key: StorageKey,
        most_bytes: u64,
    ) -> Result<S3Upload, Error> {
        let Some(part_bytes) = self.options.part_bytes(most_bytes) else {
            return Err(Error::Full {
                disk: self.name.to_string(),
                object: key.to_string(),
            });
        };
        Ok(S3Upload {
            disk: Arc::clone(self),
            key,
            mark: format!("{:032x}", rand::random::<u128>()),
            part_bytes,
            buffer: BytesMut::new(),
            spare: Vec::new(),
            sent_bytes: 0,
            has_failed: false,
            parts: Parts::default(),
        })
    }

    fn encryption(&self) -> (Option<Sse>, Option<String>) {
        match &self.options.encryption {
            ServerSideEncryption::Bucket => (None, None),
            ServerSideEncryption::Aes256 => (Some(Sse::Aes256), None),
            ServerSideEncryption::Kms { key_id } => (Some(Sse::AwsKms), key_id.clone()),
        }
    }

    fn checksum_algorithm(&self) -> Option<ChecksumAlgorithm> {
        let sends = self.options.has_checksums;
        sends.then_some(ChecksumAlgorithm::Crc32)
    }

    /// What a write says so as not to overwrite, where the server knows it.
    fn if_none_match(&self) -> Option<String> {
        let is_known = self.is_conditional.load(Ordering::Relaxed);
        is_known.then(|| "*".to_owned())
    }

    /// Says whether a write was refused for its condition alone, and may be sent without.
    fn drops_condition<E: ProvideErrorMetadata>(&self, error: &SdkError<E>) -> bool {
        failure::is_not_implemented(error) && self.is_conditional.swap(false, Ordering::Relaxed)
    }
}

impl S3Upload {
    pub(crate) async fn write(&mut self, mut chunk: Bytes) -> Result<(), Error> {
        if self.has_failed {
            return Err(self.disk.broken(self.key, "the upload has failed before"));
        }
        while self.buffer.len() + chunk.len() >= self.part_bytes {
            let rest = self.part_bytes - self.buffer.len();
            self.buffer.extend_from_slice(&chunk.split_to(rest));
            // More is to come, or it would have been a small object: this one has parts.
            if let Err(error) = self.send_part().await {
                self.has_failed = true;
                return Err(error);
            }
        }
        if self.buffer.capacity() == 0 && !chunk.is_empty() {
            self.buffer = self.spare.pop().unwrap_or_default();
            self.buffer.reserve(self.part_bytes);
        }
        self.buffer.extend_from_slice(&chunk);
        Ok(())
    }

    /// Sends what the buffer holds as the next part, once there is a place for it.
    async fn send_part(&mut self) -> Result<(), Error> {
        let body = std::mem::take(&mut self.buffer).freeze();
        if self.parts.upload.is_none() {
            self.begin_parts().await?;
        }
        while self.parts.on_their_way.len() >= PARTS_AT_ONCE {
            self.await_part().await?;
        }
        let Some((disk, key, upload)) = self.parts.upload.clone() else {
            return Err(self.disk.broken(self.key, "the upload has ended"));
        };
        self.parts.begun += 1;
        self.sent_bytes += body.len() as u64;
        let part = send(disk, key, upload, self.parts.begun, body);
        self.parts.on_their_way.spawn(part);
        Ok(())
    }

    async fn begin_parts(&mut self) -> Result<(), Error> {
        let disk = &self.disk;
        let (encryption, encryption_key) = disk.encryption();
        let request = disk.client().await.create_multipart_upload();
        let begun = request
            .bucket(disk.bucket())
            .key(disk.object(self.key))
            .content_type(ARCHIVE_TYPE)
            .metadata(MARK, &self.mark)
            .set_checksum_algorithm(disk.checksum_algorithm())
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(encryption_key)
            .send()
            .await
            .map_err(|error| disk.failed(self.key, error))?;
        let Some(upload) = begun.upload_id() else {
            return Err(disk.broken(self.key, "the server named no upload"));
        };
        self.parts.has_checksums = begun.checksum_algorithm() == Some(&ChecksumAlgorithm::Crc32);
        self.parts.upload = Some((Arc::clone(disk), self.key, upload.to_owned()));
        Ok(())
    }

    /// Waits until one of the parts has arrived.
    async fn await_part(&mut self) -> Result<(), Error> {
        match self.parts.on_their_way.join_next().await {
            Some(Ok(sent)) => {
                let (part, body) = sent?;
                self.parts.done.push(part);
                // Unless the client still holds it.
                if let Ok(mut buffer) = body.try_into_mut() {
                    buffer.clear();
                    self.spare.push(buffer);
                }
            }
            Some(Err(panic)) => return Err(self.disk.broken(self.key, panic)),
            None => {}
        }
        Ok(())
    }

    pub(crate) async fn finish(mut self) -> Result<(), Error> {
        if self.has_failed {
            return Err(self.disk.broken(self.key, "the upload has failed before"));
        }
        let ended = match self.parts.upload.clone() {
            None => self.put().await,
            Some((_, _, upload)) => self.complete(upload).await,
        };
        if let Err(error) = ended {
            self.parts.give_up().await;
            return Err(error);
        }
        self.parts.upload = None;
        Ok(())
    }

    /// Refuses a key that is taken, for servers that know no condition, and before parts are put
    /// together in vain.
    async fn refuse_taken(&self) -> Result<(), Error> {
        match self.disk.head(self.key).await {
            Ok(_) => Err(Error::Exists {
                disk: self.disk.name.to_string(),
                object: self.key.to_string(),
            }),
            Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.disk.explain(error).await),
        }
    }

    /// Sends a small object whole.
    async fn put(&mut self) -> Result<(), Error> {
        self.refuse_taken().await?;
        let body = std::mem::take(&mut self.buffer).freeze();
        self.sent_bytes = body.len() as u64;
        loop {
            let disk = &self.disk;
            let (encryption, encryption_key) = disk.encryption();
            let request = disk.client().await.put_object();
            let request = request
                .bucket(disk.bucket())
                .key(disk.object(self.key))
                .content_type(ARCHIVE_TYPE)
                .metadata(MARK, &self.mark)
                .set_if_none_match(disk.if_none_match())
                .set_server_side_encryption(encryption)
                .set_ssekms_key_id(encryption_key)
                .body(ByteStream::from(body.clone()))
                .customize();
            let request = request.config_override(client::for_part(body.len()));
            match request.send().await {
                Ok(_) => return self.verify().await,
                Err(error) if disk.drops_condition(&error) => {}
                Err(error) => return self.doubt(error).await,
            }
        }
    }

    /// Has the server put the parts together.
    async fn complete(&mut self, upload: String) -> Result<(), Error> {
        if !self.buffer.is_empty() {
            self.send_part().await?;
        }
        while !self.parts.on_their_way.is_empty() {
            self.await_part().await?;
        }
        self.refuse_taken().await?;
        let mut parts = std::mem::take(&mut self.parts.done);
        parts.sort_by_key(CompletedPart::part_number);
        if !self.parts.has_checksums {
            for part in &mut parts {
                part.checksum_crc32 = None;
            }
        }
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(parts))
            .build();
        loop {
            let disk = &self.disk;
            let request = disk.client().await.complete_multipart_upload();
            let request = request
                .bucket(disk.bucket())
                .key(disk.object(self.key))
                .upload_id(&upload)
                .multipart_upload(parts.clone())
                .set_if_none_match(disk.if_none_match())
                .customize();
            let request = request.config_override(client::for_completion());
            match request.send().await {
                Ok(_) => return self.verify().await,
                Err(error) if disk.drops_condition(&error) => {}
                Err(error) => return self.doubt(error).await,
            }
        }
    }

    /// After an error: looks whether the object was written all the same. A request may have been
    /// done although its answer was lost, and its repetition refused for that.
    async fn doubt<E>(&self, error: SdkError<E>) -> Result<(), Error>
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let error = self.disk.failed(self.key, error);
        match self.disk.head(self.key).await {
            Ok(found) if found.upload.as_deref() == Some(&self.mark) => self.verify().await,
            _ => Err(match error {
                // The server no longer knows the upload, and the object is not there.
                Error::NotFound { .. } => self
                    .disk
                    .broken(self.key, "the server has lost the parts of the upload"),
                error => error,
            }),
        }
    }

    /// Checks that what lies there is what was sent.
    async fn verify(&self) -> Result<(), Error> {
        let found = self.disk.head(self.key).await?;
        if found.size_bytes == self.sent_bytes {
            return Ok(());
        }
        let (sent, there) = (self.sent_bytes, found.size_bytes);
        let source = format!("{sent} bytes were sent, but {there} lie there");
        if found.upload.as_deref() == Some(&self.mark) {
            self.disk.delete(self.key).await?;
        }
        Err(self.disk.broken(self.key, source))
    }

    pub(crate) async fn abort(mut self) -> Result<(), Error> {
        self.parts.stop().await;
        match self.parts.upload.take() {
            None => Ok(()),
            Some((disk, key, upload)) => disk.abandon(key, &upload).await,
        }
    }
}

impl Parts {
    /// Stops what is on its way; a part that arrives after the upload was given up may stay.
    async fn stop(&mut self) {
        self.on_their_way.shutdown().await;
    }

    /// Has the server forget the parts; what can't be done now, the sweep will do.
    async fn give_up(&mut self) {
        self.stop().await;
        if let Some((disk, key, upload)) = self.upload.take() {
            forget(disk, key, upload).await;
        }
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        let Some((disk, key, upload)) = self.upload.take() else {
            return;
        };
        // Without a runtime nothing can be sent; the sweep will.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // Not `self`: a runtime that ends drops what it is given, and this would begin again.
            let mut on_their_way = std::mem::take(&mut self.on_their_way);
            runtime.spawn(async move {
                on_their_way.shutdown().await;
                forget(disk, key, upload).await;
            });
        }
    }
}

async fn forget(disk: Arc<S3Disk>, key: StorageKey, upload: String) {
    if let Err(error) = disk.abandon(key, &upload).await {
        tracing::warn!(disk = %disk.name, object = %key, %error, "could not abort an upload; the sweep will");
    }
}

/// Sends one part, as often as the client sees fit.
async fn send(
    disk: Arc<S3Disk>,
    key: StorageKey,
    upload: String,
    number: i32,
    body: Bytes,
) -> Result<(CompletedPart, Bytes), Error> {
    let settings = client::for_part(body.len());
    let request = disk.client().await.upload_part();
    let request = request
        .bucket(disk.bucket())
        .key(disk.object(key))
        .upload_id(upload)
        .part_number(number)
        .set_checksum_algorithm(disk.checksum_algorithm())
        .body(ByteStream::from(body.clone()))
        .customize();
    let sent = request.config_override(settings).send().await;
    let sent = sent.map_err(|error| match disk.failed(key, error) {
        Error::NotFound { .. } => disk.broken(key, "the server has lost the parts of the upload"),
        error => error,
    })?;
    let part = CompletedPart::builder()
        .part_number(number)
        .set_e_tag(sent.e_tag)
        .set_checksum_crc32(sent.checksum_crc32)
        .build();
    Ok((part, body))
}
