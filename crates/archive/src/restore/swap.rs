//! The trees change places, and what a killed process left of that is brought to an end.
//!
//! Normally one `renameat2(RENAME_EXCHANGE)`: at every moment the old tree or the new one stands there,
//! and whatever lies in staging is garbage, before as after. Where the directory itself cannot be moved
//! (a mount point, an unwritable parent, another owner, a file system without the exchange), its
//! children change places under two marks that say which way an interrupted swap has to go:
//! `moving-out` alone means back, `moving-in` means on.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, Gid, Mode, OFlags, RenameFlags, Uid};
use rustix::io::Errno;

use super::layout::Site;
use crate::directory::{Identity, open_folder};
use crate::walk::OWN_PREFIX;
use crate::{BeforeSwap, Error, Recovered};

/// The staged tree; after an exchange the old one.
pub(super) const TREE: &[u8] = b"tree";
/// The old children, while they change places one by one.
const OLD: &[u8] = b"old";
const MOVING_OUT: &[u8] = b"moving-out";
const MOVING_IN: &[u8] = b"moving-in";

/// Puts the staged tree into place. On an error the old tree stands as it did.
///
/// `before_swap` runs right before the first existing file is touched.
pub(super) fn swap(
    site: &Site,
    exchangeable: bool,
    before_swap: BeforeSwap<'_>,
) -> Result<(), Error> {
    let staging = site.open_staging()?;
    let fail = |error| Error::io("put the restored files into", &site.destination, error);
    before_swap().map_err(Error::Refused)?;
    let there = rustix::fs::statat(
        &site.parent,
        site.name.as_slice(),
        AtFlags::SYMLINK_NOFOLLOW,
    );
    let here = rustix::fs::fstat(&site.target).map_err(fail)?;
    if Identity::from(&there.map_err(fail)?) != Identity::from(&here) {
        return Err(fail(Errno::STALE));
    }
    if exchangeable {
        let flags = RenameFlags::EXCHANGE;
        let name = site.name.as_slice();
        match rustix::fs::renameat_with(&staging, TREE, &site.parent, name, flags) {
            Ok(()) => {
                // The swap has happened: a disk that cannot confirm it does not take it back.
                let _ = rustix::fs::fsync(&site.parent);
                let _ = rustix::fs::fsync(&staging);
                return Ok(());
            }
            Err(Errno::INVAL | Errno::NOSYS | Errno::BUSY) => {}
            Err(error) => return Err(fail(error)),
        }
    }
    swap_children(site, staging.as_fd()).map_err(fail)
}

/// Gives the staged root the owner and mode of the directory; false if the two can't change places.
pub(super) fn dress(site: &Site) -> Result<bool, Error> {
    let staging = site.open_staging()?;
    let fail = |error| Error::io("copy the mode of", &site.destination, error);
    if site.fixed {
        Ok(false)
    } else {
        dress_like(site, staging.as_fd()).map_err(fail)
    }
}

fn dress_like(site: &Site, staging: BorrowedFd<'_>) -> Result<bool, Errno> {
    let tree = open_folder(staging, TREE)?;
    let (like, own) = (rustix::fs::fstat(&site.target)?, rustix::fs::fstat(&tree)?);
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

fn swap_children(site: &Site, staging: BorrowedFd<'_>) -> Result<(), Errno> {
    match rustix::fs::mkdirat(staging, OLD, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    let old = open_folder(staging, OLD)?;
    let tree = open_folder(staging, TREE)?;
    mark(staging, MOVING_OUT)?;
    let moved = move_children(site.target.as_fd(), old.as_fd())
        .and_then(|()| rustix::fs::fsync(&old))
        .and_then(|()| mark(staging, MOVING_IN))
        .and_then(|()| move_children(tree.as_fd(), site.target.as_fd()))
        .and_then(|()| rustix::fs::fsync(&site.target));
    let Err(error) = moved else {
        // From here on staging is garbage.
        unmark(staging, MOVING_OUT)?;
        return unmark(staging, MOVING_IN);
    };
    undo(site, staging, &old, &tree)?;
    Err(error)
}

/// Brings the old children back. Killed in between, `recover` goes on where it stopped.
fn undo(site: &Site, staging: BorrowedFd<'_>, old: &OwnedFd, tree: &OwnedFd) -> Result<(), Errno> {
    if marked(staging, MOVING_IN) {
        move_children(site.target.as_fd(), tree.as_fd())?;
        unmark(staging, MOVING_IN)?;
    }
    move_children(old.as_fd(), site.target.as_fd())?;
    rustix::fs::fsync(&site.target)?;
    unmark(staging, MOVING_OUT)
}

/// Brings an interrupted swap to an end and removes the staging folder. The lock must be held.
pub(super) fn recover(site: &Site) -> Result<Recovered, Error> {
    let fail = |error| Error::io("recover", &site.destination, error);
    let staging = match open_folder(site.home.as_fd(), &site.staging) {
        Ok(staging) => staging,
        Err(Errno::NOENT) => return Ok(Recovered::Nothing),
        Err(error) => return Err(fail(error)),
    };
    let mut outcome = Recovered::Cleaned;
    if marked(staging.as_fd(), MOVING_OUT) {
        let old = open_folder(staging.as_fd(), OLD).map_err(fail)?;
        let tree = open_folder(staging.as_fd(), TREE).map_err(fail)?;
        if marked(staging.as_fd(), MOVING_IN) {
            move_children(tree.as_fd(), site.target.as_fd()).map_err(fail)?;
            rustix::fs::fsync(&site.target).map_err(fail)?;
            unmark(staging.as_fd(), MOVING_OUT).map_err(fail)?;
            unmark(staging.as_fd(), MOVING_IN).map_err(fail)?;
            outcome = Recovered::Finished;
        } else {
            undo(site, staging.as_fd(), &old, &tree).map_err(fail)?;
            outcome = Recovered::Undone;
        }
    }
    drop(staging);
    site.remove_staging()?;
    Ok(outcome)
}

/// Moves every child from one folder to the other; one that stands in the way changes places.
fn move_children(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut names = Vec::new();
    let mut listing = Dir::read_from(from)?;
    while let Some(entry) = listing.read() {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." && !name.starts_with(OWN_PREFIX) {
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
            // A file system without these flags: nothing stands in the way but what came meanwhile.
            Err(Errno::INVAL | Errno::NOSYS) => rustix::fs::renameat(from, name, to, name)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn mark(staging: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
    let file = rustix::fs::openat(staging, name, flags, Mode::RUSR | Mode::WUSR)?;
    rustix::fs::fsync(&file)?;
    rustix::fs::fsync(staging)
}

fn unmark(staging: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    match rustix::fs::unlinkat(staging, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => rustix::fs::fsync(staging),
        Err(error) => Err(error),
    }
}

/// Says whether the staging folder may hold a server's own files.
pub(super) fn is_marked(staging: BorrowedFd<'_>) -> bool {
    marked(staging, MOVING_OUT) || marked(staging, MOVING_IN)
}

fn marked(staging: BorrowedFd<'_>, name: &[u8]) -> bool {
    rustix::fs::statat(staging, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}
