//! Keeps files that are not in the archive (`truncate: false`): hard-links them into the staged
//! tree.
//!
//! The restore then needs the same single swap as a full one, and changes nothing of the server
//! before it. Entries that both trees have come from the archive, and so do the attributes of
//! folders.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::layout::{RestoreLayout, TREE};
use crate::directory::{FolderStack, Identity, open_folder};
use crate::error::lossy;
use crate::walk::HOLDFAST_PREFIX;
use crate::{Control, Error};

/// A folder of the server, whose entries are linked into the same folder of the staged tree.
struct FolderPair {
    names: Vec<(Vec<u8>, FileType)>,
    /// The attributes of the staged folder, which are set again at the end.
    staged: Stat,
}

/// Links all entries of the destination that the staged tree does not have into it.
pub(super) fn keep_others(layout: &RestoreLayout, control: &Control) -> Result<(), Error> {
    let staging = layout.open_staging()?;
    let fail = |error| Error::io("read", &layout.destination, error);
    let staged = open_folder(staging.as_fd(), TREE).map_err(fail)?;
    let present = layout
        .target
        .try_clone()
        .map_err(|error| Error::io("read", &layout.destination, error))?;
    let present = open_folder(present.as_fd(), b".").map_err(fail)?;
    let mut path: Vec<Vec<u8>> = Vec::new();
    merge(present, staged, control, &mut path).map_err(|error| match error {
        Errno::CANCELED => Error::Cancelled,
        error => {
            let below = lossy(&path.join(&b'/'));
            Error::io("keep", &layout.destination.join(below), error)
        }
    })
}

fn merge(
    present: OwnedFd,
    staged: OwnedFd,
    control: &Control,
    path: &mut Vec<Vec<u8>>,
) -> Result<(), Errno> {
    let mut pairs = vec![folder_pair(present.as_fd(), staged.as_fd())?];
    pairs[0]
        .names
        .retain(|(name, _)| !name.starts_with(HOLDFAST_PREFIX));
    let mut from = FolderStack::new(present)?;
    let mut to = FolderStack::new(staged)?;
    while let Some(current) = pairs.last_mut() {
        if control.is_cancelled() {
            return Err(Errno::CANCELED);
        }
        let Some((name, kind)) = current.names.pop() else {
            let Some(done) = pairs.pop() else { break };
            set_attributes(to.current()?.as_fd(), &done.staged)?;
            if pairs.is_empty() {
                break;
            }
            path.pop();
            from.pop()?;
            to.pop()?;
            continue;
        };
        path.push(name);
        let name = path.last().map_or(&b""[..], Vec::as_slice);
        if let Some((below_from, below_to)) =
            keep_entry(from.current()?.as_fd(), to.current()?.as_fd(), name, kind)?
        {
            let next = folder_pair(below_from.as_fd(), below_to.as_fd())?;
            let identity = Identity::from(&rustix::fs::fstat(&below_from)?);
            from.push(below_from, identity);
            to.push(below_to, Identity::from(&next.staged));
            pairs.push(next);
        } else {
            path.pop();
        }
    }
    Ok(())
}

/// Links or copies one entry. Returns a folder, which the caller must merge.
fn keep_entry(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &[u8],
    kind: FileType,
) -> Result<Option<(OwnedFd, OwnedFd)>, Errno> {
    let is_folder = match kind {
        FileType::Directory => true,
        FileType::Unknown => {
            let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
            FileType::from_raw_mode(stat.st_mode) == FileType::Directory
        }
        _ => false,
    };
    if !is_folder {
        return match rustix::fs::linkat(from, name, to, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::EXIST) => Ok(None),
            Err(Errno::PERM | Errno::MLINK | Errno::OPNOTSUPP) => {
                copy_file(from, to, name).map(|()| None)
            }
            Err(error) => Err(error),
        };
    }
    let below_from = open_folder(from, name)?;
    match rustix::fs::mkdirat(to, name, Mode::RWXU) {
        Ok(()) => {
            let stat = rustix::fs::fstat(&below_from)?;
            let below_to = open_folder(to, name)?;
            copy_owner(below_to.as_fd(), &stat)?;
            set_attributes(below_to.as_fd(), &stat)?;
            Ok(Some((below_from, below_to)))
        }
        Err(Errno::EXIST) => {
            let stat = rustix::fs::statat(to, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                return Ok(None);
            }
            if stat.st_mode & 0o700 == 0o700 || rustix::process::geteuid().is_root() {
                return Ok(Some((below_from, open_folder(to, name)?)));
            }
            // Its mode does not allow opening it. It is set back at once.
            rustix::fs::chmodat(to, name, Mode::RWXU, AtFlags::empty())?;
            let below_to = open_folder(to, name)?;
            rustix::fs::fchmod(&below_to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
            Ok(Some((below_from, below_to)))
        }
        Err(error) => Err(error),
    }
}

/// Lists a folder of the server, and makes the staged folder writable.
fn folder_pair(present: BorrowedFd<'_>, staged: BorrowedFd<'_>) -> Result<FolderPair, Errno> {
    let stat = rustix::fs::fstat(staged)?;
    if stat.st_mode & 0o700 != 0o700 {
        rustix::fs::fchmod(staged, Mode::RWXU)?;
    }
    let mut names = Vec::new();
    let mut listing = Dir::read_from(present)?;
    while let Some(entry) = listing.read() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push((name.to_vec(), entry.file_type()));
        }
    }
    Ok(FolderPair {
        names,
        staged: stat,
    })
}

/// Copies the owner, if the process is allowed to.
fn copy_owner(folder: BorrowedFd<'_>, like: &Stat) -> Result<(), Errno> {
    let owner = (
        Some(Uid::from_raw(like.st_uid)),
        Some(Gid::from_raw(like.st_gid)),
    );
    match rustix::fs::fchown(folder, owner.0, owner.1) {
        Ok(()) | Err(Errno::PERM) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Sets mode and times.
fn set_attributes(folder: BorrowedFd<'_>, like: &Stat) -> Result<(), Errno> {
    rustix::fs::fchmod(folder, Mode::from_raw_mode(like.st_mode & 0o7777))?;
    let time = |tv_sec, nanoseconds| Timespec {
        tv_sec,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or(0),
    };
    let times = Timestamps {
        last_access: time(like.st_atime, like.st_atime_nsec),
        last_modification: time(like.st_mtime, like.st_mtime_nsec),
    };
    rustix::fs::futimens(folder, &times)
}

/// Copies a file that cannot be linked, because of its owner or its number of links.
fn copy_file(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let source = rustix::fs::openat(from, name, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&source)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Errno::PERM);
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = rustix::fs::openat(to, name, flags, Mode::RUSR | Mode::WUSR)?;
    let mut source = std::fs::File::from(source);
    let mut target = std::fs::File::from(target);
    std::io::copy(&mut source, &mut target)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    copy_owner(target.as_fd(), &stat)?;
    set_attributes(target.as_fd(), &stat)
}
