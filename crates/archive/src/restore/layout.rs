//! Where a restore happens: the server directory, the folder beside it, and the lock.
//!
//! Staging lies beside the directory. If that is a mount point, or the folder around it cannot be
//! written, it lies inside, since it has to be on the same file system and mount.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, FlockOperation, Mode, OFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use super::remove::remove_tree;
use crate::Error;
use crate::digest::Sha256;
use crate::directory::{FOLDER, Identity, open_source};

/// A server directory and what belongs to its restore.
pub(super) struct Site {
    pub(super) destination: PathBuf,
    /// The server directory itself.
    pub(super) target: OwnedFd,
    /// The folder that holds the server directory.
    pub(super) parent: OwnedFd,
    pub(super) name: Vec<u8>,
    /// The folder that holds the staging folder.
    pub(super) home: OwnedFd,
    home_path: PathBuf,
    pub(super) staging: Vec<u8>,
    /// Whether the directory cannot be renamed, so that its children change places.
    pub(super) fixed: bool,
    /// Whether the lock lies inside of the directory instead of beside it.
    lock_inside: bool,
    made: bool,
}

/// The lock of one restore, released when the process ends in whatever way.
pub(super) struct Lock(OwnedFd);

impl Site {
    /// Finds everything, and makes a destination that is missing.
    pub(super) fn prepare(destination: &Path, staging: Option<&Path>) -> Result<Self, Error> {
        if let Some(site) = Self::find(destination, staging)? {
            return Ok(site);
        }
        fs_err::create_dir_all(destination)
            .map_err(|error| Error::io("make", destination, error))?;
        let site = Self::find(destination, staging)?;
        let mut site = site.ok_or_else(|| Error::SourceMissing {
            path: destination.into(),
        })?;
        site.made = true;
        Ok(site)
    }

    /// Finds everything; none if there is no such directory.
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
        let parent = open_source(parent_path)?;
        let is_mount = is_mount_point(&target).map_err(|e| Error::io("read", &real, e))?;
        let shut = rustix::fs::accessat(&parent, ".", Access::WRITE_OK, AtFlags::EACCESS).is_err();
        let inside = is_mount || shut;
        let (home_path, staging) = match staging {
            Some(folder) => {
                // Many servers share the folder, so the name tells the whole path.
                let mut hash = Sha256::new();
                hash.update(real.as_os_str().as_bytes());
                let hash = hex::encode(hash.finish());
                (
                    folder.to_path_buf(),
                    format!(".holdfast-restore-{}", &hash[..32]).into_bytes(),
                )
            }
            None if inside => (real.clone(), b".holdfast-restore".to_vec()),
            None => (
                parent_path.to_path_buf(),
                beside(b".holdfast-restore-", name.as_bytes()),
            ),
        };
        let home = open_source(&home_path)?;
        let device = |fd: &OwnedFd, path: &Path| {
            let stat = rustix::fs::fstat(fd).map_err(|error| Error::io("read", path, error))?;
            Ok(stat.st_dev)
        };
        if device(&home, &home_path)? != device(&target, &real)? {
            return Err(Error::StagingElsewhere {
                staging: home_path,
                destination: real,
            });
        }
        let name = name.as_bytes().to_vec();
        Ok(Some(Self {
            target,
            parent,
            name,
            home,
            home_path,
            staging,
            fixed: inside,
            lock_inside: inside,
            made: false,
            destination: real,
        }))
    }

    pub(super) fn staging_path(&self) -> PathBuf {
        self.home_path
            .join(std::ffi::OsStr::from_bytes(&self.staging))
    }

    pub(super) fn open_staging(&self) -> Result<OwnedFd, Error> {
        rustix::fs::openat(&self.home, self.staging.as_slice(), FOLDER, Mode::empty())
            .map_err(|error| Error::io("open", &self.staging_path(), error))
    }

    /// Bytes that may still be written where staging lies.
    pub(super) fn available(&self) -> u64 {
        match rustix::fs::fstatvfs(&self.home) {
            Ok(disk) if disk.f_blocks > 0 => disk.f_bavail.saturating_mul(disk.f_frsize),
            // A file system that does not count: the first write that fails will tell.
            _ => u64::MAX,
        }
    }

    /// Refuses a directory with another disk mounted somewhere inside.
    ///
    /// It would be carried off with the old tree, and what is on it be removed.
    pub(super) fn refuse_mounts_inside(&self) -> Result<(), Error> {
        let Ok(table) = fs_err::read("/proc/self/mountinfo") else {
            return Ok(());
        };
        for line in table.split(|&byte| byte == b'\n') {
            let Some(field) = line.split(|&byte| byte == b' ').nth(4) else {
                continue;
            };
            let mounted = unescaped(field);
            let path = Path::new(std::ffi::OsStr::from_bytes(&mounted));
            if path != self.destination && path.starts_with(&self.destination) {
                return Err(Error::MountedInside {
                    path: path.to_path_buf(),
                });
            }
        }
        Ok(())
    }

    /// Takes the lock; none if another process has it.
    pub(super) fn lock(&self) -> Result<Option<Lock>, Error> {
        let (folder, name) = self.lock_place();
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
            // The one before may have removed the file between our two steps.
            let ours = rustix::fs::fstat(&file).map_err(fail)?;
            match rustix::fs::statat(folder, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(there) if Identity::from(&there) == Identity::from(&ours) => {
                    return Ok(Some(Lock(file)));
                }
                Ok(_) | Err(Errno::NOENT) => {}
                Err(error) => return Err(fail(error)),
            }
        }
    }

    /// Lets go of the lock and removes its file.
    pub(super) fn unlock(&self, lock: Lock) {
        let (folder, name) = self.lock_place();
        // Removed while it is held: whoever opened it meanwhile notices. A file left is no harm.
        let _ = rustix::fs::unlinkat(folder, name.as_slice(), AtFlags::empty());
        drop(lock.0);
    }

    fn lock_place(&self) -> (&OwnedFd, Vec<u8>) {
        if self.lock_inside {
            (&self.target, b".holdfast-lock".to_vec())
        } else {
            (&self.parent, beside(b".holdfast-lock-", &self.name))
        }
    }

    pub(super) fn has_leftovers(&self) -> bool {
        let there = |folder: &OwnedFd, name: &[u8]| {
            rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
        };
        let (folder, name) = self.lock_place();
        there(&self.home, &self.staging) || there(folder, &name)
    }

    /// Writes everything staged to the disk.
    pub(super) fn sync(&self) -> Result<(), Error> {
        let staging = self.open_staging()?;
        rustix::fs::syncfs(&staging)
            .map_err(|error| Error::io("write to disk", &self.staging_path(), error))
    }

    /// Removes the staging folder with everything in it.
    pub(super) fn remove_staging(&self) -> Result<(), Error> {
        remove_tree(self.home.as_fd(), &self.staging)
            .map_err(|error| Error::io("remove", &self.staging_path(), error))
    }

    /// A destination that this restore made is taken back, if nothing is in it.
    pub(super) fn remove_destination_if_made(&self) {
        if self.made {
            let _ = rustix::fs::unlinkat(&self.parent, self.name.as_slice(), AtFlags::REMOVEDIR);
        }
    }
}

/// A name beside the directory; a long one is cut and told apart by its hash.
fn beside(prefix: &[u8], name: &[u8]) -> Vec<u8> {
    const LONGEST: usize = 255;
    let mut full = [prefix, name].concat();
    if full.len() > LONGEST {
        let mut hash = Sha256::new();
        hash.update(name);
        full.truncate(LONGEST - 33);
        full.push(b'-');
        full.extend_from_slice(&hex::encode(hash.finish()).as_bytes()[..32]);
    }
    full
}

/// A path of the mount table, where blanks and the like are octal.
fn unescaped(field: &[u8]) -> Vec<u8> {
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
    // Before Linux 5.8: a mount point's parent is another device.
    let above = rustix::fs::statat(folder, "..", AtFlags::empty())?;
    Ok(above.st_dev != rustix::fs::fstat(folder)?.st_dev)
}
