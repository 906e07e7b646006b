//! The disks of a process.

use std::collections::BTreeMap;

use prometheus_client::registry::Registry;

use holdfast_domain::DiskName;

use crate::disk::Disk;
use crate::error::Error;
use crate::metrics::StorageMetrics;

/// The configured disks, with the default disk for new backups.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use holdfast_domain::DiskName;
/// use holdfast_storage::{Disk, Disks, Error};
///
/// # let folder = tempfile::tempdir().expect("a temporary folder");
/// let name = DiskName::parse("local").expect("a disk name");
/// let disk = Disk::local(name.clone(), folder.path())?;
/// let disks = Disks::new(BTreeMap::from([(name.clone(), disk)]), name)?;
///
/// let missing = DiskName::parse("offsite").expect("a disk name");
/// assert!(matches!(disks.get(&missing), Err(Error::UnknownDisk { .. })));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Disks {
    disks: BTreeMap<DiskName, Disk>,
    default: DiskName,
    metrics: StorageMetrics,
}

impl Disks {
    /// Collects disks. `default` names the disk for new backups.
    ///
    /// # Errors
    /// [`Error::UnknownDisk`] if `default` is not among them.
    pub fn new(disks: BTreeMap<DiskName, Disk>, default: DiskName) -> Result<Self, Error> {
        if !disks.contains_key(&default) {
            return Err(Error::UnknownDisk {
                disk: default.to_string(),
            });
        }
        let metrics = StorageMetrics::default();
        let disks = disks
            .into_iter()
            .map(|(name, disk)| {
                let disk = disk.with_metrics(metrics.for_disk(&name));
                (name, disk)
            })
            .collect();
        Ok(Self {
            disks,
            default,
            metrics,
        })
    }

    /// Returns the name of the disk for new backups.
    pub fn default_name(&self) -> &DiskName {
        &self.default
    }

    /// Returns a disk by name.
    ///
    /// # Errors
    /// [`Error::UnknownDisk`] if no disk has that name.
    pub fn get(&self, name: &DiskName) -> Result<&Disk, Error> {
        self.disks.get(name).ok_or_else(|| Error::UnknownDisk {
            disk: name.to_string(),
        })
    }

    /// Registers the metrics of these disks.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// Returns all disks, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = (&DiskName, &Disk)> {
        self.disks.iter()
    }
}
