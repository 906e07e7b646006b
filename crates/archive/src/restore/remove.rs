//! Removes a tree of any depth, relative to folder handles, and never leaves its file system.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, StatxFlags};
use rustix::io::Errno;

use crate::directory::{FolderStack, Identity, open_folder};

/// Removes `name` in `parent` with everything below it. A missing entry is not an error.
pub(super) fn remove_tree(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let root = match open_writable(parent, name) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    let mount = mount_of(&root)?;
    let mut pending: Vec<Vec<Vec<u8>>> = vec![clear_files(root.as_fd())?];
    let mut names: Vec<Vec<u8>> = Vec::new();
    let mut folders = FolderStack::new(root)?;
    while let Some(below) = pending.last_mut() {
        if let Some(next) = below.pop() {
            let folder = folders.current()?;
            let child = match open_writable(folder.as_fd(), &next) {
                Err(Errno::NOENT) => continue,
                other => other?,
            };
            let stat = rustix::fs::fstat(&child)?;
            if mount_of(&child)? != mount {
                // A disk is mounted here. Its files must not be removed.
                return Err(Errno::XDEV);
            }
            pending.push(clear_files(child.as_fd())?);
            folders.push(child, Identity::from(&stat));
            names.push(next);
        } else {
            pending.pop();
            let Some(name) = names.pop() else { break };
            folders.pop()?;
            ignore_missing(rustix::fs::unlinkat(
                folders.current()?,
                name,
                AtFlags::REMOVEDIR,
            ))?;
        }
    }
    ignore_missing(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR))
}

/// Returns device and mount of a folder; mount 0 if the kernel does not report it.
fn mount_of(folder: &OwnedFd) -> Result<(u64, u64), Errno> {
    let stat = rustix::fs::statx(folder, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
    let known = stat.stx_mask & StatxFlags::MNT_ID.bits() != 0;
    let device = u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor);
    Ok((device, if known { stat.stx_mnt_id } else { 0 }))
}

/// Opens a folder to empty it. Changes its mode if it forbids that.
fn open_writable(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let folder = match open_folder(parent, name) {
        Err(Errno::ACCESS) => {
            let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                return Err(Errno::NOTDIR);
            }
            rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
            open_folder(parent, name)?
        }
        other => other?,
    };
    let stat = rustix::fs::fstat(&folder)?;
    if stat.st_mode & 0o700 != 0o700 {
        // If this is not allowed, removing its entries may work all the same.
        let _ = rustix::fs::fchmod(&folder, Mode::RWXU);
    }
    Ok(folder)
}

/// Removes all entries except folders. Returns the names of the folders.
fn clear_files(folder: BorrowedFd<'_>) -> Result<Vec<Vec<u8>>, Errno> {
    let mut folders = Vec::new();
    let mut listing = Dir::read_from(folder)?;
    while let Some(entry) = listing.read() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        if entry.file_type() == FileType::Directory {
            folders.push(name.to_vec());
            continue;
        }
        match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => folders.push(name.to_vec()),
            other => ignore_missing(other)?,
        }
    }
    Ok(folders)
}

/// Treats a missing entry as removed.
fn ignore_missing(outcome: Result<(), Errno>) -> Result<(), Errno> {
    match outcome {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}
