//! Tests whether the folder of a local disk can store archives.
//!
//! The test does with a small file what an upload does: it writes, syncs and renames it, syncs the
//! folder, and reads the file back. Permission bits are no proof for root, and some file systems
//! can write a file but not rename it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use fs_err as fs;

use super::LocalDisk;
use super::file_system::{context, sync_and_close, sync_folder};
use super::upload::publish;
use crate::error::Error;

/// The prefix of the names of the test's files.
const PROBE_PREFIX: &str = ".holdfast-probe-";
/// The content of the test's file.
const CONTENT: &[u8] = b"holdfast";

impl LocalDisk {
    /// Checks that the disk is mounted and can store archives. A success is remembered for a few
    /// seconds, because every check waits for the hardware.
    pub(crate) async fn check(self: &Arc<Self>) -> Result<(), Error> {
        self.run_query(|disk| {
            disk.check_mounted()?;
            if disk.health.is_fresh() {
                return Ok(());
            }
            disk.probe()?;
            disk.health.record_success();
            Ok(())
        })
        .await
    }

    /// Stores and removes a small file.
    pub(super) fn probe(&self) -> io::Result<()> {
        let published = self.new_probe_path();
        let partial = published.with_added_extension("partial");
        let probed = self.store_probe(&partial, &published);
        for path in [&partial, &published] {
            let removed = self.remove_if_exists(path);
            // The first error says more.
            if probed.is_ok() {
                removed?;
            }
        }
        probed
    }

    fn store_probe(&self, partial: &Path, published: &Path) -> io::Result<()> {
        let mut file = self.create_file(partial)?;
        file.write_all(CONTENT)?;
        let failed = |error| context(error, "cannot store a file in", &self.root);
        publish(file, CONTENT.len() as u64, partial, published).map_err(failed)?;
        sync_folder(&self.root)?;
        if fs::read(published)? != CONTENT {
            return Err(io::Error::other(format!(
                "`{}` has another content than was written",
                published.display()
            )));
        }
        Ok(())
    }

    /// Returns the path of a new file. Processes in containers may have the same process ID.
    pub(super) fn new_probe_path(&self) -> PathBuf {
        let random: u64 = rand::random();
        self.root.join(format!("{PROBE_PREFIX}{random:016x}"))
    }

    /// Writes a new file, and makes it durable.
    pub(super) fn write_new(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut file = self.create_file(path)?;
        file.write_all(content)?;
        sync_and_close(file)
    }

    pub(super) fn remove_if_exists(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    pub(crate) async fn remove_probes(self: &Arc<Self>, before: SystemTime) -> Result<u64, Error> {
        self.run_blocking(self.root.display(), move |disk| {
            disk.check_mounted()?;
            let mut removed = 0;
            for entry in fs::read_dir(&disk.root)? {
                let entry = entry?;
                let name = entry.file_name();
                let is_probe = name.to_str().is_some_and(is_probe_name);
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

/// Returns whether a file in the root is one of a test.
pub(super) fn is_probe_name(name: &str) -> bool {
    name.starts_with(PROBE_PREFIX)
}
