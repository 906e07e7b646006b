//! Uploads to a local disk: a temporary file that is renamed at the end.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use fs_err as fs;

use super::LocalDisk;
use super::file_system::{UNCACHE_BYTES, rename_new, sync_and_close, sync_folder, uncache};
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
    pub(super) written_bytes: u64,
}

impl LocalUpload {
    fn failed_before(&self) -> Error {
        let source = io::Error::other("an earlier write failed");
        self.disk.io_error(self.key, source)
    }

    pub(crate) async fn write(&mut self, chunk: Bytes) -> Result<(), Error> {
        let length = chunk.len() as u64;
        let write = move |file: &File, at| file.write_all_at(&chunk, at);
        self.write_file(length, write).await
    }

    /// Lets `work` write `length` bytes to the file, at the offset that it gets.
    pub(crate) async fn write_file<T: Send + 'static>(
        &mut self,
        length: u64,
        work: impl FnOnce(&File, u64) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let Some(file) = self.file.take() else {
            return Err(self.failed_before());
        };
        let before = self.written_bytes;
        let after = before + length;
        let (file, done) = self
            .disk
            .run_blocking(self.key, move |_| {
                let done = work(&file, before)?;
                if before / UNCACHE_BYTES != after / UNCACHE_BYTES {
                    // The bytes of the last call may be on the disk by now.
                    let begin = before.min(after.saturating_sub(4 * UNCACHE_BYTES));
                    uncache(&file, begin..after);
                }
                Ok((file, done))
            })
            .await?;
        self.file = Some(file);
        self.written_bytes = after;
        Ok(done)
    }

    pub(crate) async fn finish(mut self) -> Result<(), Error> {
        let Some(file) = self.file.take() else {
            return Err(self.failed_before());
        };
        let (key, partial, bytes) = (self.key, self.partial.clone(), self.written_bytes);
        self.disk
            .run_blocking(key, move |disk| {
                let path = disk.path(key);
                publish(file, bytes, &partial, &path)?;
                let folder = path.parent().unwrap_or(&disk.root);
                let synced = sync_folder(folder).and_then(|()| sync_folder(&disk.root));
                if synced.is_err()
                    && let Err(error) = fs::remove_file(&path)
                {
                    tracing::warn!(%error, "an object that may not be durable stays visible");
                }
                synced
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
        // Network and FUSE file systems keep a file that is removed while it is open.
        self.file = None;
        match fs::remove_file(&self.partial) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(%error, "failed to remove a partial upload; a sweep will")
            }
        }
    }
}

/// Makes the bytes of a temporary file durable, and gives the file its name.
pub(super) fn publish(file: File, bytes: u64, partial: &Path, path: &Path) -> io::Result<()> {
    sync_and_close(file)?;
    // Some file systems on a network report a failed upload only by the file's size.
    let stored = fs::symlink_metadata(partial)?.len();
    if stored != bytes {
        return Err(io::Error::other(format!(
            "the file system stored {stored} bytes instead of {bytes}"
        )));
    }
    rename_new(partial, path)
}
