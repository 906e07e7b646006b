//! Swaps the staged tree with the server directory, and recovers from an interrupted swap.
//!
//! Normally this is one `renameat2(RENAME_EXCHANGE)`: at any time either the old or the new tree is
//! in place, and the staging folder can be removed. If the directory cannot be moved (a mount
//! point, an unwritable parent, another owner, a file system without the exchange), or should stay
//! (a project, a process that has it open), its children are swapped one by one. Two marker files
//! then tell how to recover: `moving-out` alone means to undo the swap, `moving-in` means to finish
//! it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, RenameFlags};
use rustix::io::Errno;

use super::children::{OwnEntries, check_movable, move_children, own_entries};
use super::layout::RestoreLayout;
use super::markers::{MOVING_IN, MOVING_OUT, OLD, is_set, remove_marker, set_marker};
use super::path_swap::recover_paths;
use super::staging::{OwnFolder, Staging, TREE};
use super::{attributes, holders, leftovers};
use crate::directory::{check_changeable, open_folder, sync_folder};
use crate::{BeforeSwap, Error, Recovered, SwapMethod};

/// What was swapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Swapped {
    /// The directory itself.
    Directory,
    /// Its children. The directory has stayed.
    Children,
}

/// Puts the staged tree into place. After an error, the old tree is in place.
///
/// `before_swap` runs right before the first existing file is changed.
pub(super) fn swap(
    layout: &RestoreLayout,
    staging: &Staging,
    method: SwapMethod,
    before_swap: BeforeSwap<'_>,
) -> Result<Swapped, Error> {
    let fail = |error| Error::io("put the restored files into", &layout.destination, error);
    before_swap().map_err(Error::Refused)?;
    layout.check_in_place()?;
    let swap_children = || swap_children(layout, staging).map(|()| Swapped::Children);
    match method {
        SwapMethod::Exchange => {}
        SwapMethod::Children => return swap_children(),
        // The server has stopped by now, so its own processes are gone.
        SwapMethod::Auto if holders::is_held(layout) => return swap_children(),
        SwapMethod::Auto if attributes::has_project(layout.target.as_fd()) => {
            match swap_children() {
                // Nothing was moved, and the new tree has the project, too.
                Err(Error::Immovable { .. } | Error::NoAccess { .. }) => {}
                other => return other,
            }
        }
        SwapMethod::Auto => {}
    }
    match exchange(layout, staging).map_err(fail)? {
        true => Ok(Swapped::Directory),
        false => swap_children(),
    }
}

/// Exchanges the directory with the staged tree. Returns false if that is not possible here.
fn exchange(layout: &RestoreLayout, staging: &Staging) -> Result<bool, Errno> {
    let (folder, name) = (&staging.folder.handle, layout.name.as_slice());
    match rustix::fs::renameat_with(folder, TREE, &layout.parent, name, RenameFlags::EXCHANGE) {
        Ok(()) => {
            // The swap is done, and an error here cannot undo it.
            let _ = rustix::fs::fsync(&layout.parent);
            let _ = rustix::fs::fsync(folder);
            Ok(true)
        }
        // XDEV: a lower layer of overlayfs, or a parent with another project. PERM: a sticky
        // parent. The children may be movable all the same.
        Err(
            Errno::INVAL | Errno::NOSYS | Errno::BUSY | Errno::XDEV | Errno::PERM | Errno::ACCESS,
        ) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Swaps the children of the directory and of the staged tree. Checks first that all of them can be
/// moved.
fn swap_children(layout: &RestoreLayout, staging: &Staging) -> Result<(), Error> {
    let folder = staging.folder.handle.as_fd();
    check_changeable(&layout.destination)?;
    let own = own_entries(layout, folder)?;
    check_movable(layout, folder, staging.tree.as_fd(), &own)?;
    exchange_children(layout, folder, &staging.tree, &own)
        .map_err(|error| Error::io("put the restored files into", &layout.destination, error))
}

/// Moves the old children out and the new ones in. After an error, the old ones are moved back.
fn exchange_children(
    layout: &RestoreLayout,
    staging: BorrowedFd<'_>,
    tree: &OwnedFd,
    own: &OwnEntries,
) -> Result<(), Errno> {
    match rustix::fs::mkdirat(staging, OLD, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    let old = open_folder(staging, OLD)?;
    set_marker(staging, MOVING_OUT)?;
    let moved = move_children(layout.target.as_fd(), old.as_fd(), Some(own))
        .and_then(|()| sync_folder(&old))
        .and_then(|()| set_marker(staging, MOVING_IN))
        .and_then(|()| move_children(tree.as_fd(), layout.target.as_fd(), None))
        .and_then(|()| sync_folder(&layout.target));
    let Err(error) = moved else {
        // The swap is done. The staging folder can be removed.
        remove_marker(staging, MOVING_OUT)?;
        return remove_marker(staging, MOVING_IN);
    };
    undo(layout, staging, &old, tree, own)?;
    Err(error)
}

/// Moves the old children back. If it is interrupted, [`recover`] continues.
fn undo(
    layout: &RestoreLayout,
    staging: BorrowedFd<'_>,
    old: &OwnedFd,
    tree: &OwnedFd,
    own: &OwnEntries,
) -> Result<(), Errno> {
    if is_set(staging, MOVING_IN) {
        move_children(layout.target.as_fd(), tree.as_fd(), Some(own))?;
        remove_marker(staging, MOVING_IN)?;
    }
    move_children(old.as_fd(), layout.target.as_fd(), None)?;
    sync_folder(&layout.target)?;
    remove_marker(staging, MOVING_OUT)
}

/// Finishes or undoes an interrupted swap, and removes the staging folder. The lock must be held.
///
/// What cannot be removed is moved aside, so that it never blocks a restore.
pub(super) fn recover(layout: &RestoreLayout) -> Result<Recovered, Error> {
    let mut outcome = Recovered::Nothing;
    for staging in OwnFolder::find(layout, &layout.staging_name)? {
        outcome = recover_one(layout, &staging)?;
        if !staging.remove(layout)?.is_empty() {
            leftovers::set_aside(layout, &staging)?;
        }
    }
    let Some(remains) = leftovers::retry(layout)? else {
        return Ok(outcome);
    };
    Ok(match outcome {
        Recovered::Finished | Recovered::Undone => outcome,
        _ if remains.is_empty() => Recovered::Cleaned,
        _ => Recovered::Kept {
            path: layout.path_of_staged(&layout.leftovers_name),
            remains: remains.to_string(),
        },
    })
}

fn recover_one(layout: &RestoreLayout, staging: &OwnFolder) -> Result<Recovered, Error> {
    let fail = |error| Error::io("recover", &layout.destination, error);
    let staging = staging.handle.as_fd();
    if recover_paths(layout, staging).map_err(fail)? {
        return Ok(Recovered::Undone);
    }
    if !is_set(staging, MOVING_OUT) {
        return Ok(Recovered::Cleaned);
    }
    let old = open_folder(staging, OLD).map_err(fail)?;
    let tree = open_folder(staging, TREE).map_err(fail)?;
    if !is_set(staging, MOVING_IN) {
        let own = own_entries(layout, staging)?;
        undo(layout, staging, &old, &tree, &own).map_err(fail)?;
        return Ok(Recovered::Undone);
    }
    move_children(tree.as_fd(), layout.target.as_fd(), None).map_err(fail)?;
    sync_folder(&layout.target).map_err(fail)?;
    remove_marker(staging, MOVING_OUT).map_err(fail)?;
    remove_marker(staging, MOVING_IN).map_err(fail)?;
    Ok(Recovered::Finished)
}
