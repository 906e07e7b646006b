//! The set of disks that a process knows.

use std::collections::BTreeMap;

use holdfast_domain::DiskName;

use crate::disk::Disk;
use crate::error::Error;

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
