//! `truncate: false`: what the archive does not bring joins the staged tree as hard links.
//!
//! So an overlay is the same single swap as a full restore, and nothing of the server is touched before
//! it. What both have is the archive's; folders keep the attributes that the archive gives them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::layout::Site;
use super::swap::TREE;
use crate::directory::{Folders, Identity, open_folder};
use crate::error::lossy;
use crate::walk::OWN_PREFIX;
use crate::{Control, Error};

/// A pair of folders: what is in the first joins the second.
struct Pair {
    names: Vec<(Vec<u8>, FileType)>,
    /// What the staged folder is to look like again afterwards.
    staged: Stat,
}

/// Links everything of the destination that the staged tree lacks into it.
pub(super) fn keep_others(site: &Site, control: &Control) -> Result<(), Error> {
    let staging = site.open_staging()?;
    let fail = |error| Error::io("read", &site.destination, error);
    let staged = open_folder(staging.as_fd(), TREE).map_err(fail)?;
    let present = site
        .target
        .try_clone()
        .map_err(|error| Error::io("read", &site.destination, error))?;
    let present = open_folder(present.as_fd(), b".").map_err(fail)?;
    let mut path: Vec<Vec<u8>> = Vec::new();
    merge(present, staged, control, &mut path).map_err(|error| match error {
        Errno::CANCELED => Error::Cancelled,
        error => {
            let below = lossy(&path.join(&b'/'));
            Error::io("keep", &site.destination.join(below), error)
        }
    })
}

fn merge(
    present: OwnedFd,
    staged: OwnedFd,
    control: &Control,
    path: &mut Vec<Vec<u8>>,
) -> Result<(), Errno> {
    let mut pairs = vec![pair(present.as_fd(), staged.as_fd())?];
    pairs[0]
        .names
        .retain(|(name, _)| !name.starts_with(OWN_PREFIX));
    let mut from = Folders::new(present)?;
    let mut to = Folders::new(staged)?;
    while let Some(current) = pairs.last_mut() {
        if control.is_cancelled() {
            return Err(Errno::CANCELED);
        }
        let Some((name, kind)) = current.names.pop() else {
            let Some(done) = pairs.pop() else { break };
            restore_attributes(to.top()?.as_fd(), &done.staged)?;
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
            keep(from.top()?.as_fd(), to.top()?.as_fd(), name, kind)?
        {
            let next = pair(below_from.as_fd(), below_to.as_fd())?;
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

/// Brings one name over; a folder is returned to be gone through.
fn keep(
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
                copy(from, to, name).map(|()| None)
            }
            Err(error) => Err(error),
        };
    }
    let below_from = open_folder(from, name)?;
    match rustix::fs::mkdirat(to, name, Mode::RWXU) {
        Ok(()) => {
            let stat = rustix::fs::fstat(&below_from)?;
            let below_to = open_folder(to, name)?;
            own(below_to.as_fd(), &stat)?;
            restore_attributes(below_to.as_fd(), &stat)?;
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
            // Opened with the rights that it takes, its own come back when it is done.
            rustix::fs::chmodat(to, name, Mode::RWXU, AtFlags::empty())?;
            let below_to = open_folder(to, name)?;
            rustix::fs::fchmod(&below_to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
            Ok(Some((below_from, below_to)))
        }
        Err(error) => Err(error),
    }
}

fn pair(present: BorrowedFd<'_>, staged: BorrowedFd<'_>) -> Result<Pair, Errno> {
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
    Ok(Pair {
        names,
        staged: stat,
    })
}

/// Gives a new folder the owner of the one it stands for, as far as the process may.
fn own(folder: BorrowedFd<'_>, like: &Stat) -> Result<(), Errno> {
    let owner = (
        Some(Uid::from_raw(like.st_uid)),
        Some(Gid::from_raw(like.st_gid)),
    );
    match rustix::fs::fchown(folder, owner.0, owner.1) {
        Ok(()) | Err(Errno::PERM) => Ok(()),
        Err(error) => Err(error),
    }
}

fn restore_attributes(folder: BorrowedFd<'_>, like: &Stat) -> Result<(), Errno> {
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

/// Where the system forbids a link (a stranger's file, too many names), a copy has to do.
fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
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
    own(target.as_fd(), &stat)?;
    restore_attributes(target.as_fd(), &stat)
}
