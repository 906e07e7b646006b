//! Uploads an object to any kind of disk, encrypted if the disk is.

use std::fmt;
use std::fs::File;
use std::io;

use bytes::Bytes;

use holdfast_domain::DiskName;

use crate::backend::BackendUpload;
use crate::encryption::{Encryption, ObjectEncryptor};
use crate::error::Error;
use crate::key::StorageKey;
use crate::metrics::{DiskMetrics, Operation};

/// An upload of an object. Dropping it aborts it, and nothing becomes visible. If
/// [`finish`](Upload::finish) is dropped before it returns, the object may have become visible.
#[derive(Debug)]
pub struct Upload {
    disk: DiskName,
    backend: BackendUpload,
    encryption: Option<UploadEncryption>,
    /// Whether the objects of the disk may be encrypted, this one or earlier ones.
    has_keys: bool,
    metrics: Option<DiskMetrics>,
}

/// The encryption of an upload, with the object's name for its errors.
struct UploadEncryption {
    encryptor: ObjectEncryptor,
    key: StorageKey,
}

impl fmt::Debug for UploadEncryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UploadEncryption({})", self.key)
    }
}

impl Upload {
    /// Returns an upload that is not encrypted. `has_keys` says whether the disk has encryption
    /// keys: then its earlier objects may be encrypted.
    pub(crate) fn new(disk: DiskName, backend: BackendUpload, has_keys: bool) -> Self {
        Self {
            disk,
            backend,
            encryption: None,
            has_keys,
            metrics: None,
        }
    }

    /// Returns the same upload, encrypted for the recipients of `keys`.
    pub(crate) fn encrypted(self, keys: &Encryption, key: StorageKey) -> io::Result<Self> {
        let encryption = Some(UploadEncryption {
            encryptor: ObjectEncryptor::begin(keys)?,
            key,
        });
        Ok(Self { encryption, ..self })
    }

    pub(crate) fn with_metrics(self, metrics: Option<DiskMetrics>) -> Self {
        Self { metrics, ..self }
    }

    /// Returns whether [`Upload::copy_front`] can be used: the disk is an S3 bucket without
    /// encryption keys, whose server has not refused to copy.
    pub fn copies_front(&self) -> bool {
        !self.has_keys && self.backend.copies_front()
    }

    /// Begins the object with the first `length` bytes of the object `from` on the same disk, whose
    /// CRC-32 is `crc`. The server copies whole parts by itself. Only the rest, less than a part,
    /// is downloaded, and sent with the bytes that are written next. Nothing may be written before.
    ///
    /// When this returns, the copies are complete. They have the CRC-32, or, if the server returns
    /// no checksums, the right sizes.
    ///
    /// # Errors
    /// [`Error::CopyFailed`] if the server does not copy, the object `from` is missing, shorter or
    /// replaced meanwhile, or a copy is wrong; any other error if the upload can't begin. The
    /// upload can't continue then: abort it.
    pub async fn copy_front(
        &mut self,
        from: StorageKey,
        length: u64,
        crc: u32,
    ) -> Result<(), Error> {
        let before = self.copied_bytes();
        let copied = match (self.has_keys, &mut self.backend) {
            (false, BackendUpload::S3(upload)) => upload.copy_front(from, length, crc).await,
            _ => Err(Error::CopyFailed {
                disk: self.disk.to_string(),
                object: from.to_string(),
                is_object_bad: false,
                source: "this disk can't copy".into(),
            }),
        };
        let Some(metrics) = &self.metrics else {
            return copied;
        };
        if copied.is_ok() {
            let by_server = self.copied_bytes() - before;
            metrics.add_copied_bytes(by_server);
            metrics.add_read_bytes(length - by_server);
            metrics.add_written_bytes(length - by_server);
        }
        metrics.count_error(Operation::Upload, copied)
    }

    /// Returns the number of bytes that the server has copied by itself, and that were not sent.
    pub fn copied_bytes(&self) -> u64 {
        self.backend.copied_bytes()
    }

    /// Appends bytes to the object.
    ///
    /// # Errors
    /// If the disk is full, refuses or fails. The upload can't continue then.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), Error> {
        let bytes = chunk.len() as u64;
        let written = self.encrypt_and_write(chunk).await;
        let Some(metrics) = &self.metrics else {
            return written;
        };
        metrics.add_written_bytes(bytes);
        metrics.count_error(Operation::Upload, written)
    }

    /// Lets `work` write `length` bytes at the end of the file of this upload. It gets the file
    /// and the offset, and returns how many of the bytes the file shares with another one, so that
    /// they take no space. Returns the same.
    ///
    /// # Errors
    /// Those of [`Self::write`]. An [`Error::Unavailable`] if the upload has no file, since the
    /// disk is a bucket or is encrypted: then [`Disk::open`](crate::Disk::open) returns `None`.
    pub async fn write_file(
        &mut self,
        length: u64,
        work: impl FnOnce(&File, u64) -> io::Result<u64> + Send + 'static,
    ) -> Result<u64, Error> {
        let written = match self.encryption {
            None => self.backend.write_file(length, work).await,
            Some(_) => None,
        };
        let written = written.unwrap_or_else(|| {
            let source = io::Error::from(io::ErrorKind::Unsupported);
            Err(Error::from_io(
                self.disk.as_str(),
                "an upload without a file",
                source,
            ))
        });
        let Some(metrics) = &self.metrics else {
            return written;
        };
        if let Ok(shared) = &written {
            metrics.add_written_bytes(length.saturating_sub(*shared));
        }
        metrics.count_error(Operation::Upload, written)
    }

    async fn encrypt_and_write(&mut self, chunk: Bytes) -> Result<(), Error> {
        let Some(encryption) = &mut self.encryption else {
            return self.backend.write(chunk).await;
        };
        let encrypted = encryption.encryptor.encrypt(&chunk);
        let encrypted =
            encrypted.map_err(|error| Error::from_io(self.disk.as_str(), encryption.key, error))?;
        // Less than one age chunk stays in the encryptor until the next call.
        match encrypted.is_empty() {
            true => Ok(()),
            false => self.backend.write(encrypted).await,
        }
    }

    /// Makes the object durable, then visible under its key.
    ///
    /// # Errors
    /// If the object can't be made durable or visible. It is not visible then, with one exception:
    /// after an [`Error::Unavailable`] of a bucket, it may be.
    pub async fn finish(mut self) -> Result<(), Error> {
        let metrics = self.metrics.take();
        let finished = self.encrypt_and_finish().await;
        match metrics {
            Some(metrics) => metrics.count_error(Operation::Upload, finished),
            None => finished,
        }
    }

    async fn encrypt_and_finish(mut self) -> Result<(), Error> {
        if let Some(UploadEncryption { encryptor, key }) = self.encryption {
            let last = encryptor.finish();
            let last = last.map_err(|error| Error::from_io(self.disk.as_str(), key, error))?;
            self.backend.write(last).await?;
        }
        self.backend.finish().await
    }

    /// Aborts the upload and removes its partial data.
    ///
    /// # Errors
    /// If the partial data can't be removed. It is not visible in any case.
    pub async fn abort(self) -> Result<(), Error> {
        self.backend.abort().await
    }
}
