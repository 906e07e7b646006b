//! The layout of a restore: the server directory, the staging folder and the lock.
//!
//! The staging folder must be on the same file system and mount as the directory. So it is beside
//! the directory, or inside it if the directory is a mount point or its parent cannot be written.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    Access, AtFlags, FlockOperation, Gid, Mode, OFlags, StatxAttributes, StatxFlags, Uid,
};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::remove::remove_tree;
use crate::Error;
use crate::directory::{FOLDER_FLAGS, Identity, open_folder, open_source};
use crate::error::is_disk_full;

/// The name of the staged tree in the staging folder; after an exchange, it is the old tree.
pub(super) const TREE: &[u8] = b"tree";
/// The prefix of staging folders beside a directory or in a shared folder.
pub(super) const STAGING_PREFIX: &[u8] = b".holdfast-restore-";
/// The prefix of lock files beside a directory.
pub(super) const LOCK_PREFIX: &[u8] = b".holdfast-lock-";
const STAGING_INSIDE: &[u8] = b".holdfast-restore";
const LOCK_INSIDE: &[u8] = b".holdfast-lock";

/// A server directory, and the folders and files of its restore.
pub(super) struct RestoreLayout {
    pub(super) destination: PathBuf,
    /// The server directory itself.
    pub(super) target: OwnedFd,
    /// The folder that holds the server directory.
    pub(super) parent: OwnedFd,
    pub(super) name: Vec<u8>,
    /// The folder that holds the staging folder.
    pub(super) staging_parent: OwnedFd,
    staging_parent_path: PathBuf,
    pub(super) staging: Vec<u8>,
    /// Whether the directory cannot be renamed, so that its children are swapped instead. The lock
    /// is then inside the directory, and so is the staging folder, unless the caller names one.
    pub(super) swaps_children: bool,
    /// Whether this restore has created the directory.
    created: bool,
}

/// The lock of a restore. The kernel releases it when the process ends.
pub(super) struct RestoreLock(OwnedFd);

impl RestoreLayout {
    /// Returns the layout of a directory. Creates the directory if it is missing.
    pub(super) fn prepare(destination: &Path, staging: Option<&Path>) -> Result<Self, Error> {
        if let Some(layout) = Self::find(destination, staging)? {
            return Ok(layout);
        }
        fs_err::create_dir_all(destination)
            .map_err(|error| Error::io("create", destination, error))?;
        let layout = Self::find(destination, staging)?;
        let mut layout = layout.ok_or_else(|| Error::SourceMissing {
            path: destination.into(),
        })?;
        layout.created = true;
        Ok(layout)
    }

    /// Returns the layout of an existing directory; `None` if it does not exist.
    pub(super) fn find(destination: &Path, staging: Option<&Path>) -> Result<Option<Self>, Error> {
        let target = match open_source(destination) {
            Err(Error::SourceMissing { .. }) => return Ok(None),
            other => other?,
        };
        let real = fs_err::canonicalize(destination)
            .map_err(|error| Error::io("find", destination, error))?;
        let (Some(parent_path), Some(name)) = (real.parent(), real.file_name()) else {
            return Err(Error::NotADirectory {
                path: destination.to_path_buf(),
            });
        };
        let name = name.as_bytes().to_vec();
        let parent = open_source(parent_path)?;
        let read_failed = |error: Errno| Error::io("read", &real, error);
        let is_mount = is_mount_point(&target).map_err(read_failed)?;
        let writable = rustix::fs::accessat(&parent, ".", Access::WRITE_OK, AtFlags::EACCESS);
        let swaps_children = is_mount || writable.is_err();
        let (staging_parent_path, staging) = match staging {
            Some(folder) => (folder.to_path_buf(), shared_staging_name(&real)),
            None if swaps_children => (real.clone(), STAGING_INSIDE.to_vec()),
            None => (
                parent_path.to_path_buf(),
                name_beside(STAGING_PREFIX, &name),
            ),
        };
        let staging_parent = open_source(&staging_parent_path)?;
        let staging_stat = rustix::fs::fstat(&staging_parent)
            .map_err(|error| Error::io("read", &staging_parent_path, error))?;
        let target_stat = rustix::fs::fstat(&target).map_err(read_failed)?;
        if staging_stat.st_dev != target_stat.st_dev {
            return Err(Error::StagingElsewhere {
                staging: staging_parent_path,
                destination: real,
            });
        }
        Ok(Some(Self {
            target,
            parent,
            name,
            staging_parent,
            staging_parent_path,
            staging,
            swaps_children,
            created: false,
            destination: real,
        }))
    }

    /// Returns the path of the staging folder.
    pub(super) fn staging_path(&self) -> PathBuf {
        self.staging_parent_path
            .join(std::ffi::OsStr::from_bytes(&self.staging))
    }

    pub(super) fn open_staging(&self) -> Result<OwnedFd, Error> {
        rustix::fs::openat(
            &self.staging_parent,
            self.staging.as_slice(),
            FOLDER_FLAGS,
            Mode::empty(),
        )
        .map_err(|error| Error::io("open", &self.staging_path(), error))
    }

    /// Returns the free bytes for the staging folder.
    pub(super) fn available(&self) -> u64 {
        match rustix::fs::fstatvfs(&self.staging_parent) {
            Ok(disk) if disk.f_blocks > 0 => disk.f_bavail.saturating_mul(disk.f_frsize),
            // The file system reports no sizes. A full disk fails the first write.
            _ => u64::MAX,
        }
    }

    /// Refuses a directory with a mount point inside.
    ///
    /// The swap would move the mount away with the old tree, and its files would be removed.
    pub(super) fn refuse_mounts_inside(&self) -> Result<(), Error> {
        let Ok(table) = fs_err::read("/proc/self/mountinfo") else {
            return Ok(());
        };
        for line in table.split(|&byte| byte == b'\n') {
            let Some(field) = line.split(|&byte| byte == b' ').nth(4) else {
                continue;
            };
            let mounted = unescape(field);
            let path = Path::new(std::ffi::OsStr::from_bytes(&mounted));
            if path != self.destination && path.starts_with(&self.destination) {
                return Err(Error::MountedInside {
                    path: path.to_path_buf(),
                });
            }
        }
        Ok(())
    }

    /// Takes the lock. Returns `None` if another process holds it.
    pub(super) fn lock(&self) -> Result<Option<RestoreLock>, Error> {
        let (folder, name) = self.lock_location();
        let fail = |error| Error::io("lock", &self.destination, error);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        loop {
            let file = rustix::fs::openat(folder, name.as_slice(), flags, Mode::RUSR | Mode::WUSR);
            let file = file.map_err(fail)?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(fail(error)),
            }
            // The previous holder may have removed the file after it was opened here.
            let opened = rustix::fs::fstat(&file).map_err(fail)?;
            match rustix::fs::statat(folder, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(there) if Identity::from(&there) == Identity::from(&opened) => {
                    return Ok(Some(RestoreLock(file)));
                }
                Ok(_) | Err(Errno::NOENT) => {}
                Err(error) => return Err(fail(error)),
            }
        }
    }

    /// Releases the lock and removes its file.
    pub(super) fn unlock(&self, lock: RestoreLock) {
        let (folder, name) = self.lock_location();
        // It is removed while the lock is held, so that other processes notice. A file that stays
        // does no harm.
        let _ = rustix::fs::unlinkat(folder, name.as_slice(), AtFlags::empty());
        drop(lock.0);
    }

    /// Returns the folder and the name of the lock file.
    fn lock_location(&self) -> (&OwnedFd, Vec<u8>) {
        if self.swaps_children {
            (&self.target, LOCK_INSIDE.to_vec())
        } else {
            (&self.parent, name_beside(LOCK_PREFIX, &self.name))
        }
    }

    /// Returns whether a staging folder or a lock file exists.
    pub(super) fn has_leftovers(&self) -> bool {
        let exists = |folder: &OwnedFd, name: &[u8]| {
            rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
        };
        let (folder, name) = self.lock_location();
        exists(&self.staging_parent, &self.staging) || exists(folder, &name)
    }

    /// Creates the staging folder with an empty tree, and opens the tree.
    pub(super) fn create_staging(&self) -> Result<OwnedFd, Error> {
        let fail = |error: Errno| Error::io("create", &self.staging_path(), error);
        rustix::fs::mkdirat(&self.staging_parent, self.staging.as_slice(), Mode::RWXU)
            .map_err(fail)?;
        let staging = self.open_staging()?;
        rustix::fs::mkdirat(&staging, TREE, Mode::RWXU).map_err(fail)?;
        open_folder(staging.as_fd(), TREE).map_err(fail)
    }

    /// Returns the owner of restored files if the archive's owners are not applied.
    ///
    /// Root gives them to the owner of the directory, so that the server can write its files.
    pub(super) fn default_owner(&self) -> Result<Option<(Uid, Gid)>, Error> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let stat = rustix::fs::fstat(&self.target)
            .map_err(|error| Error::io("read", &self.destination, error))?;
        Ok(Some((
            Uid::from_raw(stat.st_uid),
            Gid::from_raw(stat.st_gid),
        )))
    }

    /// Adds needed and free bytes to the error of a full disk.
    pub(super) fn add_space_figures(&self, error: Error, needed: u64) -> Error {
        match &error {
            Error::Io { source, .. } if is_disk_full(source) => Error::NoSpace {
                needed,
                available: self.available(),
            },
            _ => error,
        }
    }

    /// Makes the staged files durable.
    pub(super) fn sync(&self) -> Result<(), Error> {
        let staging = self.open_staging()?;
        rustix::fs::syncfs(&staging)
            .map_err(|error| Error::io("write to disk", &self.staging_path(), error))
    }

    /// Removes the staging folder with everything in it.
    pub(super) fn remove_staging(&self) -> Result<(), Error> {
        remove_tree(self.staging_parent.as_fd(), &self.staging)
            .map_err(|error| Error::io("remove", &self.staging_path(), error))
    }

    /// Removes the directory if this restore has created it and it is empty.
    pub(super) fn remove_destination_if_created(&self) {
        if self.created {
            let _ = rustix::fs::unlinkat(&self.parent, self.name.as_slice(), AtFlags::REMOVEDIR);
        }
    }
}

/// Returns a name in a staging folder that many servers share. It depends on the whole path.
fn shared_staging_name(directory: &Path) -> Vec<u8> {
    let hash = hex::encode(Sha256::digest(directory.as_os_str().as_bytes()));
    [STAGING_PREFIX, &hash.as_bytes()[..32]].concat()
}

/// Returns a name beside the directory. A long name is cut, and ends in its hash.
fn name_beside(prefix: &[u8], name: &[u8]) -> Vec<u8> {
    const MAX_NAME: usize = 255;
    let mut full = [prefix, name].concat();
    if full.len() > MAX_NAME {
        let hash = hex::encode(Sha256::digest(name));
        full.truncate(MAX_NAME - 33);
        full.push(b'-');
        full.extend_from_slice(&hash.as_bytes()[..32]);
    }
    full
}

/// Decodes a path of the mount table, in which spaces and some other bytes are octal.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut path = Vec::new();
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| byte == b'\\');
        let code = code.and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(code) = code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            path.push(code);
            rest = &after[3..];
        } else {
            path.push(byte);
            rest = after;
        }
    }
    path
}

fn is_mount_point(folder: &OwnedFd) -> Result<bool, Errno> {
    let stat = rustix::fs::statx(folder, "", AtFlags::EMPTY_PATH, StatxFlags::empty())?;
    let root = StatxAttributes::MOUNT_ROOT;
    if stat.stx_attributes_mask.contains(root) {
        return Ok(stat.stx_attributes.contains(root));
    }
    // Before Linux 5.8: compares the device with that of the parent.
    let above = rustix::fs::statat(folder, "..", AtFlags::empty())?;
    Ok(above.st_dev != rustix::fs::fstat(folder)?.st_dev)
}
