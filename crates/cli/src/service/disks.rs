//! What the settings say of disks and of the places of servers, in the words of the crates that work with them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holdfast_db::{Database, maintenance};
use holdfast_domain::error_chain::chain;
use holdfast_domain::{DirectoryRules, DiskName, NodeName};
use holdfast_storage::{Disk, Disks, GcsOptions, S3Options};

use crate::failure::Failure;
use crate::settings::{DiskDriver, Settings};

/// Opens every disk of the settings. A folder that is not there is made, unless the database knows archives in it:
/// then it is not mounted, and is told and waited for.
///
/// # Errors
/// When a local one can't be used; the text names it. Or when the database can't be read.
pub async fn open_disks(settings: &Settings, database: &Database) -> Result<Disks, Failure> {
    let node = NodeName::parse(&settings.worker.node).map_err(Failure::new)?;
    let folders = place_rules(settings)?.disks;
    let in_use = maintenance::disks_in_use(database, &node, folders.keys()).await?;
    let disks = disks(settings, &in_use)?;
    for name in &in_use {
        if let Err(error) = disks.get(name)?.check().await {
            tracing::error!(disk = %name, error = chain(&error), "a disk that holds archives is not there; what needs it fails until it is");
        }
    }
    Ok(disks)
}

/// Opens every disk of the settings; of these, a folder that is not there is not made.
///
/// # Errors
/// When a local one can't be used; the text names it. Those in buckets are not asked, so that a
/// server that is down keeps nobody from starting.
pub fn disks(settings: &Settings, in_use: &BTreeSet<DiskName>) -> Result<Disks, Failure> {
    let mut disks = BTreeMap::new();
    for (name, disk) in &settings.storage.disks {
        let name = DiskName::parse(name).map_err(Failure::new)?;
        let opened = match &disk.driver {
            DiskDriver::Local { root } if in_use.contains(&name) => {
                Disk::local_in_use(name.clone(), root)
            }
            DiskDriver::Local { root } => Disk::local(name.clone(), root),
            DiskDriver::S3(options) => Ok(Disk::s3(name.clone(), S3Options::clone(options))),
            DiskDriver::Gcs(options) => Disk::gcs(name.clone(), GcsOptions::clone(options)),
        };
        let opened = opened.map_err(|error| {
            Failure::of(
                format!("disk `{name}` can't be used (storage.disks.{name})"),
                &error,
            )
        })?;
        let opened = match &disk.encryption {
            Some(keys) => opened.with_encryption(keys.clone()),
            None => opened,
        };
        disks.insert(name, opened);
    }
    let default = DiskName::parse(&settings.storage.default).map_err(Failure::new)?;
    Ok(Disks::new(disks, default)?)
}

/// Says where servers' directories may lie.
///
/// # Errors
/// When a disk's name is none.
pub fn place_rules(settings: &Settings) -> Result<DirectoryRules, Failure> {
    let mut disks = BTreeMap::new();
    for (name, disk) in &settings.storage.disks {
        if let DiskDriver::Local { root } = &disk.driver {
            disks.insert(DiskName::parse(name).map_err(Failure::new)?, root.clone());
        }
    }
    Ok(DirectoryRules {
        roots: settings.worker.roots.clone(),
        disks,
    })
}

/// The disks that any node reaches.
///
/// # Errors
/// When a disk's name is none.
pub(crate) fn shared_disks(settings: &Settings) -> Result<Vec<DiskName>, Failure> {
    let shared = settings.storage.disks.iter();
    let shared = shared.filter(|(_, disk)| match disk.driver {
        DiskDriver::Local { .. } => false,
        DiskDriver::S3(_) | DiskDriver::Gcs(_) => true,
    });
    shared
        .map(|(name, _)| DiskName::parse(name).map_err(Failure::new))
        .collect()
}

/// The disks whose archives are verified from time to time, each with how long after the last time.
pub(super) fn verify_every(settings: &Settings) -> Result<BTreeMap<DiskName, Duration>, Failure> {
    let Some(every) = settings.verify.every else {
        return Ok(BTreeMap::new());
    };
    let names = settings.storage.disks.keys();
    let names = names.filter(|name| !settings.verify.except_disks.contains(name));
    names
        .map(|name| Ok((DiskName::parse(name).map_err(Failure::new)?, every)))
        .collect()
}
