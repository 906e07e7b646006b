//! A disk: a backend with a name, and optionally encryption and metrics.

use std::fs::File;
use std::ops::Range;
use std::time::{Duration, SystemTime};

use holdfast_domain::{BackupId, DiskName, ServerId};

use crate::backend::Backend;
use crate::encryption::{Encryption, decrypt, encrypted_size_max};
use crate::error::Error;
use crate::gcs::{GcsDisk, GcsOptions};
use crate::key::StorageKey;
use crate::listing::{Listing, PartialUploads};
use crate::local::{LocalDisk, LocalOptions};
use crate::metrics::{DiskMetrics, Operation};
use crate::object::PartialUpload;
use crate::reader::ObjectReader;
use crate::s3::{S3Disk, S3Options};
use crate::upload::Upload;

/// A place that stores archives. Clones of a `Disk` share its connections and state.
#[derive(Clone, Debug)]
pub struct Disk {
    name: DiskName,
    backend: Backend,
    encryption: Option<Encryption>,
    /// Set by [`Disks::new`](crate::Disks::new).
    metrics: Option<DiskMetrics>,
}

impl Disk {
    /// Opens a disk in a folder, and creates the folder if it is missing. Closes an existing folder
    /// to other users.
    ///
    /// # Errors
    /// If the folder is not a directory, is not writable, or belongs to a disk of another name.
    pub fn local(name: DiskName, options: impl Into<LocalOptions>) -> Result<Self, Error> {
        let opened = LocalDisk::open_or_create(name.clone(), options.into())?;
        let backend = Backend::Local(opened);
        Ok(Self::new(name, backend))
    }

    /// Opens a disk in a folder that already contains archives.
    ///
    /// A missing folder is not created: it may be an unmounted disk, which must not look like an
    /// empty one. Until the folder is back, every call fails.
    ///
    /// # Errors
    /// If the folder is not a directory, is not writable, or belongs to a disk of another name.
    pub fn local_existing(name: DiskName, options: impl Into<LocalOptions>) -> Result<Self, Error> {
        let opened = LocalDisk::open_existing(name.clone(), options.into())?;
        let backend = Backend::Local(opened);
        Ok(Self::new(name, backend))
    }

    /// Returns a disk in an S3 bucket. It connects when it is first used, so that the service
    /// starts even if the server is down. [`Disk::check`] tests the connection.
    pub fn s3(name: DiskName, options: S3Options) -> Self {
        let backend = Backend::S3(S3Disk::new(name.clone(), options));
        Self::new(name, backend)
    }

    /// Returns a disk in a bucket of Google Cloud Storage. It connects when it is first used.
    ///
    /// # Errors
    /// If this machine has no certificates of trusted authorities.
    pub fn gcs(name: DiskName, options: GcsOptions) -> Result<Self, Error> {
        let backend = Backend::Gcs(GcsDisk::new(name.clone(), options)?);
        Ok(Self::new(name, backend))
    }

    fn new(name: DiskName, backend: Backend) -> Self {
        Self {
            name,
            backend,
            encryption: None,
            metrics: None,
        }
    }

    /// Returns the same disk with encryption keys.
    #[must_use]
    pub fn with_encryption(self, encryption: Encryption) -> Self {
        let encryption = Some(encryption);
        Self { encryption, ..self }
    }

    pub(crate) fn with_metrics(self, metrics: DiskMetrics) -> Self {
        let metrics = Some(metrics);
        Self { metrics, ..self }
    }

    fn count<T>(&self, operation: Operation, result: Result<T, Error>) -> Result<T, Error> {
        match &self.metrics {
            Some(metrics) => metrics.count(operation, result),
            None => result,
        }
    }

    /// Returns the disk's name.
    pub fn name(&self) -> &DiskName {
        &self.name
    }

    /// Returns whether the disk is a folder of one node, which other nodes can't access.
    pub fn is_node_local(&self) -> bool {
        match &self.backend {
            Backend::Local(_) => true,
            Backend::S3(_) | Backend::Gcs(_) => false,
        }
    }

    /// Returns the group whose members may read the files of a folder, or `None` if only the
    /// service's user may, or the disk is a bucket.
    pub fn readers(&self) -> Option<u32> {
        match &self.backend {
            Backend::Local(disk) => disk.readers(),
            Backend::S3(_) | Backend::Gcs(_) => None,
        }
    }

    /// Returns whether the disk has encryption keys.
    pub fn is_encrypted(&self) -> bool {
        self.encryption.is_some()
    }

    /// Begins an upload of at most `size_max_bytes`, which determines the size of a bucket's parts.
    /// Nothing is visible under `key` before [`Upload::finish`].
    ///
    /// # Errors
    /// If the disk is not writable, or can't store an object of that size.
    pub async fn begin(&self, key: StorageKey, size_max_bytes: u64) -> Result<Upload, Error> {
        let begun = self.begin_upload(key, size_max_bytes).await;
        let upload = self.count(Operation::Upload, begun)?;
        Ok(upload.with_metrics(self.metrics.clone()))
    }

    async fn begin_upload(&self, key: StorageKey, size_max_bytes: u64) -> Result<Upload, Error> {
        let Some(keys) = self.encryption.as_ref().filter(|keys| keys.is_on()) else {
            let begun = self.backend.begin(key, size_max_bytes).await?;
            let has_keys = self.encryption.is_some();
            return Ok(Upload::new(self.name.clone(), begun, has_keys));
        };
        let stored_max_bytes = encrypted_size_max(size_max_bytes);
        let begun = self.backend.begin(key, stored_max_bytes).await?;
        let encrypted = Upload::new(self.name.clone(), begun, true).encrypted(keys, key);
        encrypted.map_err(|error| Error::from_io(self.name.as_str(), key, error))
    }

    /// Returns the object's size in bytes, without encryption.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the object does not exist.
    pub async fn size(&self, key: StorageKey) -> Result<u64, Error> {
        let size = match &self.encryption {
            None => self.backend.size(key).await,
            Some(_) => {
                let reader = self.open_reader(key, 0..0).await;
                reader.map(|reader| reader.object_bytes())
            }
        };
        self.count(Operation::Size, size)
    }

    /// Reads a range of an object, in chunks. The range is cut at the object's end, and is empty
    /// if it begins after it.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the object does not exist.
    pub async fn read(&self, key: StorageKey, range: Range<u64>) -> Result<ObjectReader, Error> {
        let opened = self.open_reader(key, range).await;
        let reader = self.count(Operation::Read, opened)?;
        Ok(reader.with_metrics(self.metrics.clone()))
    }

    async fn open_reader(&self, key: StorageKey, range: Range<u64>) -> Result<ObjectReader, Error> {
        match &self.encryption {
            None => Ok(self.backend.read(key, range).await?.into()),
            Some(keys) => {
                let opened = decrypt::open(&self.backend, self.name.as_str(), keys, key, range);
                Ok(opened.await?.into())
            }
        }
    }

    /// Opens the object as a file, for reads at any position without a copy. Returns `None` if the
    /// disk is a bucket or is encrypted. Then use [`Disk::read`].
    ///
    /// # Errors
    /// [`Error::NotFound`] if the object does not exist.
    pub async fn open(&self, key: StorageKey) -> Result<Option<File>, Error> {
        if self.encryption.is_some() {
            return Ok(None);
        }
        let opened = self.backend.open(key).await;
        let counted = opened.map(|opened| self.count(Operation::Open, opened));
        counted.transpose()
    }

    /// Returns a presigned URL: for `ttl`, anyone with it can download the object, as a file named
    /// `file_name`. Returns `None` if the disk is a folder or is encrypted. The object may be
    /// missing.
    ///
    /// # Errors
    /// If there are no credentials to sign with.
    pub async fn presigned_url(
        &self,
        key: StorageKey,
        file_name: &str,
        ttl: Duration,
    ) -> Result<Option<String>, Error> {
        if self.encryption.is_some() {
            return Ok(None);
        }
        let signed = self.backend.presign(key, file_name, ttl).await;
        let counted = signed.map(|signed| self.count(Operation::Link, signed));
        counted.transpose()
    }

    /// Deletes all objects and partial uploads of a backup, of every attempt. Succeeds if there are
    /// none.
    ///
    /// # Errors
    /// If the disk is unavailable or refuses. Some objects may remain.
    pub async fn delete_backup(&self, server: ServerId, backup: BackupId) -> Result<(), Error> {
        self.delete_attempts(server, backup, u32::MAX).await
    }

    /// Deletes all objects and partial uploads of a backup, of the attempts up to `last`. Succeeds
    /// if there are none. A later attempt may have completed the backup already, if the process of
    /// the caller was paused.
    ///
    /// # Errors
    /// If the disk is unavailable or refuses. Some objects may remain.
    pub async fn delete_attempts(
        &self,
        server: ServerId,
        backup: BackupId,
        last: u32,
    ) -> Result<(), Error> {
        let deleted = self.backend.delete_attempts(server, backup, last).await;
        self.count(Operation::Delete, deleted)
    }

    /// Deletes an object. Succeeds if it does not exist.
    ///
    /// # Errors
    /// If the disk is unavailable or refuses.
    pub async fn delete(&self, key: StorageKey) -> Result<(), Error> {
        let deleted = self.backend.delete(key).await;
        self.count(Operation::Delete, deleted)
    }

    /// Lists the objects of `server`, or of all servers, in pages ordered by name. Files that
    /// Holdfast did not write are left out.
    pub fn list(&self, server: Option<ServerId>) -> Listing {
        match &self.backend {
            Backend::Local(disk) => disk.list(server).into(),
            Backend::S3(disk) => disk.list(server).into(),
            Backend::Gcs(disk) => disk.list(server).into(),
        }
    }

    /// Lists partial uploads, in pages.
    pub fn partials(&self) -> PartialUploads {
        let partials = match &self.backend {
            Backend::Local(disk) => PartialUploads::from(disk.list(None)),
            Backend::S3(disk) => PartialUploads::from(disk.partials("")),
            Backend::Gcs(_) => PartialUploads::none(),
        };
        partials.with_metrics(self.metrics.clone())
    }

    /// Removes a partial upload. Succeeds if it does not exist.
    ///
    /// # Errors
    /// If the disk is unavailable or refuses.
    pub async fn remove_partial(&self, partial: &PartialUpload) -> Result<(), Error> {
        let removed = self.backend.remove_partial(partial).await;
        self.count(Operation::Sweep, removed)
    }

    /// Removes probe files older than `before`, which processes that were killed during
    /// [`Disk::check`] left in a folder. Returns their number.
    ///
    /// # Errors
    /// If the folder is unavailable or refuses.
    pub async fn remove_probes(&self, before: SystemTime) -> Result<u64, Error> {
        match &self.backend {
            Backend::Local(disk) => disk.remove_probes(before).await,
            Backend::S3(_) | Backend::Gcs(_) => Ok(0),
        }
    }

    /// Sets the permissions of all files and folders of a folder, where they were written with
    /// others. Logs how many were changed, and returns their number. Stops between two servers if
    /// `is_stopped` says so; the rest is done the next time.
    ///
    /// # Errors
    /// If the folder is unavailable. Permissions that cannot be changed are only logged.
    pub async fn repair_permissions(&self, is_stopped: impl Fn() -> bool) -> Result<u64, Error> {
        match &self.backend {
            Backend::Local(disk) => disk.repair_permissions(is_stopped).await,
            Backend::S3(_) | Backend::Gcs(_) => Ok(0),
        }
    }

    /// Returns the number of bytes that can still be written. Returns `None` for a bucket, and for
    /// a file system that does not report it.
    ///
    /// # Errors
    /// If the file system can't be queried.
    pub async fn free_bytes(&self) -> Result<Option<u64>, Error> {
        match &self.backend {
            Backend::Local(disk) => disk.free_bytes().await,
            Backend::S3(_) | Backend::Gcs(_) => Ok(None),
        }
    }

    /// Checks that the disk can be used: stores, reads and deletes a probe file in a folder, or
    /// lists a bucket, which tests address, region, clock and credentials. A success is cached for
    /// five seconds.
    ///
    /// # Errors
    /// The reason why the disk can't be used.
    pub async fn check(&self) -> Result<(), Error> {
        let checked = self.backend.check().await;
        self.count(Operation::Check, checked)
    }
}
