//! The markers in a staging folder: what is moved at the moment, so that recovery knows what to do.

use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::directory::sync_folder;

/// The folder of the old entries while they are moved out.
pub(super) const OLD: &[u8] = b"old";
/// The old children are being moved out of the directory.
pub(super) const MOVING_OUT: &[u8] = b"moving-out";
/// The new children are being moved in.
pub(super) const MOVING_IN: &[u8] = b"moving-in";
/// Single files and folders are being moved. It has the inode of each new entry, and its path.
pub(super) const MOVING_PATHS: &[u8] = b"moving-paths";

/// Creates a marker, durably.
pub(super) fn set_marker(staging: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(staging, name, flags, Mode::RUSR | Mode::WUSR)?;
    rustix::fs::fsync(&file)?;
    sync_folder(staging)
}

/// Removes a marker, durably.
pub(super) fn remove_marker(staging: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    match rustix::fs::unlinkat(staging, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => sync_folder(staging),
        Err(error) => Err(error),
    }
}

/// Returns whether the staging folder may hold the files of a server.
pub(super) fn has_marker(staging: BorrowedFd<'_>) -> bool {
    [MOVING_OUT, MOVING_IN, MOVING_PATHS]
        .iter()
        .any(|marker| is_set(staging, marker))
}

pub(super) fn is_set(staging: BorrowedFd<'_>, name: &[u8]) -> bool {
    rustix::fs::statat(staging, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}
