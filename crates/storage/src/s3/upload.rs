//! Uploads to a bucket: parts in parallel, then one request that makes the object visible.
//!
//! An object that fits into one part is sent with a single request. Each part stays in a buffer
//! until it has arrived, so that it can be retried.
//!
//! The final request has a condition: it must not overwrite. It can succeed although its response
//! is lost, and its retry then fails on the condition. So each upload stores a random tag in the
//! object's metadata. After an error, the upload compares the tag of the object.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, ServerSideEncryption as Sse,
};
use bytes::{Bytes, BytesMut};

use super::multipart::{MultipartUpload, PARTS_LOST, send_part};
use super::{ARCHIVE_TYPE, S3Disk, ServerSideEncryption, client, failure};
use crate::error::{Error, Shortage};
use crate::key::StorageKey;

/// The maximum number of parts in flight.
const PARTS_IN_FLIGHT_MAX: usize = 4;
/// The name of the metadata with the tag of the upload that wrote an object.
pub(super) const TAG_NAME: &str = "holdfast-upload";

/// An upload to an [`S3Disk`].
#[derive(Debug)]
pub(crate) struct S3Upload {
    pub(super) disk: Arc<S3Disk>,
    pub(super) key: StorageKey,
    /// The random tag of this upload.
    tag: String,
    pub(super) part_bytes: usize,
    /// The bytes of the next part.
    pub(super) buffer: BytesMut,
    /// Buffers of parts that have arrived, for reuse. New buffers of this size would fragment the
    /// heap.
    free_buffers: Vec<BytesMut>,
    sent_bytes: u64,
    /// The bytes of parts that the server copied.
    pub(super) copied_bytes: u64,
    pub(super) has_failed: bool,
    pub(super) multipart: MultipartUpload,
}

impl S3Disk {
    pub(crate) fn begin(
        self: &Arc<Self>,
        key: StorageKey,
        size_max_bytes: u64,
    ) -> Result<S3Upload, Error> {
        let Some(part_bytes) = self.options.part_bytes(size_max_bytes) else {
            return Err(Error::Full {
                disk: self.name.to_string(),
                object: key.to_string(),
                shortage: Shortage::FileSize,
            });
        };
        Ok(S3Upload {
            disk: Arc::clone(self),
            key,
            tag: format!("{:032x}", rand::random::<u128>()),
            part_bytes,
            buffer: BytesMut::new(),
            free_buffers: Vec::new(),
            sent_bytes: 0,
            copied_bytes: 0,
            has_failed: false,
            multipart: MultipartUpload::default(),
        })
    }

    fn encryption(&self) -> (Option<Sse>, Option<String>) {
        match &self.options.encryption {
            ServerSideEncryption::Bucket => (None, None),
            ServerSideEncryption::Aes256 => (Some(Sse::Aes256), None),
            ServerSideEncryption::Kms { key_id } => (Some(Sse::AwsKms), key_id.clone()),
        }
    }

    pub(super) fn checksum_algorithm(&self) -> Option<ChecksumAlgorithm> {
        let is_on = self.options.has_checksums;
        is_on.then_some(ChecksumAlgorithm::Crc32)
    }

    /// Returns the condition that prevents overwriting, if the server supports it.
    fn if_none_match(&self) -> Option<String> {
        let is_supported = self.supports_conditions.load(Ordering::Relaxed);
        is_supported.then(|| "*".to_owned())
    }

    /// Returns whether the server does not support the condition of a write. From then on, writes
    /// are sent without it.
    fn is_condition_unsupported<E: ProvideErrorMetadata>(&self, error: &SdkError<E>) -> bool {
        failure::is_not_implemented(error)
            && self.supports_conditions.swap(false, Ordering::Relaxed)
    }
}

impl S3Upload {
    pub(crate) async fn write(&mut self, mut chunk: Bytes) -> Result<(), Error> {
        if self.has_failed {
            return Err(self.disk.unavailable(self.key, "an earlier write failed"));
        }
        while self.buffer.len() + chunk.len() >= self.part_bytes {
            let rest = self.part_bytes - self.buffer.len();
            self.buffer.extend_from_slice(&chunk.split_to(rest));
            if let Err(error) = self.send_part().await {
                self.has_failed = true;
                return Err(error);
            }
        }
        if self.buffer.capacity() == 0 && !chunk.is_empty() {
            self.buffer = self.free_buffers.pop().unwrap_or_default();
            self.buffer.reserve(self.part_bytes);
        }
        self.buffer.extend_from_slice(&chunk);
        Ok(())
    }

    /// Sends the buffer as the next part, once there are few enough in flight.
    async fn send_part(&mut self) -> Result<(), Error> {
        let body = std::mem::take(&mut self.buffer).freeze();
        if self.multipart.target.is_none() {
            self.begin_multipart().await?;
        }
        while self.multipart.in_flight.len() >= PARTS_IN_FLIGHT_MAX {
            self.wait_for_part().await?;
        }
        let Some((disk, key, upload_id)) = self.multipart.target.clone() else {
            return Err(self.disk.unavailable(self.key, "the upload has ended"));
        };
        self.multipart.last_part_number += 1;
        self.sent_bytes += body.len() as u64;
        let number = self.multipart.last_part_number;
        let part = send_part(disk, key, upload_id, number, body);
        self.multipart.in_flight.spawn(part);
        Ok(())
    }

    pub(super) async fn begin_multipart(&mut self) -> Result<(), Error> {
        let disk = &self.disk;
        let (encryption, encryption_key) = disk.encryption();
        let request = disk.client().await.create_multipart_upload();
        let begun = request
            .bucket(disk.bucket())
            .key(disk.object_name(self.key))
            .content_type(ARCHIVE_TYPE)
            .metadata(TAG_NAME, &self.tag)
            .set_checksum_algorithm(disk.checksum_algorithm())
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(encryption_key)
            .send()
            .await
            .map_err(|error| disk.error_from(self.key, error))?;
        let Some(upload_id) = begun.upload_id() else {
            return Err(disk.unavailable(self.key, "the server returned no upload ID"));
        };
        self.multipart.has_checksums =
            begun.checksum_algorithm() == Some(&ChecksumAlgorithm::Crc32);
        self.multipart.target = Some((Arc::clone(disk), self.key, upload_id.to_owned()));
        Ok(())
    }

    /// Waits until one of the parts has arrived.
    pub(super) async fn wait_for_part(&mut self) -> Result<(), Error> {
        match self.multipart.in_flight.join_next().await {
            Some(Ok(sent)) => {
                let (part, body) = sent?;
                self.multipart.completed.push(part);
                // This fails if the client still holds the buffer.
                if let Ok(mut buffer) = body.try_into_mut() {
                    buffer.clear();
                    self.free_buffers.push(buffer);
                }
            }
            Some(Err(panic)) => return Err(self.disk.unavailable(self.key, panic)),
            None => {}
        }
        Ok(())
    }

    pub(crate) async fn finish(mut self) -> Result<(), Error> {
        if self.has_failed {
            return Err(self.disk.unavailable(self.key, "an earlier write failed"));
        }
        let ended = match self.multipart.target.clone() {
            None => self.put_object().await,
            Some((_, _, upload_id)) => self.complete_multipart(upload_id).await,
        };
        if let Err(error) = ended {
            self.multipart.abort_and_log().await;
            return Err(error);
        }
        self.multipart.target = None;
        Ok(())
    }

    /// Checks that the key does not exist. Servers without conditional writes need this; for the
    /// others, it avoids a useless final request.
    async fn check_key_is_free(&self) -> Result<(), Error> {
        match self.disk.head(self.key).await {
            Ok(_) => Err(Error::Exists {
                disk: self.disk.name.to_string(),
                object: self.key.to_string(),
            }),
            Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.disk.explain(error).await),
        }
    }

    /// Sends a small object with one request.
    async fn put_object(&mut self) -> Result<(), Error> {
        self.check_key_is_free().await?;
        let body = std::mem::take(&mut self.buffer).freeze();
        self.sent_bytes = body.len() as u64;
        loop {
            let disk = &self.disk;
            let (encryption, encryption_key) = disk.encryption();
            let request = disk.client().await.put_object();
            let request = request
                .bucket(disk.bucket())
                .key(disk.object_name(self.key))
                .content_type(ARCHIVE_TYPE)
                .metadata(TAG_NAME, &self.tag)
                .set_if_none_match(disk.if_none_match())
                .set_server_side_encryption(encryption)
                .set_ssekms_key_id(encryption_key)
                .body(ByteStream::from(body.clone()))
                .customize();
            let request = request.config_override(client::body_settings(body.len()));
            match request.send().await {
                Ok(_) => return self.verify().await,
                Err(error) if disk.is_condition_unsupported(&error) => {}
                Err(error) => return self.check_after_error(error).await,
            }
        }
    }

    /// Completes the multipart upload.
    async fn complete_multipart(&mut self, upload_id: String) -> Result<(), Error> {
        if !self.buffer.is_empty() {
            self.send_part().await?;
        }
        while !self.multipart.in_flight.is_empty() {
            self.wait_for_part().await?;
        }
        self.check_key_is_free().await?;
        let mut parts = std::mem::take(&mut self.multipart.completed);
        parts.sort_by_key(CompletedPart::part_number);
        if !self.multipart.has_checksums {
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
                .key(disk.object_name(self.key))
                .upload_id(&upload_id)
                .multipart_upload(parts.clone())
                .set_if_none_match(disk.if_none_match())
                .customize();
            let request = request.config_override(client::completion_settings());
            match request.send().await {
                Ok(_) => return self.verify().await,
                Err(error) if disk.is_condition_unsupported(&error) => {}
                Err(error) => return self.check_after_error(error).await,
            }
        }
    }

    /// Checks after an error whether the object was written anyway: the response may have been
    /// lost, and the retry refused.
    async fn check_after_error<E>(&self, error: SdkError<E>) -> Result<(), Error>
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let error = self.disk.error_from(self.key, error);
        match self.disk.head(self.key).await {
            Ok(found) if found.upload_tag.as_deref() == Some(&self.tag) => self.verify().await,
            // Whether the object was written is unknown, so the first error says nothing.
            Err(unknown) if unknown.is_temporary() => Err(unknown),
            _ => Err(match error {
                // The server no longer knows the upload, and the object does not exist.
                Error::NotFound { .. } => self.disk.unavailable(self.key, PARTS_LOST),
                error => error,
            }),
        }
    }

    /// Checks the size of the stored object, and deletes it if it is wrong.
    async fn verify(&self) -> Result<(), Error> {
        let metadata = self.disk.head(self.key).await?;
        let (sent, copied) = (self.sent_bytes, self.copied_bytes);
        let stored = metadata.size_bytes;
        if stored == sent + copied {
            return Ok(());
        }
        let source = match copied {
            0 => format!("{sent} bytes were sent, but {stored} were stored"),
            _ => format!("{sent} bytes were sent and {copied} copied, but {stored} were stored"),
        };
        if metadata.upload_tag.as_deref() == Some(&self.tag) {
            self.disk.delete(self.key).await?;
        }
        Err(self.disk.unavailable(self.key, source))
    }

    pub(crate) async fn abort(mut self) -> Result<(), Error> {
        self.multipart.stop().await;
        match self.multipart.target.take() {
            None => Ok(()),
            Some((disk, key, upload_id)) => disk.abort_multipart(key, &upload_id).await,
        }
    }
}
