//! Begins an upload with the front of another object of the bucket, which the server copies.
//!
//! Copies have the size of the upload's other parts, since some servers require equal parts. The
//! rest of the front, less than a part, is downloaded into the buffer of the next part. Everything
//! is checked here, while the caller can still begin again without the front: an error of a copy
//! that showed when the upload is completed would cost the whole backup.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use aws_sdk_s3::types::CompletedPart;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use crc32fast::Hasher;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::reader::S3Reader;
use super::upload::S3Upload;
use super::{S3Disk, client};
use crate::error::Error;
use crate::key::StorageKey;

/// The maximum number of copies in flight. They take no memory here.
const COPIES_IN_FLIGHT_MAX: usize = 8;
/// The characters that are escaped in the name of the source.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// An object that parts are copied from.
#[derive(Debug)]
struct CopySource {
    key: StorageKey,
    size_bytes: u64,
    /// The `ETag` that it must have. Some servers have none.
    e_tag: Option<String>,
}

impl S3Upload {
    /// Returns whether the server can copy, as far as is known.
    pub(crate) fn copies_front(&self) -> bool {
        // Ceph 16 decodes the name of the source twice, and its gateway ends if it can't.
        let is_name_safe = !self.disk.options.prefix.contains('%');
        is_name_safe && self.disk.supports_copies.load(Ordering::Relaxed)
    }

    /// Returns the number of bytes that the server has copied.
    pub(crate) fn copied_bytes(&self) -> u64 {
        self.copied_bytes
    }

    /// Begins the object with the first `length` bytes of `from`, whose CRC-32 is `crc`. Returns
    /// when the copies are complete.
    pub(crate) async fn copy_front(
        &mut self,
        from: StorageKey,
        length: u64,
        crc: u32,
    ) -> Result<(), Error> {
        let copied = self.copy_and_check(from, length, crc).await;
        self.has_failed |= copied.is_err();
        copied
    }

    async fn copy_and_check(
        &mut self,
        from: StorageKey,
        length: u64,
        crc: u32,
    ) -> Result<(), Error> {
        if !self.copies_front() {
            return Err(self.copy_failed(from, "the server can't copy"));
        }
        if self.has_failed || self.multipart.target.is_some() || !self.buffer.is_empty() {
            return Err(self.copy_failed(from, "bytes were written before the front"));
        }
        let source = Arc::new(self.find_source(from, length).await?);
        let part_bytes = self.part_bytes as u64;
        let copied_bytes = length / part_bytes * part_bytes;
        if copied_bytes > 0 {
            self.copy_parts(&source, copied_bytes).await?;
        }
        let copies = self.crc_of_copies();
        let rest = self.read_rest(&source, copied_bytes..length).await?;
        if let Some(mut found) = copies {
            found.combine(&rest);
            let found = found.finalize();
            if found != crc {
                let text = format!("the copy has the CRC-32 {found:08x} instead of {crc:08x}");
                return Err(self.disk.copy_source_bad(from, text));
            }
        }
        self.copied_bytes = copied_bytes;
        Ok(())
    }

    async fn find_source(&self, from: StorageKey, length: u64) -> Result<CopySource, Error> {
        let found = match self.disk.head(from).await {
            Ok(found) => found,
            Err(error) => {
                return Err(match self.disk.explain(error).await {
                    error @ Error::NotFound { .. } => self.disk.copy_source_bad(from, error),
                    error => self.copy_failed(from, error),
                });
            }
        };
        let size_bytes = found.size_bytes;
        if size_bytes < length {
            let text = format!("it has {size_bytes} bytes, and {length} are needed");
            return Err(self.disk.copy_source_bad(from, text));
        }
        Ok(CopySource {
            key: from,
            size_bytes,
            e_tag: found.e_tag,
        })
    }

    /// Copies the first `length` bytes, which are whole parts.
    async fn copy_parts(&mut self, source: &Arc<CopySource>, length: u64) -> Result<(), Error> {
        self.begin_multipart().await?;
        let Some((disk, key, upload_id)) = self.multipart.target.clone() else {
            return Err(self.copy_failed(source.key, "the upload has ended"));
        };
        let part_bytes = self.part_bytes as u64;
        for start in (0..length).step_by(self.part_bytes) {
            while self.multipart.in_flight.len() >= COPIES_IN_FLIGHT_MAX {
                self.wait_for_part().await?;
            }
            self.multipart.last_part_number += 1;
            self.multipart.in_flight.spawn(copy_part(
                Arc::clone(&disk),
                key,
                upload_id.clone(),
                self.multipart.last_part_number,
                Arc::clone(source),
                start..start + part_bytes,
            ));
        }
        while !self.multipart.in_flight.is_empty() {
            self.wait_for_part().await?;
        }
        let parts = &mut self.multipart.completed;
        parts.sort_by_key(CompletedPart::part_number);
        if parts.iter().any(|part| crc_of_part(part).is_none()) {
            self.check_parts(source, &upload_id).await?;
        }
        Ok(())
    }

    /// Asks the server for the sizes of the copied parts, and for checksums that it did not return
    /// before.
    async fn check_parts(&mut self, source: &CopySource, upload_id: &str) -> Result<(), Error> {
        let disk = Arc::clone(&self.disk);
        let mut sizes = vec![None; self.multipart.completed.len()];
        let mut marker = None;
        loop {
            let request = disk.client().await.list_parts().bucket(disk.bucket());
            let request = request
                .key(disk.object_name(self.key))
                .upload_id(upload_id)
                .set_part_number_marker(marker);
            let page = request.send().await;
            let page = page.map_err(|error| disk.copy_error(self.key, source.key, error))?;
            for part in page.parts() {
                let index = part.part_number().and_then(|n| usize::try_from(n - 1).ok());
                let Some(index) = index.filter(|index| *index < sizes.len()) else {
                    continue;
                };
                sizes[index] = part.size().and_then(|size| usize::try_from(size).ok());
                let copied = &mut self.multipart.completed[index];
                if copied.checksum_crc32.is_none() {
                    copied.checksum_crc32 = part.checksum_crc32().map(str::to_owned);
                }
            }
            marker = page.next_part_number_marker;
            if !page.is_truncated.unwrap_or(false) || marker.is_none() {
                break;
            }
        }
        let expected = self.part_bytes;
        for (number, size) in (1..).zip(sizes) {
            if size != Some(expected) {
                let size = size.map_or("no".to_owned(), |size| size.to_string());
                let text = format!("part {number} has {size} bytes instead of {expected}");
                return Err(self.copy_failed(source.key, text));
            }
        }
        let parts = &self.multipart.completed;
        if self.multipart.has_checksums && parts.iter().any(|part| part.checksum_crc32.is_none()) {
            // The completion would have to repeat them.
            let text = "the server wants checksums of parts, but returns none of those that it \
                        copies; `checksums = false` in the settings of the disk avoids that";
            return Err(self.disk.copy_refused(source.key, text));
        }
        Ok(())
    }

    /// Returns the CRC-32 of the copied parts, if the server has told those of all.
    fn crc_of_copies(&self) -> Option<Hasher> {
        let mut all = Hasher::new();
        for part in &self.multipart.completed {
            let crc = crc_of_part(part)?;
            all.combine(&Hasher::new_with_initial_len(crc, self.part_bytes as u64));
        }
        Some(all)
    }

    /// Reads the rest of the front into the buffer of the next part.
    async fn read_rest(&mut self, source: &CopySource, rest: Range<u64>) -> Result<Hasher, Error> {
        let mut crc = Hasher::new();
        if rest.is_empty() {
            return Ok(crc);
        }
        let mut reader = S3Reader::new(
            Arc::clone(&self.disk),
            source.key,
            source.size_bytes,
            source.e_tag.clone(),
            rest,
        );
        self.buffer.reserve(self.part_bytes);
        loop {
            match reader.next().await {
                Ok(Some(chunk)) => {
                    crc.update(&chunk);
                    self.buffer.extend_from_slice(&chunk);
                }
                Ok(None) => return Ok(crc),
                Err(error) => return Err(self.copy_failed(source.key, error)),
            }
        }
    }

    fn copy_failed(
        &self,
        from: StorageKey,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        self.disk.copy_failed(from, source)
    }
}

/// Copies one part. The client retries temporary errors.
async fn copy_part(
    disk: Arc<S3Disk>,
    key: StorageKey,
    upload_id: String,
    number: i32,
    source: Arc<CopySource>,
    range: Range<u64>,
) -> Result<(CompletedPart, Bytes), Error> {
    let name = format!("{}/{}", disk.bucket(), disk.object_name(source.key));
    let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    let request = disk.client().await.upload_part_copy();
    let request = request
        .bucket(disk.bucket())
        .key(disk.object_name(key))
        .upload_id(upload_id)
        .part_number(number)
        .copy_source(utf8_percent_encode(&name, ESCAPED).to_string())
        .copy_source_range(format!("bytes={}-{}", range.start, range.end - 1))
        .set_copy_source_if_match(source.e_tag.clone())
        .customize();
    let request = request
        .config_override(client::body_settings(length))
        // The request has no body, and Ceph wants to be told so.
        .mutate_request(|request| {
            request.headers_mut().insert("content-length", "0");
        });
    let copied = request.send().await;
    let copied = copied.map_err(|error| disk.copy_error(key, source.key, error))?;
    let result = copied
        .copy_part_result
        .filter(|result| result.e_tag.is_some());
    let Some(result) = result else {
        // A server that ignores the header has stored an empty part.
        let text = "the server did not understand the request: it returned no result of a copy";
        return Err(disk.copy_refused(source.key, text));
    };
    let part = CompletedPart::builder()
        .part_number(number)
        .set_e_tag(result.e_tag)
        .set_checksum_crc32(result.checksum_crc32)
        .build();
    Ok((part, Bytes::new()))
}

/// Returns the CRC-32 of a part, if the server has told it.
fn crc_of_part(part: &CompletedPart) -> Option<u32> {
    let bytes = BASE64_STANDARD.decode(part.checksum_crc32()?).ok()?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}
