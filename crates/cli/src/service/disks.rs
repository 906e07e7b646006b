//! Opens the disks of the settings.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_db::{Database, maintenance};
use holdfast_domain::DiskName;
use holdfast_domain::error_chain::chain;
use holdfast_storage::{Disk, Disks, GcsOptions, S3Options};

use crate::error::CommandError;
use crate::settings::{DiskDriver, DiskSettings, Settings};

/// Opens every disk of the settings, and creates the folders of local disks that are missing.
///
/// A missing folder is not created when the database has archives in it: the folder is then not
/// mounted. This is logged, and jobs that need the disk fail until it is back.
///
/// # Errors
/// When a local disk cannot be used, or the database cannot be read.
pub async fn open_disks(settings: &Settings, database: &Database) -> Result<Disks, CommandError> {
    let (node, folders) = (&settings.api.node, &settings.api.directory_rules.disks);
    let in_use = maintenance::disks_in_use(database, node, folders.keys()).await?;
    let disks = disks(settings, &in_use)?;
    for name in &in_use {
        if let Err(error) = disks.get(name)?.check().await {
            tracing::error!(
                disk = %name,
                error = chain(&error),
                "a disk with archives is not available; jobs that need it fail until it is back"
            );
        }
    }
    Ok(disks)
}

/// Opens every disk of the settings. The folders of the local disks `in_use` are not created.
///
/// Disks in buckets are not contacted, so a server that is down does not prevent the start.
///
/// # Errors
/// When a local disk cannot be used; the text names it.
pub fn disks(settings: &Settings, in_use: &BTreeSet<DiskName>) -> Result<Disks, CommandError> {
    let mut disks = BTreeMap::new();
    for (name, disk) in &settings.storage.disks {
        let opened = open(name, disk, in_use.contains(name)).map_err(|error| {
            let context = format!("disk `{name}` can't be used (storage.disks.{name})");
            CommandError::with_cause(context, &error)
        })?;
        disks.insert(name.clone(), opened);
    }
    Ok(Disks::new(disks, settings.storage.default.clone())?)
}

fn open(
    name: &DiskName,
    disk: &DiskSettings,
    is_in_use: bool,
) -> Result<Disk, holdfast_storage::Error> {
    let name = name.clone();
    let opened = match &disk.driver {
        DiskDriver::Local(options) if is_in_use => Disk::local_existing(name, options.clone())?,
        DiskDriver::Local(options) => Disk::local(name, options.clone())?,
        DiskDriver::S3(options) => Disk::s3(name, S3Options::clone(options)),
        DiskDriver::Gcs(options) => Disk::gcs(name, GcsOptions::clone(options))?,
    };
    Ok(match &disk.encryption {
        Some(keys) => opened.with_encryption(keys.clone()),
        None => opened,
    })
}

/// Warns about local disks whose files a proxy has to send, but may not read.
pub(super) fn warn_of_unreadable_disks(settings: &Settings, disks: &Disks) {
    if settings.api.downloads_accel_path.is_none() {
        return;
    }
    for (disk, files) in disks.iter() {
        let is_sent_by_proxy = files.is_node_local() && !files.is_encrypted();
        if is_sent_by_proxy && files.readers().is_none() {
            tracing::warn!(
                %disk,
                "downloads.accel_path is set, but only the user of this service may read the disk: \
                 set storage.disks.{disk}.group to a group of the proxy's user"
            );
        }
    }
}
