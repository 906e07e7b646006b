//! A disk in a local folder: `<root>/<server>/<backup>.tar.gz`.
//!
//! An upload writes a temporary file (`.<name>.partial`) in the same folder, syncs it, renames it
//! and syncs the folder. The rename fails if the name exists. File operations run on tokio's
//! blocking threads. Callers pass chunks of about a megabyte, so that the switch between threads
//! costs little. Differences between file systems are in `file_system`.

mod file_system;
mod listing;
mod options;
mod permissions;
mod probe;
mod reader;
mod repair;
mod root;
mod upload;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use fs_err as fs;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use holdfast_domain::{BackupId, DiskName, ServerId};

use crate::error::{Error, Shortage};
use crate::health_cache::HealthCache;
use crate::key::StorageKey;
use crate::object::{Object, PartialUpload};

pub use file_system::{free_bytes, rename_new};
pub(crate) use listing::LocalListing;
pub use options::LocalOptions;
pub use permissions::create_folder;
pub(crate) use reader::LocalReader;
pub(crate) use upload::LocalUpload;

/// A disk in a local folder.
#[derive(Debug)]
pub(crate) struct LocalDisk {
    name: DiskName,
    root: PathBuf,
    /// The group of the settings.
    group: Option<u32>,
    /// Whether a problem with permissions was logged.
    has_warned: AtomicBool,
    health: HealthCache,
    /// Held by the thread that queries the file system. A disk that hangs then blocks one thread,
    /// not one for each query.
    query: Arc<tokio::sync::Mutex<()>>,
}

impl LocalDisk {
    fn new(name: DiskName, options: LocalOptions) -> Self {
        Self {
            name,
            root: options.root,
            group: options.group,
            has_warned: AtomicBool::new(false),
            health: HealthCache::default(),
            query: Arc::default(),
        }
    }

    /// Maps an error. It may query the file system, so it must run on a blocking thread.
    fn io_error(&self, object: impl ToString, source: io::Error) -> Error {
        if source.kind() == io::ErrorKind::InvalidData {
            return Error::Damaged {
                disk: self.name.to_string(),
                object: object.to_string(),
                source: source.into(),
            };
        }
        let found = Shortage::of(&source, &self.root);
        let foreign = match source.kind() {
            io::ErrorKind::PermissionDenied => self.advice_about_owner(),
            _ => None,
        };
        let mut error = Error::from_io(self.name.as_str(), object, source);
        match &mut error {
            Error::Full { shortage, .. } => *shortage = found.unwrap_or(*shortage),
            Error::Denied { advice, .. } => *advice = foreign.unwrap_or(std::mem::take(advice)),
            _ => {}
        }
        error
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

    /// Runs `work` on a blocking thread. `object` is named in errors.
    async fn run_blocking<T: Send + 'static>(
        self: &Arc<Self>,
        object: impl ToString,
        work: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let (disk, object) = (Arc::clone(self), object.to_string());
        let thread = {
            let object = object.clone();
            move || work(&disk).map_err(|source| disk.io_error(object, source))
        };
        match tokio::task::spawn_blocking(thread).await {
            Ok(done) => done,
            Err(error) => Err(Error::from_io(
                self.name.as_str(),
                object,
                io::Error::other(error),
            )),
        }
    }

    /// Runs `work` on a blocking thread, after the earlier calls of this function have ended.
    async fn run_query<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let turn = Arc::clone(&self.query).lock_owned().await;
        self.run_blocking(self.root.display(), move |disk| {
            let done = work(disk);
            drop(turn);
            done
        })
        .await
    }

    pub(crate) async fn begin(self: &Arc<Self>, key: StorageKey) -> Result<LocalUpload, Error> {
        let partial = self.partial_path(key);
        let file = {
            let partial = partial.clone();
            self.run_blocking(key, move |disk| {
                // Never create the root here: it may be a mount point without its disk.
                disk.check_mounted()?;
                let folder = partial.parent().unwrap_or(&disk.root);
                disk.create_server_folder(folder)?;
                // Exclusively, so that only this upload can give the object its name.
                disk.create_file(&partial)
            })
            .await?
        };
        Ok(LocalUpload {
            disk: Arc::clone(self),
            key,
            file: Some(file),
            partial,
            written_bytes: 0,
        })
    }

    pub(crate) async fn size(self: &Arc<Self>, key: StorageKey) -> Result<u64, Error> {
        self.run_blocking(key, move |disk| Ok(disk.open_file(key)?.metadata()?.len()))
            .await
    }

    pub(crate) async fn open(self: &Arc<Self>, key: StorageKey) -> Result<File, Error> {
        self.run_blocking(key, move |disk| disk.open_file(key))
            .await
    }

    /// Opens the file of an object.
    ///
    /// Only regular files are read, and no link is followed: a program that can write to the
    /// folder must not make the service send another file, or wait for a FIFO.
    fn open_file(&self, key: StorageKey) -> io::Result<File> {
        let path = self.path(key);
        let folder = path.parent().unwrap_or(&self.root);
        let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::open(
            folder,
            flags | OFlags::PATH | OFlags::DIRECTORY,
            Mode::empty(),
        )
        .and_then(|folder| {
            let name = path.file_name().unwrap_or_default();
            let flags = flags | OFlags::RDONLY | OFlags::NONBLOCK;
            rustix::fs::openat(folder, name, flags, Mode::empty())
        });
        let file = match opened {
            Ok(file) => File::from(file),
            // A link or a socket.
            Err(Errno::LOOP | Errno::NOTDIR | Errno::NXIO) => return Err(not_a_file(&path)),
            Err(error) => {
                let error = file_system::context(error.into(), "cannot open", &path);
                return self.check_if_missing(Err(error));
            }
        };
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(not_a_file(&path)),
        }
    }

    pub(crate) async fn delete(self: &Arc<Self>, key: StorageKey) -> Result<(), Error> {
        self.run_blocking(key, move |disk| disk.remove(&disk.path(key)))
            .await
    }

    pub(crate) async fn delete_attempts(
        self: &Arc<Self>,
        server: ServerId,
        backup: BackupId,
        last: u32,
    ) -> Result<(), Error> {
        let object = format!("backup {backup}");
        self.run_blocking(object, move |disk| {
            for (key, path) in disk.files_of_server(server)? {
                let of = key.archive();
                if of.backup == backup && of.attempt <= last {
                    disk.remove(&path)?;
                }
            }
            // Remove the server's folder with its last backup.
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

    /// Returns the servers that have a folder, ordered by ID.
    pub(crate) async fn servers(self: &Arc<Self>) -> Result<Vec<ServerId>, Error> {
        self.run_blocking(self.root.display(), |disk| disk.server_folders())
            .await
    }

    /// Returns a server's complete objects, ordered by name.
    pub(crate) async fn objects(self: &Arc<Self>, server: ServerId) -> Result<Vec<Object>, Error> {
        self.run_blocking(self.root.display(), move |disk| {
            let mut objects = Vec::new();
            for (key, path) in disk.files_of_server(server)? {
                if path == disk.partial_path(key) {
                    continue;
                }
                match fs::symlink_metadata(&path) {
                    // Only regular files are read.
                    Ok(metadata) if !metadata.is_file() => {}
                    Ok(metadata) => objects.push(Object {
                        key,
                        size_bytes: metadata.len(),
                        written_at: metadata.modified().ok(),
                    }),
                    // It was deleted after the folder was read.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
            objects.sort_by_cached_key(|object| object.key.path());
            Ok(objects)
        })
        .await
    }

    pub(crate) async fn partials(
        self: &Arc<Self>,
        server: ServerId,
    ) -> Result<Vec<PartialUpload>, Error> {
        self.run_blocking(self.root.display(), move |disk| disk.partials_of(server))
            .await
    }

    pub(crate) async fn remove_partial(
        self: &Arc<Self>,
        partial: &PartialUpload,
    ) -> Result<(), Error> {
        let path = self.partial_path(partial.key);
        self.run_blocking(&partial.handle, move |disk| disk.remove(&path))
            .await
    }

    pub(crate) async fn free_bytes(self: &Arc<Self>) -> Result<Option<u64>, Error> {
        self.run_query(|disk| {
            disk.check_mounted()?;
            free_bytes(&disk.root)
        })
        .await
    }

    /// If a file is missing, checks whether the whole disk is, which is a different error.
    fn check_if_missing<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.or_else(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                self.check_mounted()?;
            }
            Err(error)
        })
    }

    fn server_folders(&self) -> io::Result<Vec<ServerId>> {
        self.check_mounted()?;
        let mut servers = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let name = entry?.file_name();
            servers.extend(name.to_str().and_then(ServerId::parse));
        }
        servers.sort_unstable();
        Ok(servers)
    }

    /// Returns the files of a server's complete objects and partial uploads.
    fn files_of_server(&self, server: ServerId) -> io::Result<Vec<(StorageKey, PathBuf)>> {
        self.check_mounted()?;
        let folder = self.root.join(server.to_string());
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry?;
            let file_name = entry.file_name();
            let key = file_name
                .to_str()
                .and_then(|name| Self::key_of(server, name));
            files.extend(key.map(|key| (key, entry.path())));
        }
        Ok(files)
    }

    /// Returns the key of an object or of a partial upload, by the name of its file.
    fn key_of(server: ServerId, name: &str) -> Option<StorageKey> {
        let object_name = name
            .strip_prefix('.')
            .and_then(|n| n.strip_suffix(".partial"))
            .unwrap_or(name);
        StorageKey::parse(&format!("{server}/{object_name}"))
    }

    fn partials_of(&self, server: ServerId) -> io::Result<Vec<PartialUpload>> {
        let mut partials = Vec::new();
        for (key, path) in self.files_of_server(server)? {
            if path == self.partial_path(key) {
                let metadata = fs::symlink_metadata(&path);
                partials.push(PartialUpload {
                    key,
                    handle: path.display().to_string(),
                    written_at: metadata.and_then(|metadata| metadata.modified()).ok(),
                });
            }
        }
        Ok(partials)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A missing file is fine, but a missing disk is an error.
                self.check_mounted()
            }
            other => other,
        }
    }
}

fn not_a_file(path: &Path) -> io::Error {
    let text = format!("`{}` is not a regular file", path.display());
    io::Error::new(io::ErrorKind::InvalidData, text)
}
