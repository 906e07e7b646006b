//! A folder on this machine as a disk: `<root>/<server>/<backup>.tar.gz`.
//!
//! An object is written to a temporary file beside its place (`.<name>.partial`),
//! synced, renamed to its name (which fails when the name is taken) and its
//! folder synced. File operations run on
//! tokio's blocking threads; the caller hands over chunks of about a megabyte,
//! so that the hand-over costs nothing.

mod root;
mod upload;

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err as fs;
use holdfast_domain::{BackupId, DiskName, ServerId};

use crate::disk::PartialUpload;
use crate::error::Error;
use crate::key::StorageKey;
use crate::listing::{LocalListing, Object};
use crate::reader::LocalReader;

pub(crate) use upload::LocalUpload;

/// A disk in a folder.
#[derive(Debug)]
pub(crate) struct LocalDisk {
    name: DiskName,
    root: PathBuf,
}

impl LocalDisk {
    fn failed(&self, object: impl ToString, source: io::Error) -> Error {
        Error::from_io(self.name.as_str(), object, source)
    }

    fn path(&self, key: StorageKey) -> PathBuf {
        self.root.join(key.path())
    }

    fn partial_path(&self, key: StorageKey) -> PathBuf {
        let path = self.path(key);
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        path.with_file_name(format!(".{name}.partial"))
    }

    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        object: impl ToString,
        work: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let disk = Arc::clone(self);
        let joined = tokio::task::spawn_blocking(move || work(&disk)).await;
        joined
            .map_err(io::Error::other)
            .flatten()
            .map_err(|source| self.failed(object, source))
    }

    pub(crate) async fn begin(self: &Arc<Self>, key: StorageKey) -> Result<LocalUpload, Error> {
        let partial = self.partial_path(key);
        let file = {
            let partial = partial.clone();
            self.blocking(key, move |disk| {
                // The root itself is never made here: a disk that was unmounted must not turn
                // into a folder on the system's own disk.
                disk.is_there()?;
                let folder = partial.parent().unwrap_or(&disk.root);
                if let Err(error) = fs::create_dir(folder)
                    && error.kind() != io::ErrorKind::AlreadyExists
                {
                    return Err(error);
                }
                fs::File::create(&partial).map(fs::File::into_file)
            })
            .await?
        };
        Ok(LocalUpload {
            disk: Arc::clone(self),
            key,
            file: Some(file),
            partial,
        })
    }

    pub(crate) async fn size(self: &Arc<Self>, key: StorageKey) -> Result<u64, Error> {
        self.blocking(key, move |disk| {
            Ok(disk.or_gone(fs::metadata(disk.path(key)))?.len())
        })
        .await
    }

    pub(crate) async fn open(self: &Arc<Self>, key: StorageKey) -> Result<File, Error> {
        self.blocking(key, move |disk| {
            disk.or_gone(fs::File::open(disk.path(key)))
                .map(fs::File::into_file)
        })
        .await
    }

    pub(crate) async fn read(
        self: &Arc<Self>,
        key: StorageKey,
        range: Range<u64>,
    ) -> Result<LocalReader, Error> {
        let opened = self.blocking(key, move |disk| {
            let mut file = disk.or_gone(fs::File::open(disk.path(key)))?.into_file();
            let object_bytes = file.metadata()?.len();
            file.seek(SeekFrom::Start(range.start.min(object_bytes)))?;
            let left_bytes = range.end.min(object_bytes).saturating_sub(range.start);
            Ok((file, object_bytes, left_bytes))
        });
        let (file, object_bytes, left_bytes) = opened.await?;
        Ok(LocalReader {
            file: Some(file),
            object_bytes,
            left_bytes,
            disk: self.name.to_string(),
            object: key.to_string(),
        })
    }

    pub(crate) async fn delete(self: &Arc<Self>, key: StorageKey) -> Result<(), Error> {
        self.blocking(key, move |disk| disk.remove(&disk.path(key)))
            .await
    }

    pub(crate) async fn delete_backup(
        self: &Arc<Self>,
        server: ServerId,
        backup: BackupId,
    ) -> Result<(), Error> {
        let object = format!("backup {backup}");
        self.blocking(object, move |disk| {
            for (key, path) in disk.objects_of(server)? {
                if key.archive().backup == backup {
                    disk.remove(&path)?;
                }
            }
            // The server's folder goes with its last backup.
            match fs::remove_dir(disk.root.join(server.to_string())) {
                Ok(()) => Ok(()),
                Err(error) => match error.kind() {
                    io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty => Ok(()),
                    _ => Err(error),
                },
            }
        })
        .await
    }

    /// Lists the servers that have a folder here.
    pub(crate) async fn servers(self: &Arc<Self>) -> Result<Vec<ServerId>, Error> {
        self.blocking(self.root.display(), |disk| disk.server_folders())
            .await
    }

    /// Lists a server's whole objects.
    pub(crate) async fn objects(self: &Arc<Self>, server: ServerId) -> Result<Vec<Object>, Error> {
        self.blocking(self.root.display(), move |disk| {
            let mut found = Vec::new();
            for (key, path) in disk.objects_of(server)? {
                if path == disk.partial_path(key) {
                    continue;
                }
                match fs::metadata(&path) {
                    Ok(metadata) => found.push(Object {
                        key,
                        size_bytes: metadata.len(),
                        written_at: metadata.modified().ok(),
                    }),
                    // Deleted since the folder was read.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
            found.sort_by_cached_key(|object| object.key.path());
            Ok(found)
        })
        .await
    }

    pub(crate) fn list(self: &Arc<Self>, server: Option<ServerId>) -> LocalListing {
        LocalListing {
            disk: Arc::clone(self),
            servers: server.map(|server| [server].into()),
        }
    }

    pub(crate) async fn partials(
        self: &Arc<Self>,
        server: ServerId,
    ) -> Result<Vec<PartialUpload>, Error> {
        self.blocking(self.root.display(), move |disk| disk.partials_of(server))
            .await
    }

    pub(crate) async fn remove_partial(
        self: &Arc<Self>,
        partial: &PartialUpload,
    ) -> Result<(), Error> {
        let path = self.partial_path(partial.key);
        self.blocking(&partial.handle, move |disk| disk.remove(&path))
            .await
    }

    pub(crate) async fn free_bytes(self: &Arc<Self>) -> Result<u64, Error> {
        self.blocking(self.root.display(), |disk| {
            disk.is_there()?;
            free_bytes(&disk.root)
        })
        .await
    }

    /// Tells an object that is not there from a disk that is not there.
    fn or_gone<T>(&self, found: io::Result<T>) -> io::Result<T> {
        found.or_else(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                self.is_there()?;
            }
            Err(error)
        })
    }

    fn server_folders(&self) -> io::Result<Vec<ServerId>> {
        self.is_there()?;
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let name = entry?.file_name();
            found.extend(name.to_str().and_then(ServerId::parse));
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Lists a server's whole objects and partial ones; a disk that has lost its root is an error.
    fn objects_of(&self, server: ServerId) -> io::Result<Vec<(StorageKey, PathBuf)>> {
        self.is_there()?;
        let folder = self.root.join(server.to_string());
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            let file_name = entry.file_name();
            let Some(name) = file_name.to_str() else {
                continue;
            };
            let whole = name
                .strip_prefix('.')
                .and_then(|n| n.strip_suffix(".partial"))
                .unwrap_or(name);
            if let Some(key) = StorageKey::parse(&format!("{server}/{whole}")) {
                found.push((key, entry.path()));
            }
        }
        Ok(found)
    }

    fn partials_of(&self, server: ServerId) -> io::Result<Vec<PartialUpload>> {
        let mut found = Vec::new();
        for (key, path) in self.objects_of(server)? {
            if path == self.partial_path(key) {
                let metadata = fs::symlink_metadata(&path);
                found.push(PartialUpload {
                    key,
                    handle: path.display().to_string(),
                    written_at: metadata.and_then(|found| found.modified()).ok(),
                });
            }
        }
        Ok(found)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Gone is fine; a whole disk that is gone is not.
                self.is_there()
            }
            other => other,
        }
    }
}

/// Returns how many bytes whoever is not root can still write to the file system of `folder`.
///
/// # Errors
/// When the file system does not say.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(folder)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}
