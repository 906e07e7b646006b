//! Uploads to a local disk: a temporary file that is renamed at the end.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use fs_err as fs;

use super::LocalDisk;
use crate::error::Error;
use crate::key::StorageKey;

/// An upload to a [`LocalDisk`].
#[derive(Debug)]
pub(crate) struct LocalUpload {
    pub(super) disk: Arc<LocalDisk>,
    pub(super) key: StorageKey,
    /// `None` during a write on another thread, and after an error.
    pub(super) file: Option<File>,
    pub(super) partial: PathBuf,
}

impl LocalUpload {
    fn failed_before(&self) -> Error {
        let source = io::Error::other("an earlier write failed");
        self.disk.io_error(self.key, source)
    }

    pub(crate) async fn write(&mut self, chunk: Bytes) -> Result<(), Error> {
        let Some(mut file) = self.file.take() else {
            return Err(self.failed_before());
        };
        let file = self
            .disk
            .run_blocking(self.key, move |_| {
                file.write_all(&chunk)?;
                Ok(file)
            })
            .await?;
        self.file = Some(file);
        Ok(())
    }

    pub(crate) async fn finish(mut self) -> Result<(), Error> {
        let Some(file) = self.file.take() else {
            return Err(self.failed_before());
        };
        let (key, partial) = (self.key, self.partial.clone());
        self.disk
            .run_blocking(key, move |disk| {
                file.sync_all()?;
                drop(file);
                let path = disk.path(key);
                rename_new(&partial, &path)?;
                let folder = path.parent().unwrap_or(&disk.root);
                fs::File::open(folder)?.sync_all()?;
                fs::File::open(&disk.root)?.sync_all()
            })
            .await
    }

    pub(crate) async fn abort(mut self) -> Result<(), Error> {
        self.file = None;
        let partial = self.partial.clone();
        self.disk
            .run_blocking(self.key, move |disk| disk.remove(&partial))
            .await
    }
}

impl Drop for LocalUpload {
    /// Removes the partial file of an upload that was neither finished nor aborted. In the other
    /// cases it no longer exists.
    fn drop(&mut self) {
        match fs::remove_file(&self.partial) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(%error, "failed to remove a partial upload; a sweep will")
            }
        }
    }
}

/// Renames a file. Fails if the new name exists.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // NFS and some FUSE file systems do not support this. A hard link also fails if the name
        // exists.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        other => Ok(other?),
    }
}
