//! The root folder of a local disk: which disk it belongs to, and whether it is mounted and
//! writable.
//!
//! A marker file with the disk's name identifies it. A folder without the file may be a mount point
//! without its disk. It must never be used as a disk that is known to contain archives.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use fs_err as fs;

use holdfast_domain::{DiskName, ServerId};

use super::LocalDisk;
use crate::error::Error;

/// The file with the name of the disk that the folder belongs to. Two disks can't share a folder.
const MARKER: &str = ".holdfast-disk";
/// The prefix of files that test whether the folder is writable.
const PROBE_PREFIX: &str = ".holdfast-probe-";

impl LocalDisk {
    /// Opens the disk in `root`, and creates the folder if it is missing.
    ///
    /// # Errors
    /// If `root` is not a directory, is not writable, or belongs to a disk of another name.
    pub(crate) fn open_or_create(name: DiskName, root: &Path) -> Result<Arc<Self>, Error> {
        let disk = Self {
            name,
            root: root.to_owned(),
        };
        disk.claim_root()
            .map_err(|source| disk.io_error(root.display(), source))?;
        Ok(Arc::new(disk))
    }

    /// Opens a disk that is known to contain archives. It never creates the folder. It restores the
    /// marker file if the folder contains servers.
    pub(crate) fn open_existing(name: DiskName, root: &Path) -> Result<Arc<Self>, Error> {
        let disk = Self {
            name,
            root: root.to_owned(),
        };
        let is_mounted = disk.root.join(MARKER).exists() || disk.has_server_folders();
        if is_mounted {
            disk.claim_root()
                .map_err(|source| disk.io_error(root.display(), source))?;
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
        fs::create_dir_all(&self.root)?;
        let marker = self.root.join(MARKER);
        match fs::read_to_string(&marker) {
            Ok(owner) if owner.trim() == self.name.as_str() => {}
            Ok(owner) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!(
                        "`{}` belongs to disk `{}`",
                        self.root.display(),
                        owner.trim()
                    ),
                ));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::write(&marker, format!("{}\n", self.name))?;
            }
            Err(error) => return Err(error),
        }
        self.probe()
    }

    /// Writes and removes a file. Permission bits are no proof of a writable folder for root.
    fn probe(&self) -> io::Result<()> {
        let probe = self
            .root
            .join(format!("{PROBE_PREFIX}{}", std::process::id()));
        fs::write(&probe, b"holdfast")?;
        fs::remove_file(&probe)
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
            Err(error) => Err(io::Error::other(format!(
                "the folder of the disk cannot be read: {error}"
            ))),
        }
    }

    pub(crate) async fn check(self: &Arc<Self>) -> Result<(), Error> {
        self.run_blocking(self.root.display(), |disk| {
            disk.check_mounted()?;
            disk.probe()
        })
        .await
    }

    pub(crate) async fn remove_probes(self: &Arc<Self>, before: SystemTime) -> Result<u64, Error> {
        self.run_blocking(self.root.display(), move |disk| {
            disk.check_mounted()?;
            let mut removed = 0;
            for entry in fs::read_dir(&disk.root)? {
                let entry = entry?;
                let name = entry.file_name();
                let is_probe = name
                    .to_str()
                    .is_some_and(|name| name.starts_with(PROBE_PREFIX));
                // A file that was removed meanwhile has no metadata.
                let written_at = entry.metadata().and_then(|metadata| metadata.modified());
                if is_probe && written_at.is_ok_and(|at| at < before) {
                    disk.remove(&entry.path())?;
                    removed += 1;
                }
            }
            Ok(removed)
        })
        .await
    }
}
