//! A disk, whatever it is made of: one name, and one match for each thing it can be asked.
//!
//! A closed enum and no trait object: the list of drivers is short, each is ours, and a new one
//! should break every `match` that has to think about it.

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use holdfast_domain::{BackupId, DiskName, ServerId};

use crate::encryption::{self, Encryption, sealed_bytes};
use crate::error::Error;
use crate::gcs::{GcsDisk, GcsOptions};
use crate::key::StorageKey;
use crate::listing::{Listing, PartialUploads, PartialsOf};
use crate::local::LocalDisk;
use crate::meter::{Meter, Operation};
use crate::reader::ObjectReader;
use crate::s3::{S3Disk, S3Options};
use crate::upload::Upload;

/// A place where archives live. Copies of it are the same place.
#[derive(Clone, Debug)]
pub struct Disk {
    name: DiskName,
    backend: Backend,
    encryption: Option<Encryption>,
    /// Set once it is one of a process's disks.
    meter: Option<Meter>,
}

/// What a disk is made of.
#[derive(Clone, Debug)]
pub(crate) enum Backend {
    /// A folder on this machine.
    Local(Arc<LocalDisk>),
    /// A bucket of a server that speaks S3.
    S3(Arc<S3Disk>),
    /// A bucket at Google.
    Gcs(Arc<GcsDisk>),
}

/// What an upload that never ended has left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartialUpload {
    /// What it was to become.
    pub key: StorageKey,
    /// What [`Disk::remove_partial`] needs to find it.
    pub handle: String,
    /// When it was last written to, or begun, by the clock of the disk, where that says.
    pub written_at: Option<SystemTime>,
}

impl Disk {
    /// Opens a disk in the folder `root` of this machine, which is made when it is not there.
    ///
    /// # Errors
    /// When `root` is no directory, can't be written to, or belongs to a disk of another name.
    pub fn local(name: DiskName, root: &Path) -> Result<Self, Error> {
        let backend = Backend::Local(LocalDisk::open_root(name.clone(), root)?);
        Ok(Self::new(name, backend))
    }

    /// Opens a disk in the folder `root` that is known to hold archives. One that is not there is not made anew, or a
    /// folder that is not mounted would turn into an empty disk: until it is there, whatever is asked of it fails.
    ///
    /// # Errors
    /// When `root` is no directory, can't be written to, or belongs to a disk of another name.
    pub fn local_in_use(name: DiskName, root: &Path) -> Result<Self, Error> {
        let backend = Backend::Local(LocalDisk::open_in_use(name.clone(), root)?);
        Ok(Self::new(name, backend))
    }

    /// Describes a disk in a bucket. Nothing is sent before the disk is used, so that a server that
    /// is down keeps nobody from starting; [`Disk::check`] asks it.
    pub fn s3(name: DiskName, options: S3Options) -> Self {
        let backend = Backend::S3(S3Disk::new(name.clone(), options));
        Self::new(name, backend)
    }

    fn new(name: DiskName, backend: Backend) -> Self {
        Self {
            name,
            backend,
            encryption: None,
            meter: None,
        }
    }

    /// The same disk, whose objects are encrypted or can be decrypted with these keys.
    #[must_use]
    pub fn with_encryption(self, encryption: Encryption) -> Self {
        let encryption = Some(encryption);
        Self { encryption, ..self }
    }

    pub(crate) fn with_meter(self, meter: Meter) -> Self {
        let meter = Some(meter);
        Self { meter, ..self }
    }

    fn count<T>(&self, operation: Operation, ended: Result<T, Error>) -> Result<T, Error> {
        match &self.meter {
            Some(meter) => meter.count(operation, ended),
            None => ended,
        }
    }

    /// Describes a disk in a bucket at Google. Nothing is sent before the disk is used.
    ///
    /// # Errors
    /// When this machine knows no authorities whose certificates to trust.
    pub fn gcs(name: DiskName, options: GcsOptions) -> Result<Self, Error> {
        let backend = Backend::Gcs(GcsDisk::new(name.clone(), options)?);
        Ok(Self::new(name, backend))
    }

    /// Returns the disk's name.
    pub fn name(&self) -> &DiskName {
        &self.name
    }

    /// Says whether it is a folder of one node, which no other node can reach.
    pub fn is_of_one_node(&self) -> bool {
        match &self.backend {
            Backend::Local(_) => true,
            Backend::S3(_) | Backend::Gcs(_) => false,
        }
    }

    /// Begins an upload of at most `most_bytes`, by which a bucket's parts are measured. Nothing is
    /// visible under `key` before [`Upload::finish`].
    ///
    /// # Errors
    /// When the disk can't be written to, or can't hold an object of that size.
    pub async fn begin(&self, key: StorageKey, most_bytes: u64) -> Result<Upload, Error> {
        let begun = self.begin_upload(key, most_bytes).await;
        let upload = self.count(Operation::Upload, begun)?;
        Ok(upload.metered(self.meter.clone()))
    }

    async fn begin_upload(&self, key: StorageKey, most_bytes: u64) -> Result<Upload, Error> {
        let Some(keys) = self.encryption.as_ref().filter(|keys| keys.seals()) else {
            return self.backend.begin(key, most_bytes).await;
        };
        let upload = self.backend.begin(key, sealed_bytes(most_bytes)).await?;
        let sealed = upload.sealed(keys, self.name.as_str(), key);
        sealed.map_err(|error| Error::from_io(self.name.as_str(), key, error))
    }

    /// Returns the object's size in bytes, before it was encrypted.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it is not there.
    pub async fn size(&self, key: StorageKey) -> Result<u64, Error> {
        let size = match &self.backend {
            _ if self.encryption.is_some() => {
                let opened = self.open_reader(key, 0..0).await;
                opened.map(|reader| reader.object_bytes())
            }
            Backend::Local(disk) => disk.size(key).await,
            Backend::S3(disk) => disk.size(key).await,
            Backend::Gcs(disk) => disk.size(key).await,
        };
        self.count(Operation::Size, size)
    }

    /// Reads the part of an object that lies in `range`, piece by piece. A range that reaches
    /// beyond the object ends where the object does; one that begins there is empty.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the object is not there.
    pub async fn read(&self, key: StorageKey, range: Range<u64>) -> Result<ObjectReader, Error> {
        let opened = self.open_reader(key, range).await;
        let reader = self.count(Operation::Read, opened)?;
        Ok(reader.metered(self.meter.clone()))
    }

    async fn open_reader(&self, key: StorageKey, range: Range<u64>) -> Result<ObjectReader, Error> {
        match &self.encryption {
            None => self.backend.read(key, range).await,
            Some(keys) => {
                encryption::open(&self.backend, self.name.as_str(), keys, key, range).await
            }
        }
    }

    /// Opens the object as a file of this machine, for positioned reads without a copy; `None` on a
    /// disk whose objects are none, or are encrypted: those are read with [`Disk::read`].
    ///
    /// # Errors
    /// [`Error::NotFound`] when it is not there; a disk without files is not asked.
    pub async fn open(&self, key: StorageKey) -> Result<Option<File>, Error> {
        match &self.backend {
            _ if self.encryption.is_some() => Ok(None),
            Backend::Local(disk) => self.count(Operation::Open, disk.open(key).await).map(Some),
            Backend::S3(_) | Backend::Gcs(_) => Ok(None),
        }
    }

    /// Makes a URL by which anybody can GET the object for `ttl`, as a download named `file_name`;
    /// `None` on a disk whose objects the service has to hand out itself. The object is not looked at.
    ///
    /// # Errors
    /// When there are no credentials to sign with.
    pub async fn link(
        &self,
        key: StorageKey,
        file_name: &str,
        ttl: Duration,
    ) -> Result<Option<String>, Error> {
        match &self.backend {
            _ if self.encryption.is_some() => Ok(None),
            Backend::Local(_) => Ok(None),
            Backend::S3(disk) => {
                let link = disk.link(key, file_name, ttl).await;
                self.count(Operation::Link, link).map(Some)
            }
            Backend::Gcs(disk) => {
                let link = disk.link(key, file_name, ttl);
                self.count(Operation::Link, link).map(Some)
            }
        }
    }

    /// Removes every object of a backup, of any attempt, and what its uploads have left behind.
    /// What is not there is removed already.
    ///
    /// # Errors
    /// When the disk can't be reached or refuses; then some objects may still be there.
    pub async fn delete_backup(&self, server: ServerId, backup: BackupId) -> Result<(), Error> {
        let ended = match &self.backend {
            Backend::Local(disk) => disk.delete_backup(server, backup).await,
            Backend::S3(disk) => disk.delete_backup(server, backup).await,
            Backend::Gcs(disk) => disk.delete_backup(server, backup).await,
        };
        self.count(Operation::Delete, ended)
    }

    /// Removes one object. What is not there is removed already.
    ///
    /// # Errors
    /// When the disk can't be reached or refuses.
    pub async fn delete(&self, key: StorageKey) -> Result<(), Error> {
        let ended = match &self.backend {
            Backend::Local(disk) => disk.delete(key).await,
            Backend::S3(disk) => disk.delete(key).await,
            Backend::Gcs(disk) => disk.delete(key).await,
        };
        self.count(Operation::Delete, ended)
    }

    /// Lists the whole objects of one server, or of all, page by page, in the order of their names. What is not ours
    /// is passed over.
    pub fn list(&self, server: Option<ServerId>) -> Listing {
        match &self.backend {
            Backend::Local(disk) => disk.list(server).into(),
            Backend::S3(disk) => disk.list(server).into(),
            Backend::Gcs(disk) => disk.list(server).into(),
        }
    }

    /// Lists what unfinished uploads have left behind.
    pub fn partials(&self) -> PartialUploads {
        let of = match &self.backend {
            Backend::Local(disk) => PartialsOf::Local(disk.list(None)),
            Backend::S3(disk) => PartialsOf::S3(disk.partials("")),
            Backend::Gcs(_) => PartialsOf::Gcs,
        };
        PartialUploads::new(of, self.meter.clone())
    }

    /// Removes what an unfinished upload has left behind.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn remove_partial(&self, partial: &PartialUpload) -> Result<(), Error> {
        let ended = match &self.backend {
            Backend::Local(disk) => disk.remove_partial(partial).await,
            Backend::S3(disk) => disk.remove_partial(partial).await,
            Backend::Gcs(_) => Ok(()),
        };
        self.count(Operation::Sweep, ended)
    }

    /// Removes what a process that was killed while it tried the disk has left, when it is older than `before`; says
    /// how many. Only a folder has such files.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn remove_probes(&self, before: SystemTime) -> Result<u64, Error> {
        match &self.backend {
            Backend::Local(disk) => disk.remove_probes(before).await,
            Backend::S3(_) | Backend::Gcs(_) => Ok(0),
        }
    }

    /// Returns how many bytes can still be written, where the disk knows.
    ///
    /// # Errors
    /// When it can't be asked.
    pub async fn free_bytes(&self) -> Result<Option<u64>, Error> {
        match &self.backend {
            Backend::Local(disk) => disk.free_bytes().await.map(Some),
            Backend::S3(_) | Backend::Gcs(_) => Ok(None),
        }
    }

    /// Checks that the disk can be used: a folder by writing to it, a bucket by listing it, which
    /// proves address, region, clock and credentials. A bucket that was well is asked again after
    /// five seconds.
    ///
    /// # Errors
    /// Why it can't.
    pub async fn check(&self) -> Result<(), Error> {
        let ended = match &self.backend {
            Backend::Local(disk) => disk.check().await,
            Backend::S3(disk) => disk.check().await,
            Backend::Gcs(disk) => disk.check().await,
        };
        self.count(Operation::Check, ended)
    }
}

impl Backend {
    async fn begin(&self, key: StorageKey, most_bytes: u64) -> Result<Upload, Error> {
        match self {
            Self::Local(disk) => disk.begin(key).await.map(Upload::from),
            Self::S3(disk) => disk.begin(key, most_bytes).map(Upload::from),
            Self::Gcs(disk) => disk.begin(key, most_bytes).map(Upload::from),
        }
    }

    /// Reads what lies on the disk, as it lies there.
    pub(crate) async fn read(
        &self,
        key: StorageKey,
        range: Range<u64>,
    ) -> Result<ObjectReader, Error> {
        match self {
            Self::Local(disk) => disk.read(key, range).await.map(ObjectReader::from),
            Self::S3(disk) => disk.read(key, range).await.map(ObjectReader::from),
            Self::Gcs(disk) => disk.read(key, range).await.map(ObjectReader::from),
        }
    }
}
