//! The set of disks that a process knows.

use std::collections::BTreeMap;

use holdfast_domain::DiskName;
use prometheus_client::registry::Registry;

use crate::disk::Disk;
use crate::error::Error;
use crate::meter::Meters;

/// The disks that this process knows, and the one that new backups go to.
#[derive(Clone, Debug)]
pub struct Disks {
    disks: BTreeMap<DiskName, Disk>,
    default: DiskName,
    meters: Meters,
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
        let meters = Meters::default();
        let disks = disks
            .into_iter()
            .map(|(name, disk)| {
                let disk = disk.with_meter(meters.of(&name));
                (name, disk)
            })
            .collect();
        Ok(Self {
            disks,
            default,
            meters,
        })
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

    /// Has what these disks count shown.
    pub fn register(&self, registry: &mut Registry) {
        self.meters.register(registry);
    }

    /// Goes through all disks.
    pub fn iter(&self) -> impl Iterator<Item = (&DiskName, &Disk)> {
        self.disks.iter()
    }
}
