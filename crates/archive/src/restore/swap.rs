//! Swaps the staged tree with the server directory, and recovers from an interrupted swap.
//!
//! Normally this is one `renameat2(RENAME_EXCHANGE)`: at any time either the old or the new tree is
//! in place, and the staging folder can be removed. If the directory cannot be moved (a mount
//! point, an unwritable parent, another owner, a file system without the exchange), its children
//! are swapped one by one. Two marker files then tell how to recover: `moving-out` alone means to
//! undo the swap, `moving-in` means to finish it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, Gid, Mode, OFlags, RenameFlags, Uid};
use rustix::io::Errno;

use super::layout::{RestoreLayout, TREE};
use crate::directory::{Identity, open_folder};
use crate::walk::HOLDFAST_PREFIX;
use crate::{BeforeSwap, Error, Recovered};

/// The folder of the old children while the children are swapped.
const OLD: &[u8] = b"old";
const MOVING_OUT: &[u8] = b"moving-out";
const MOVING_IN: &[u8] = b"moving-in";

/// Puts the staged tree into place. After an error, the old tree is in place.
///
/// `before_swap` runs right before the first existing file is changed.
pub(super) fn swap(
    layout: &RestoreLayout,
    exchangeable: bool,
    before_swap: BeforeSwap<'_>,
) -> Result<(), Error> {
    let staging = layout.open_staging()?;
    let fail = |error| Error::io("put the restored files into", &layout.destination, error);
    before_swap().map_err(Error::Refused)?;
    let entry = rustix::fs::statat(
        &layout.parent,
        layout.name.as_slice(),
        AtFlags::SYMLINK_NOFOLLOW,
    );
    let opened = rustix::fs::fstat(&layout.target).map_err(fail)?;
    if Identity::from(&entry.map_err(fail)?) != Identity::from(&opened) {
        return Err(fail(Errno::STALE));
    }
    if exchangeable {
        let flags = RenameFlags::EXCHANGE;
        let name = layout.name.as_slice();
        match rustix::fs::renameat_with(&staging, TREE, &layout.parent, name, flags) {
            Ok(()) => {
                // The swap is done, and an error here cannot undo it.
                let _ = rustix::fs::fsync(&layout.parent);
                let _ = rustix::fs::fsync(&staging);
                return Ok(());
            }
            Err(Errno::INVAL | Errno::NOSYS | Errno::BUSY) => {}
            Err(error) => return Err(fail(error)),
        }
    }
    swap_children(layout, staging.as_fd()).map_err(fail)
}

/// Copies owner and mode of the directory to the staged root. Returns whether the two can be
/// exchanged.
pub(super) fn copy_root_attributes(layout: &RestoreLayout) -> Result<bool, Error> {
    let staging = layout.open_staging()?;
    let fail = |error| Error::io("copy the mode of", &layout.destination, error);
    if layout.swaps_children {
        Ok(false)
    } else {
        copy_owner_and_mode(layout, staging.as_fd()).map_err(fail)
    }
}

fn copy_owner_and_mode(layout: &RestoreLayout, staging: BorrowedFd<'_>) -> Result<bool, Errno> {
    let tree = open_folder(staging, TREE)?;
    let (like, own) = (
        rustix::fs::fstat(&layout.target)?,
        rustix::fs::fstat(&tree)?,
    );
    if (like.st_uid, like.st_gid) != (own.st_uid, own.st_gid) {
        let owner = (
            Some(Uid::from_raw(like.st_uid)),
            Some(Gid::from_raw(like.st_gid)),
        );
        match rustix::fs::fchown(&tree, owner.0, owner.1) {
            Ok(()) => {}
            Err(Errno::PERM) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    rustix::fs::fchmod(&tree, Mode::from_raw_mode(like.st_mode & 0o7777))?;
    Ok(true)
}

/// Swaps the children of the directory and of the staged tree.
fn swap_children(layout: &RestoreLayout, staging: BorrowedFd<'_>) -> Result<(), Errno> {
    match rustix::fs::mkdirat(staging, OLD, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    let old = open_folder(staging, OLD)?;
    let tree = open_folder(staging, TREE)?;
    set_marker(staging, MOVING_OUT)?;
    let moved = move_children(layout.target.as_fd(), old.as_fd())
        .and_then(|()| rustix::fs::fsync(&old))
        .and_then(|()| set_marker(staging, MOVING_IN))
        .and_then(|()| move_children(tree.as_fd(), layout.target.as_fd()))
        .and_then(|()| rustix::fs::fsync(&layout.target));
    let Err(error) = moved else {
        // The swap is done. The staging folder can be removed.
        remove_marker(staging, MOVING_OUT)?;
        return remove_marker(staging, MOVING_IN);
    };
    undo(layout, staging, &old, &tree)?;
    Err(error)
}

/// Moves the old children back. If it is interrupted, [`recover`] continues.
fn undo(
    layout: &RestoreLayout,
    staging: BorrowedFd<'_>,
    old: &OwnedFd,
    tree: &OwnedFd,
) -> Result<(), Errno> {
    if is_set(staging, MOVING_IN) {
        move_children(layout.target.as_fd(), tree.as_fd())?;
        remove_marker(staging, MOVING_IN)?;
    }
    move_children(old.as_fd(), layout.target.as_fd())?;
    rustix::fs::fsync(&layout.target)?;
    remove_marker(staging, MOVING_OUT)
}

/// Finishes or undoes an interrupted swap, and removes the staging folder. The lock must be held.
pub(super) fn recover(layout: &RestoreLayout) -> Result<Recovered, Error> {
    let fail = |error| Error::io("recover", &layout.destination, error);
    let staging = match open_folder(layout.staging_parent.as_fd(), &layout.staging) {
        Ok(staging) => staging,
        Err(Errno::NOENT) => return Ok(Recovered::Nothing),
        Err(error) => return Err(fail(error)),
    };
    let mut outcome = Recovered::Cleaned;
    if is_set(staging.as_fd(), MOVING_OUT) {
        let old = open_folder(staging.as_fd(), OLD).map_err(fail)?;
        let tree = open_folder(staging.as_fd(), TREE).map_err(fail)?;
        if is_set(staging.as_fd(), MOVING_IN) {
            move_children(tree.as_fd(), layout.target.as_fd()).map_err(fail)?;
            rustix::fs::fsync(&layout.target).map_err(fail)?;
            remove_marker(staging.as_fd(), MOVING_OUT).map_err(fail)?;
            remove_marker(staging.as_fd(), MOVING_IN).map_err(fail)?;
            outcome = Recovered::Finished;
        } else {
            undo(layout, staging.as_fd(), &old, &tree).map_err(fail)?;
            outcome = Recovered::Undone;
        }
    }
    drop(staging);
    layout.remove_staging()?;
    Ok(outcome)
}

/// Moves all children from one folder to another. An existing entry with the same name is
/// exchanged.
fn move_children(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut names = Vec::new();
    let mut listing = Dir::read_from(from)?;
    while let Some(entry) = listing.read() {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." && !name.starts_with(HOLDFAST_PREFIX) {
            names.push(name);
        }
    }
    for name in names {
        let name = name.as_slice();
        match rustix::fs::renameat_with(from, name, to, name, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                rustix::fs::renameat_with(from, name, to, name, RenameFlags::EXCHANGE)?;
            }
            // The file system does not support these flags. Without them, a file that is created
            // at this moment could be replaced.
            Err(Errno::INVAL | Errno::NOSYS) => rustix::fs::renameat(from, name, to, name)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Creates a marker, durably.
fn set_marker(staging: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
    let file = rustix::fs::openat(staging, name, flags, Mode::RUSR | Mode::WUSR)?;
    rustix::fs::fsync(&file)?;
    rustix::fs::fsync(staging)
}

/// Removes a marker, durably.
fn remove_marker(staging: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    match rustix::fs::unlinkat(staging, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => rustix::fs::fsync(staging),
        Err(error) => Err(error),
    }
}

/// Returns whether the staging folder may hold the files of a server.
pub(super) fn has_marker(staging: BorrowedFd<'_>) -> bool {
    is_set(staging, MOVING_OUT) || is_set(staging, MOVING_IN)
}

fn is_set(staging: BorrowedFd<'_>, name: &[u8]) -> bool {
    rustix::fs::statat(staging, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}
