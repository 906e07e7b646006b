//! The root folder of a local disk: which disk it belongs to, and whether it is mounted.
//!
//! A marker file with the disk's name identifies it. A folder without the file may be a mount point
//! without its disk. It must never be used as a disk that is known to contain archives.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use fs_err as fs;
use rustix::fs::OFlags;

use holdfast_domain::{DiskName, ServerId};

use super::file_system::{rename_new, sync_folder};
use super::permissions::{EntryKind, create_folder, open_folder};
use super::{LocalDisk, LocalOptions};
use crate::error::Error;

/// The file with the name of the disk that the folder belongs to. Two disks can't share a folder.
pub(super) const MARKER: &str = ".holdfast-disk";

impl LocalDisk {
    /// Opens the disk in `root`, and creates the folder if it is missing.
    ///
    /// # Errors
    /// If `root` is not a directory, is not writable, or belongs to a disk of another name.
    pub(crate) fn open_or_create(
        name: DiskName,
        options: LocalOptions,
    ) -> Result<Arc<Self>, Error> {
        let disk = Self::new(name, options);
        disk.claim_root()
            .map_err(|source| disk.io_error(disk.root.display(), source))?;
        Ok(Arc::new(disk))
    }

    /// Opens a disk that is known to contain archives. It never creates the folder. It restores the
    /// marker file if the folder contains servers.
    pub(crate) fn open_existing(name: DiskName, options: LocalOptions) -> Result<Arc<Self>, Error> {
        let disk = Self::new(name, options);
        let is_mounted = disk.root.join(MARKER).exists() || disk.has_server_folders();
        if is_mounted {
            disk.claim_root()
                .map_err(|source| disk.io_error(disk.root.display(), source))?;
        }
        Ok(Arc::new(disk))
    }

    /// Returns whether the folder contains folders of servers.
    fn has_server_folders(&self) -> bool {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        let mut names = entries.map(|entry| entry.file_name());
        names.any(|name| name.to_str().and_then(ServerId::parse).is_some())
    }

    fn claim_root(&self) -> io::Result<()> {
        match create_folder(&self.root, 0o700)? {
            true => {
                let root = open_folder(&self.root, OFlags::NOFOLLOW)?;
                self.set_permissions(EntryKind::Root, &root, &self.root);
            }
            false => self.close_root()?,
        }
        let marker = self.root.join(MARKER);
        if self.marker_owner()?.is_none() {
            self.write_marker(&marker)?;
        }
        // Another disk may have claimed the folder meanwhile.
        match self.marker_owner()? {
            Some(owner) if owner == self.name.as_str() => self.probe(),
            owner => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "`{}` belongs to disk `{}`",
                    self.root.display(),
                    owner.unwrap_or_default()
                ),
            )),
        }
    }

    /// Returns the disk that the folder belongs to. A crash or a full disk may have left an empty
    /// marker file, which belongs to nobody.
    fn marker_owner(&self) -> io::Result<Option<String>> {
        match fs::read_to_string(self.root.join(MARKER)) {
            Ok(owner) => Ok(Some(owner.trim().to_owned()).filter(|owner| !owner.is_empty())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write_marker(&self, marker: &Path) -> io::Result<()> {
        let text = format!("{}\n", self.name);
        let new = self.new_probe_path();
        let written = self.write_new(&new, text.as_bytes()).and_then(|()| {
            match fs::metadata(marker) {
                // Nothing is lost by replacing an empty file.
                Ok(metadata) if metadata.len() == 0 => fs::rename(&new, marker),
                _ => rename_new(&new, marker),
            }
        });
        match written {
            Ok(()) => sync_folder(&self.root),
            Err(error) => {
                self.remove_if_exists(&new)?;
                match error.kind() {
                    io::ErrorKind::AlreadyExists => Ok(()),
                    _ => Err(error),
                }
            }
        }
    }

    /// Checks that the folder contains the marker file.
    pub(super) fn check_mounted(&self) -> io::Result<()> {
        match fs::metadata(self.root.join(MARKER)) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(io::Error::other(format!(
                    "not a disk of Holdfast: `{MARKER}` is missing there; mount the disk, or, to \
                     start with an empty one, write `{}` into that file",
                    self.name
                )))
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
            Err(error) => Err(io::Error::other(format!(
                "the folder of the disk cannot be read: {error}{}",
                match error.kind() {
                    // The server of a network file system has forgotten the mount, or the process
                    // behind a FUSE file system has ended.
                    io::ErrorKind::StaleNetworkFileHandle | io::ErrorKind::NotConnected =>
                        "; unmount its file system and mount it again",
                    _ => "",
                }
            ))),
        }
    }
    /// Returns what to do if the folder belongs to another user than that of this process.
    pub(super) fn advice_about_owner(&self) -> Option<String> {
        let owner = fs::metadata(&self.root).ok()?.uid();
        let own = rustix::process::geteuid().as_raw();
        (owner != own).then(|| {
            format!(
                "`{}` belongs to user {owner}, and this process runs as user {own}: run all \
                 processes as one user, or set `group` of the disk to a group that both are in",
                self.root.display()
            )
        })
    }
}
