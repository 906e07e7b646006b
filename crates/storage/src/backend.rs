//! The kinds of disks, and the calls that all of them support.
//!
//! A closed enum instead of a trait object: there are only a few kinds, all in this crate, and a
//! new one should break every `match` that must handle it.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use holdfast_domain::{BackupId, ServerId};

use crate::error::Error;
use crate::gcs::{GcsDisk, GcsReader, GcsUpload};
use crate::key::StorageKey;
use crate::local::{LocalDisk, LocalReader, LocalUpload};
use crate::object::PartialUpload;
use crate::s3::{S3Disk, S3Reader, S3Upload};

/// A disk without encryption and metrics.
#[derive(Clone, Debug)]
pub(crate) enum Backend {
    /// A folder on this machine.
    Local(Arc<LocalDisk>),
    /// A bucket of an S3 server.
    S3(Arc<S3Disk>),
    /// A bucket of Google Cloud Storage.
    Gcs(Arc<GcsDisk>),
}

/// The stored bytes of an object.
#[derive(Debug)]
pub(crate) enum BackendReader {
    Local(LocalReader),
    S3(S3Reader),
    Gcs(GcsReader),
}

/// An upload of bytes that are stored as they are.
#[derive(Debug)]
pub(crate) enum BackendUpload {
    Local(LocalUpload),
    S3(S3Upload),
    Gcs(GcsUpload),
}

impl Backend {
    pub(crate) async fn begin(
        &self,
        key: StorageKey,
        size_max_bytes: u64,
    ) -> Result<BackendUpload, Error> {
        Ok(match self {
            Self::Local(disk) => BackendUpload::Local(disk.begin(key).await?),
            Self::S3(disk) => BackendUpload::S3(disk.begin(key, size_max_bytes)?),
            Self::Gcs(disk) => BackendUpload::Gcs(disk.begin(key, size_max_bytes)?),
        })
    }

    pub(crate) async fn size(&self, key: StorageKey) -> Result<u64, Error> {
        match self {
            Self::Local(disk) => disk.size(key).await,
            Self::S3(disk) => disk.size(key).await,
            Self::Gcs(disk) => disk.size(key).await,
        }
    }

    pub(crate) async fn read(
        &self,
        key: StorageKey,
        range: Range<u64>,
    ) -> Result<BackendReader, Error> {
        Ok(match self {
            Self::Local(disk) => BackendReader::Local(disk.read(key, range).await?),
            Self::S3(disk) => BackendReader::S3(disk.read(key, range).await?),
            Self::Gcs(disk) => BackendReader::Gcs(disk.read(key, range).await?),
        })
    }

    /// Opens an object as a file. Returns `None` for a bucket, which has no files.
    pub(crate) async fn open(&self, key: StorageKey) -> Option<Result<File, Error>> {
        match self {
            Self::Local(disk) => Some(disk.open(key).await),
            Self::S3(_) | Self::Gcs(_) => None,
        }
    }

    /// Returns a presigned URL. Returns `None` for a local disk, which has no URLs.
    pub(crate) async fn presign(
        &self,
        key: StorageKey,
        file_name: &str,
        ttl: Duration,
    ) -> Option<Result<String, Error>> {
        match self {
            Self::Local(_) => None,
            Self::S3(disk) => Some(disk.presign(key, file_name, ttl).await),
            Self::Gcs(disk) => Some(disk.presign(key, file_name, ttl)),
        }
    }

    pub(crate) async fn delete(&self, key: StorageKey) -> Result<(), Error> {
        match self {
            Self::Local(disk) => disk.delete(key).await,
            Self::S3(disk) => disk.delete(key).await,
            Self::Gcs(disk) => disk.delete(key).await,
        }
    }

    pub(crate) async fn delete_attempts(
        &self,
        server: ServerId,
        backup: BackupId,
        last: u32,
    ) -> Result<(), Error> {
        match self {
            Self::Local(disk) => disk.delete_attempts(server, backup, last).await,
            Self::S3(disk) => disk.delete_attempts(server, backup, last).await,
            Self::Gcs(disk) => disk.delete_attempts(server, backup, last).await,
        }
    }

    pub(crate) async fn remove_partial(&self, partial: &PartialUpload) -> Result<(), Error> {
        match self {
            Self::Local(disk) => disk.remove_partial(partial).await,
            Self::S3(disk) => disk.remove_partial(partial).await,
            // Google does not list sessions, and ends them after a week.
            Self::Gcs(_) => Ok(()),
        }
    }

    pub(crate) async fn check(&self) -> Result<(), Error> {
        match self {
            Self::Local(disk) => disk.check().await,
            Self::S3(disk) => disk.check().await,
            Self::Gcs(disk) => disk.check().await,
        }
    }
}

impl BackendReader {
    /// Returns the size of the stored object, in bytes.
    pub(crate) fn object_bytes(&self) -> u64 {
        match self {
            Self::Local(reader) => reader.object_bytes(),
            Self::S3(reader) => reader.object_bytes(),
            Self::Gcs(reader) => reader.object_bytes(),
        }
    }

    /// Returns the number of bytes still to be read.
    pub(crate) fn left_bytes(&self) -> u64 {
        match self {
            Self::Local(reader) => reader.left_bytes(),
            Self::S3(reader) => reader.left_bytes(),
            Self::Gcs(reader) => reader.left_bytes(),
        }
    }

    /// Returns the next chunk, or `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        match self {
            Self::Local(reader) => reader.next().await,
            Self::S3(reader) => reader.next().await,
            Self::Gcs(reader) => reader.next().await,
        }
    }
}

impl BackendUpload {
    pub(crate) async fn write(&mut self, chunk: Bytes) -> Result<(), Error> {
        match self {
            Self::Local(upload) => upload.write(chunk).await,
            Self::S3(upload) => upload.write(chunk).await,
            Self::Gcs(upload) => upload.write(chunk).await,
        }
    }

    /// Lets `work` write to the file of a local disk. Returns `None` for a bucket, which has no
    /// files.
    pub(crate) async fn write_file<T: Send + 'static>(
        &mut self,
        length: u64,
        work: impl FnOnce(&File, u64) -> io::Result<T> + Send + 'static,
    ) -> Option<Result<T, Error>> {
        match self {
            Self::Local(upload) => Some(upload.write_file(length, work).await),
            Self::S3(_) | Self::Gcs(_) => None,
        }
    }

    /// Returns whether the server can begin the object with a copy of another one.
    pub(crate) fn copies_front(&self) -> bool {
        match self {
            Self::Local(_) | Self::Gcs(_) => false,
            Self::S3(upload) => upload.copies_front(),
        }
    }

    /// Returns the number of bytes that the server has copied by itself.
    pub(crate) fn copied_bytes(&self) -> u64 {
        match self {
            Self::Local(_) | Self::Gcs(_) => 0,
            Self::S3(upload) => upload.copied_bytes(),
        }
    }

    pub(crate) async fn finish(self) -> Result<(), Error> {
        match self {
            Self::Local(upload) => upload.finish().await,
            Self::S3(upload) => upload.finish().await,
            Self::Gcs(upload) => upload.finish().await,
        }
    }

    pub(crate) async fn abort(self) -> Result<(), Error> {
        match self {
            Self::Local(upload) => upload.abort().await,
            Self::S3(upload) => upload.abort().await,
            Self::Gcs(upload) => upload.abort().await,
        }
    }
}
