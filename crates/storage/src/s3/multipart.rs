//! The parts of a multipart upload: sends them, and aborts the upload if it is dropped.

use std::sync::Arc;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::CompletedPart;
use bytes::Bytes;
use tokio::task::JoinSet;

use super::{S3Disk, client};
use crate::error::Error;
use crate::key::StorageKey;

/// The error when the server no longer knows a multipart upload.
pub(super) const PARTS_LOST: &str = "the server has lost the parts of the upload";

/// The state of a multipart upload. Dropping it stops the parts in flight, and aborts the upload in
/// the background.
#[derive(Debug, Default)]
pub(super) struct MultipartUpload {
    /// The disk, key and upload ID; `None` before the first part, and after the end.
    pub(super) target: Option<(Arc<S3Disk>, StorageKey, String)>,
    /// Whether the server stores checksums of parts. Then the completion must repeat them.
    pub(super) has_checksums: bool,
    pub(super) last_part_number: i32,
    pub(super) in_flight: JoinSet<Result<(CompletedPart, Bytes), Error>>,
    pub(super) completed: Vec<CompletedPart>,
}

impl MultipartUpload {
    /// Stops the parts in flight. A part that still arrives after the abort may remain.
    pub(super) async fn stop(&mut self) {
        self.in_flight.shutdown().await;
    }

    /// Aborts the upload. If that fails, a sweep removes the parts later.
    pub(super) async fn abort_and_log(&mut self) {
        self.stop().await;
        if let Some((disk, key, upload_id)) = self.target.take() {
            abort_and_log(disk, key, upload_id).await;
        }
    }
}

impl Drop for MultipartUpload {
    fn drop(&mut self) {
        let Some((disk, key, upload_id)) = self.target.take() else {
            return;
        };
        // Without a runtime, a sweep removes the parts later.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // Do not move `self` into the task: a runtime that shuts down drops the task, which
            // would call `drop` again.
            let mut in_flight = std::mem::take(&mut self.in_flight);
            runtime.spawn(async move {
                in_flight.shutdown().await;
                abort_and_log(disk, key, upload_id).await;
            });
        }
    }
}

async fn abort_and_log(disk: Arc<S3Disk>, key: StorageKey, upload_id: String) {
    if let Err(error) = disk.abort_multipart(key, &upload_id).await {
        tracing::warn!(
            disk = %disk.name,
            object = %key,
            %error,
            "failed to abort an upload; the sweep will remove it"
        );
    }
}

/// Sends one part. The client retries temporary errors.
pub(super) async fn send_part(
    disk: Arc<S3Disk>,
    key: StorageKey,
    upload_id: String,
    number: i32,
    body: Bytes,
) -> Result<(CompletedPart, Bytes), Error> {
    let settings = client::body_settings(body.len());
    let request = disk.client().await.upload_part();
    let request = request
        .bucket(disk.bucket())
        .key(disk.object_name(key))
        .upload_id(upload_id)
        .part_number(number)
        .set_checksum_algorithm(disk.checksum_algorithm())
        .body(ByteStream::from(body.clone()))
        .customize();
    let sent = request.config_override(settings).send().await;
    let sent = sent.map_err(|error| match disk.error_from(key, error) {
        Error::NotFound { .. } => disk.unavailable(key, PARTS_LOST),
        error => error,
    })?;
    let part = CompletedPart::builder()
        .part_number(number)
        .set_e_tag(sent.e_tag)
        .set_checksum_crc32(sent.checksum_crc32)
        .build();
    Ok((part, body))
}
