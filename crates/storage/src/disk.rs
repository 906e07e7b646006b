//! A disk, whatever it is made of, and the set of those that a process knows.
//!
//! A closed enum and no trait object: the list of drivers is short, each is
//! ours, and a new one should break every `match` that has to think about it.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use holdfast_domain::{BackupId, DiskName, ServerId};

use crate::error::Error;
use crate::key::StorageKey;
use crate::local::{LocalDisk, LocalUpload};

/// A place where archives live.
#[derive(Clone, Debug)]
pub enum Disk {
    /// A folder on this machine.
    Local(Arc<LocalDisk>),
}

/// An object on its way to a disk: not visible, and gone when dropped.
#[derive(Debug)]
pub enum Upload {
    /// To a folder on this machine.
    Local(LocalUpload),
}

/// What an upload that never ended has left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partial {
    /// What it was to become.
    pub key: StorageKey,
    /// What [`Disk::remove_partial`] needs to find it.
    pub handle: String,
}

impl Disk {
    /// Begins an upload. Nothing is visible under `key` before [`Upload::finish`].
    ///
    /// # Errors
    /// When the disk can't be written to.
    pub async fn begin(&self, key: StorageKey) -> Result<Upload, Error> {
        match self {
            Self::Local(disk) => disk.begin(key).await.map(Upload::Local),
        }
    }

    /// Returns the object's size in bytes.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it is not there.
    pub async fn size(&self, key: StorageKey) -> Result<u64, Error> {
        match self {
            Self::Local(disk) => disk.size(key).await,
        }
    }

    /// Opens the object as a file of this machine: positioned reads, no copy.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it is not there.
    pub async fn open(&self, key: StorageKey) -> Result<File, Error> {
        match self {
            Self::Local(disk) => disk.open(key).await,
        }
    }

    /// Removes every object of a backup, of any attempt. What is not there is removed already.
    ///
    /// # Errors
    /// When the disk can't be reached or refuses; then some objects may still be there.
    pub async fn delete_backup(&self, server: ServerId, backup: BackupId) -> Result<(), Error> {
        match self {
            Self::Local(disk) => disk.delete_backup(server, backup).await,
        }
    }

    /// Removes one object. What is not there is removed already.
    ///
    /// # Errors
    /// When the disk can't be reached or refuses.
    pub async fn delete(&self, key: StorageKey) -> Result<(), Error> {
        match self {
            Self::Local(disk) => disk.delete(key).await,
        }
    }

    /// Lists what unfinished uploads have left behind, running ones among them: only the caller
    /// knows which those are.
    ///
    /// # Errors
    /// When the disk can't be read.
    pub async fn partials(&self) -> Result<Vec<Partial>, Error> {
        match self {
            Self::Local(disk) => disk.partials().await,
        }
    }

    /// Removes what an unfinished upload has left behind.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn remove_partial(&self, partial: &Partial) -> Result<(), Error> {
        match self {
            Self::Local(disk) => disk.remove_partial(partial).await,
        }
    }

    /// Returns how many bytes can still be written, where the disk knows.
    ///
    /// # Errors
    /// When it can't be asked.
    pub async fn free_bytes(&self) -> Result<Option<u64>, Error> {
        match self {
            Self::Local(disk) => disk.free_bytes().await.map(Some),
        }
    }

    /// Checks that the disk can be written to.
    ///
    /// # Errors
    /// Why it can't.
    pub async fn check(&self) -> Result<(), Error> {
        match self {
            Self::Local(disk) => disk.check().await,
        }
    }
}

impl Upload {
    /// Adds bytes to the end.
    ///
    /// # Errors
    /// When the disk is full, refuses or fails; the upload is then of no more use.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), Error> {
        match self {
            Self::Local(upload) => upload.write(chunk).await,
        }
    }

    /// Makes the object durable, then visible under its key.
    ///
    /// # Errors
    /// When it can't be made either; then nothing is visible.
    pub async fn finish(self) -> Result<(), Error> {
        match self {
            Self::Local(upload) => upload.finish().await,
        }
    }

    /// Gives the upload up and removes what it has written.
    ///
    /// # Errors
    /// When that can't be removed; nothing is visible all the same.
    pub async fn abort(self) -> Result<(), Error> {
        match self {
            Self::Local(upload) => upload.abort().await,
        }
    }
}

/// The disks that this process knows, and the one that new backups go to.
#[derive(Clone, Debug)]
pub struct Disks {
    disks: BTreeMap<DiskName, Disk>,
    default: DiskName,
}

impl Disks {
    /// Puts disks together; `default` is where new backups go.
    ///
    /// # Errors
    /// [`Error::UnknownDisk`] when the default is none of them.
    pub fn new(disks: BTreeMap<DiskName, Disk>, default: DiskName) -> Result<Self, Error> {
        if !disks.contains_key(&default) {
            return Err(Error::UnknownDisk {
                disk: default.to_string(),
            });
        }
        Ok(Self { disks, default })
    }

    /// Returns the name of the disk for new backups.
    pub fn default_name(&self) -> &DiskName {
        &self.default
    }

    /// Returns a disk by name.
    ///
    /// # Errors
    /// [`Error::UnknownDisk`].
    pub fn get(&self, name: &DiskName) -> Result<&Disk, Error> {
        self.disks.get(name).ok_or_else(|| Error::UnknownDisk {
            disk: name.to_string(),
        })
    }

    /// Goes through all disks.
    pub fn iter(&self) -> impl Iterator<Item = (&DiskName, &Disk)> {
        self.disks.iter()
    }
}
