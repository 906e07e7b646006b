//! The lock of a restore: a file that the kernel unlocks when its process ends.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::layout::RestoreLayout;
use crate::Error;
use crate::directory::Identity;

/// A held lock.
pub(super) struct RestoreLock(OwnedFd);

/// Takes the lock of a directory. Returns `None` if another process holds it.
pub(super) fn lock(layout: &RestoreLayout) -> Result<Option<RestoreLock>, Error> {
    let (folder, name) = (layout.lock_folder(), layout.lock_name.as_slice());
    let fail = |error| Error::io("lock", &layout.lock_path(), error);
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    loop {
        let file = rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR);
        let file = file.map_err(fail)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(Errno::INTR) => continue,
            Err(error) => return Err(fail(error)),
        }
        // The previous holder may have removed the file after it was opened here.
        let opened = rustix::fs::fstat(&file).map_err(fail)?;
        match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(there) if Identity::from(&there) == Identity::from(&opened) => {
                return Ok(Some(RestoreLock(file)));
            }
            Ok(_) | Err(Errno::NOENT) => {}
            Err(error) => return Err(fail(error)),
        }
    }
}

/// Releases the lock and removes its file.
pub(super) fn unlock(layout: &RestoreLayout, lock: RestoreLock) {
    // It is removed while the lock is held, so that other processes notice. A file that stays does
    // no harm.
    let name = layout.lock_name.as_slice();
    let _ = rustix::fs::unlinkat(layout.lock_folder().as_fd(), name, AtFlags::empty());
    drop(lock.0);
}
