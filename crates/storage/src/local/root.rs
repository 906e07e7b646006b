//! The folder that is a disk: whose it is, whether it is there, whether it can be written to.
//!
//! A mark in it says that it is a disk. A folder without one is an empty place, perhaps one where nothing is mounted:
//! it becomes a disk only while none is known to be there.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use fs_err as fs;
use holdfast_domain::{DiskName, ServerId};

use super::LocalDisk;
use crate::error::Error;

/// Names the disk that a root belongs to, so that two disks can't share one by mistake.
const MARKER: &str = ".holdfast-disk";
/// How the names of files begin that try whether the folder can be written.
const PROBE: &str = ".holdfast-probe-";

impl LocalDisk {
    /// Opens the disk in `root`, which is made when it is not there.
    ///
    /// # Errors
    /// When `root` is no directory, can't be written to, or belongs to a disk of another name.
    pub(crate) fn open_root(name: DiskName, root: &Path) -> Result<Arc<Self>, Error> {
        let disk = Self {
            name,
            root: root.to_owned(),
        };
        disk.claim_root()
            .map_err(|source| disk.failed(root.display(), source))?;
        Ok(Arc::new(disk))
    }

    /// Opens a disk that is known to hold archives: it is not made, unless it lost nothing but its mark.
    pub(crate) fn open_in_use(name: DiskName, root: &Path) -> Result<Arc<Self>, Error> {
        let disk = Self {
            name,
            root: root.to_owned(),
        };
        let is_made = disk.root.join(MARKER).exists() || disk.has_server_folders();
        if is_made {
            disk.claim_root()
                .map_err(|source| disk.failed(root.display(), source))?;
        }
        Ok(Arc::new(disk))
    }

    /// Says whether something of ours lies here.
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

    /// Writes and removes a file: the only proof of a writable folder that also holds for root.
    fn probe(&self) -> io::Result<()> {
        let probe = self.root.join(format!("{PROBE}{}", std::process::id()));
        fs::write(&probe, b"holdfast")?;
        fs::remove_file(&probe)
    }

    /// Says whether the folder is the disk that it was, and no place where nothing is mounted.
    pub(super) fn is_there(&self) -> io::Result<()> {
        match fs::metadata(self.root.join(MARKER)) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(io::Error::other(format!(
                    "it is no disk: `{MARKER}` is missing there; mount it, or, to begin anew, write `{}` into that file",
                    self.name
                )))
            }
            Err(error) => Err(io::Error::other(format!("the disk is not there: {error}"))),
        }
    }

    pub(crate) async fn check(self: &Arc<Self>) -> Result<(), Error> {
        self.blocking(self.root.display(), |disk| {
            disk.is_there()?;
            disk.probe()
        })
        .await
    }

    pub(crate) async fn remove_probes(self: &Arc<Self>, before: SystemTime) -> Result<u64, Error> {
        self.blocking(self.root.display(), move |disk| {
            disk.is_there()?;
            let mut removed = 0;
            for entry in fs::read_dir(&disk.root)? {
                let entry = entry?;
                let name = entry.file_name();
                let is_probe = name.to_str().is_some_and(|name| name.starts_with(PROBE));
                // One that has gone meanwhile is not old.
                let written_at = entry.metadata().and_then(|found| found.modified());
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
