//! An upload to a folder: a temporary file that takes its name at the end.

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
    /// `None` while a write is under way on another thread, and after the end.
    pub(super) file: Option<File>,
    pub(super) partial: PathBuf,
}

impl LocalUpload {
    pub(crate) async fn write(&mut self, chunk: Bytes) -> Result<(), Error> {
        let Some(mut file) = self.file.take() else {
            return Err(self
                .disk
                .failed(self.key, io::Error::other("the upload has failed before")));
        };
        let file = self
            .disk
            .blocking(self.key, move |_| {
                file.write_all(&chunk)?;
                Ok(file)
            })
            .await?;
        self.file = Some(file);
        Ok(())
    }

    pub(crate) async fn finish(mut self) -> Result<(), Error> {
        let Some(file) = self.file.take() else {
            return Err(self
                .disk
                .failed(self.key, io::Error::other("the upload has failed before")));
        };
        let (key, partial) = (self.key, self.partial.clone());
        self.disk
            .blocking(key, move |disk| {
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
            .blocking(self.key, move |disk| disk.remove(&partial))
            .await
    }
}

impl Drop for LocalUpload {
    /// Removes the partial file of an upload that was neither finished nor aborted. After either
    /// there is nothing left to remove.
    fn drop(&mut self) {
        match fs::remove_file(&self.partial) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(%error, "could not remove a partial upload; the sweep will")
            }
        }
    }
}

/// Renames, but refuses a name that is taken.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system can (NFS, some FUSE ones); a link refuses as well.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        other => Ok(other?),
    }
}
