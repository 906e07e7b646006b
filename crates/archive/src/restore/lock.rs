//! The lock of a restore: a file that the kernel unlocks when its process ends.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::layout::RestoreLayout;
use super::staging::{NAMES_MAX, is_numbered, keeps_attributes, names_in, numbered};
use crate::Error;
use crate::directory::Identity;

/// A held lock, and the name of its file.
pub(super) struct RestoreLock {
    file: OwnedFd,
    name: Vec<u8>,
}

/// Takes the lock of a directory. Returns `None` if another process holds it.
pub(super) fn lock(layout: &RestoreLayout) -> Result<Option<RestoreLock>, Error> {
    let mut number = 1;
    loop {
        let name = numbered(&layout.lock_name, number);
        match lock_file(layout, &name) {
            Ok(file) => return Ok(file.map(|file| RestoreLock { file, name })),
            // Inside the directory, the server may have something else of this name.
            Err(
                Errno::ISDIR
                | Errno::LOOP
                | Errno::ACCESS
                | Errno::NXIO
                | Errno::AGAIN
                | Errno::PERM,
            ) if layout.locks_inside && number < NAMES_MAX => {
                number += 1;
            }
            Err(error) => return Err(Error::io("lock", &layout.lock_path(), error)),
        }
    }
}

/// Fails with [`Errno::PERM`] if the file inside the directory is one of the server's, since its
/// owner could hold the lock without end.
fn lock_file(layout: &RestoreLayout, name: &[u8]) -> Result<Option<OwnedFd>, Errno> {
    let folder = layout.lock_folder();
    // A FIFO, or a lease of another process, must not make this wait.
    let flags = OFlags::RDWR
        | OFlags::CREATE
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK
        | OFlags::CLOEXEC
        | OFlags::NOCTTY;
    loop {
        let file = rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR)?;
        if layout.locks_inside {
            let stat = rustix::fs::fstat(&file)?;
            let own = rustix::process::geteuid().as_raw();
            let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
            // Network file systems may show another owner than the one that made it.
            if !is_file || (stat.st_uid != own && keeps_attributes(layout, own)) {
                return Err(Errno::PERM);
            }
        }
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error),
        }
        // The previous holder may have removed the file after it was opened here.
        let opened = rustix::fs::fstat(&file)?;
        match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(there) if Identity::from(&there) == Identity::from(&opened) => {
                return Ok(Some(file));
            }
            Ok(_) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Releases the lock and removes its file.
pub(super) fn unlock(layout: &RestoreLayout, lock: RestoreLock) {
    // It is removed while the lock is held, so that other processes notice. A file that stays does
    // no harm.
    let name = lock.name.as_slice();
    let _ = rustix::fs::unlinkat(layout.lock_folder(), name, AtFlags::empty());
    drop(lock.file);
}

/// Returns the names of lock files in a directory.
pub(super) fn lock_files(layout: &RestoreLayout) -> Result<Vec<Vec<u8>>, Errno> {
    let folder = layout.lock_folder();
    let own = rustix::process::geteuid().as_raw();
    let mut names = names_in(folder)?;
    names.retain(|name| {
        is_numbered(&layout.lock_name, name)
            && rustix::fs::statat(folder, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW).is_ok_and(
                |stat| {
                    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
                        && stat.st_uid == own
                        && stat.st_size == 0
                },
            )
    });
    Ok(names)
}
