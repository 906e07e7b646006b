//! The layout of a restore: the server directory, the staging folder and the lock.
//!
//! Entries can be moved only within a file system, and not into another mount or btrfs subvolume.
//! So the staging folder is beside the directory, or inside it if the directory is a mount point or
//! a subvolume, if only the directory is encrypted, or if its parent cannot be written.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, Gid, StatxAttributes, StatxFlags, Uid};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::attributes::is_encrypted;
use super::mount_table::mounts;
use super::remove::mount_of;
use crate::Error;
use crate::directory::{Identity, open_to_pass};
use crate::file_system::{FreeSpace, is_disk_full};
use crate::selection::PathParts;

/// The prefix of staging folders beside a directory or in a shared folder.
pub(super) const STAGING_PREFIX: &[u8] = b".holdfast-restore-";
/// The prefix of folders with the leftovers of old trees.
pub(super) const LEFTOVERS_PREFIX: &[u8] = b".holdfast-old-";
/// The prefix of lock files beside a directory.
pub(super) const LOCK_PREFIX: &[u8] = b".holdfast-lock-";
const STAGING_INSIDE: &[u8] = b".holdfast-restore";
const LEFTOVERS_INSIDE: &[u8] = b".holdfast-old";
const LOCK_INSIDE: &[u8] = b".holdfast-lock";

/// Where the staging folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In the folder that holds the directory, or in one that the caller named.
    Beside,
    /// In the directory itself, whose owner may be another user.
    Inside,
}

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
    pub(super) place: Place,
    pub(super) staging_name: Vec<u8>,
    pub(super) leftovers_name: Vec<u8>,
    /// Whether the directory cannot be exchanged, so that its children are swapped instead.
    pub(super) is_fixed: bool,
    /// Whether the parent cannot be written, so that the lock is inside the directory.
    pub(super) locks_inside: bool,
    pub(super) lock_name: Vec<u8>,
    /// Whether this restore has created the directory.
    created: bool,
}

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
        let target = match open_to_pass(destination) {
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
        let parent = open_to_pass(parent_path)?;
        let read_failed = |error: Errno| Error::io("read", &real, error);
        let target_stat = rustix::fs::fstat(&target).map_err(read_failed)?;
        let parent_stat = rustix::fs::fstat(&parent).map_err(read_failed)?;
        // A btrfs subvolume has another device than its parent, but is not a mount point.
        let is_separate = target_stat.st_dev != parent_stat.st_dev
            || is_mount_point(&target).map_err(read_failed)?
            || leaves_encryption(&target, &parent);
        let writable = rustix::fs::accessat(&parent, ".", Access::WRITE_OK, AtFlags::EACCESS);
        let locks_inside = writable.is_err();
        let is_fixed = is_separate || locks_inside;
        let place = match staging {
            None if is_fixed => Place::Inside,
            _ => Place::Beside,
        };
        let (staging_parent_path, staging_name, leftovers_name) = match staging {
            Some(folder) => (
                folder.to_path_buf(),
                shared_name(STAGING_PREFIX, &real),
                shared_name(LEFTOVERS_PREFIX, &real),
            ),
            None if is_fixed => (
                real.clone(),
                STAGING_INSIDE.to_vec(),
                LEFTOVERS_INSIDE.to_vec(),
            ),
            None => (
                parent_path.to_path_buf(),
                name_beside(STAGING_PREFIX, &name),
                name_beside(LEFTOVERS_PREFIX, &name),
            ),
        };
        let staging_parent = open_to_pass(&staging_parent_path)?;
        let staging_stat = rustix::fs::fstat(&staging_parent)
            .map_err(|error| Error::io("read", &staging_parent_path, error))?;
        if staging_stat.st_dev != target_stat.st_dev
            || mount_of(staging_parent.as_fd()) != mount_of(target.as_fd())
            || leaves_encryption(&target, &staging_parent)
        {
            return Err(Error::StagingElsewhere {
                staging: staging_parent_path,
                destination: real,
            });
        }
        let lock_name = match locks_inside {
            true => LOCK_INSIDE.to_vec(),
            false => name_beside(LOCK_PREFIX, &name),
        };
        Ok(Some(Self {
            target,
            parent,
            name,
            staging_parent,
            staging_parent_path,
            place,
            staging_name,
            leftovers_name,
            is_fixed,
            locks_inside,
            lock_name,
            created: false,
            destination: real,
        }))
    }

    /// Returns the path of a name in the folder that holds the staging folder.
    pub(super) fn path_of_staged(&self, name: &[u8]) -> PathBuf {
        self.staging_parent_path.join(OsStr::from_bytes(name))
    }

    /// Returns the folder of the lock file.
    pub(super) fn lock_folder(&self) -> &OwnedFd {
        if self.locks_inside {
            &self.target
        } else {
            &self.parent
        }
    }

    /// Returns the path of the lock file.
    pub(super) fn lock_path(&self) -> PathBuf {
        let name = OsStr::from_bytes(&self.lock_name);
        match self.destination.parent() {
            Some(parent) if !self.locks_inside => parent.join(name),
            _ => self.destination.join(name),
        }
    }

    /// Returns the free bytes for the staging folder, or the greatest number if the file system
    /// does not report them. A full disk then fails the first write.
    pub(super) fn available(&self) -> u64 {
        FreeSpace::of(&self.staging_parent)
            .bytes
            .unwrap_or(u64::MAX)
    }

    /// Refuses a directory whose name leads to another one meanwhile.
    pub(super) fn check_in_place(&self) -> Result<(), Error> {
        let fail = |error| Error::io("put the restored files into", &self.destination, error);
        let name = self.name.as_slice();
        let entry = rustix::fs::statat(&self.parent, name, AtFlags::SYMLINK_NOFOLLOW);
        let opened = rustix::fs::fstat(&self.target).map_err(fail)?;
        if Identity::from(&entry.map_err(fail)?) != Identity::from(&opened) {
            return Err(fail(Errno::STALE));
        }
        Ok(())
    }

    /// Refuses a directory with a mount point inside.
    ///
    /// The swap would move the mount away with the old tree, and its files would be removed.
    pub(super) fn refuse_mounts_inside(&self) -> Result<(), Error> {
        let Ok(table) = fs_err::read("/proc/self/mountinfo") else {
            return Ok(());
        };
        for mount in mounts(&table) {
            if mount.place != self.destination && mount.place.starts_with(&self.destination) {
                return Err(Error::MountedInside { path: mount.place });
            }
        }
        Ok(())
    }

    /// Refuses a path with a mount point above or below it: it cannot be moved there, or would move
    /// the mount away.
    pub(super) fn refuse_mounts_at(&self, paths: &[PathParts]) -> Result<(), Error> {
        let Ok(table) = fs_err::read("/proc/self/mountinfo") else {
            return Ok(());
        };
        for mount in mounts(&table) {
            if mount.place == self.destination || !mount.place.starts_with(&self.destination) {
                continue;
            }
            for path in paths {
                let path = self.destination.join(OsStr::from_bytes(&path.join(&b'/')));
                if path.starts_with(&mount.place) || mount.place.starts_with(&path) {
                    return Err(Error::MountedInside { path: mount.place });
                }
            }
        }
        Ok(())
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

    /// Replaces the error of a full disk by one that says what is used up: bytes, inodes or quota.
    pub(super) fn add_space_figures(&self, error: Error, needed: u64) -> Error {
        let Error::Io { source, .. } = &error else {
            return error;
        };
        let path = self.staging_parent_path.clone();
        match source.kind() {
            ErrorKind::QuotaExceeded => Error::QuotaExceeded { path },
            _ if !is_disk_full(source) => error,
            _ if FreeSpace::of(&self.staging_parent).lacks_inodes() => Error::NoInodes { path },
            _ => Error::NoSpace {
                needed,
                available: self.available(),
            },
        }
    }

    /// Removes the directory if this restore has created it and it is empty.
    pub(super) fn remove_destination_if_created(&self) {
        if self.created {
            let _ = rustix::fs::unlinkat(&self.parent, self.name.as_slice(), AtFlags::REMOVEDIR);
        }
    }
}

/// Returns a name in a staging folder that many servers share. It depends on the whole path.
fn shared_name(prefix: &[u8], directory: &Path) -> Vec<u8> {
    let hash = hex::encode(Sha256::digest(directory.as_os_str().as_bytes()));
    [prefix, &hash.as_bytes()[..32]].concat()
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

/// Returns whether new entries of a folder would not be encrypted as those of the directory are.
fn leaves_encryption(directory: &OwnedFd, folder: &OwnedFd) -> bool {
    is_encrypted(directory.as_fd()) && !is_encrypted(folder.as_fd())
}

/// Returns whether a folder is a mount point. Before Linux 5.8, only its device tells that.
fn is_mount_point(folder: &OwnedFd) -> Result<bool, Errno> {
    let stat = rustix::fs::statx(folder, "", AtFlags::EMPTY_PATH, StatxFlags::empty())?;
    Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}
