//! The ways to a path: in the server's directory, whose owner can change it at any time, and in the
//! staged tree. Neither follows a link.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;

use super::layout::RestoreLayout;
use crate::Error;
use crate::directory::open_folder;
use crate::error::lossy;

/// The way to a path in the server's directory.
pub(super) struct Way {
    /// The deepest folder on the way that exists.
    pub(super) folder: OwnedFd,
    /// How many names of the path it has.
    pub(super) depth: usize,
    /// What is at the path; `None` if it or a folder above it is missing.
    pub(super) present: Option<FileType>,
}

/// Follows a path in the server's directory, and refuses a link or file in place of a folder.
pub(super) fn find_way(layout: &RestoreLayout, parts: &[Vec<u8>]) -> Result<Way, Error> {
    let fail = |depth: usize, error| Error::io("read", &path_of(layout, &parts[..depth]), error);
    let mut folder = open_folder(layout.target.as_fd(), b".").map_err(|error| fail(0, error))?;
    for (depth, part) in parts.iter().enumerate() {
        let look = |error| fail(depth + 1, error);
        let present = kind_of(folder.as_fd(), part).map_err(look)?;
        if depth + 1 == parts.len() || present.is_none() {
            return Ok(Way {
                folder,
                depth,
                present,
            });
        }
        if present != Some(FileType::Directory) {
            return Err(Error::InTheWay {
                path: lossy(&parts[..=depth].join(&b'/')),
                reason: match present {
                    Some(FileType::Symlink) => {
                        "it is a link, and the backup has a folder there; restore this folder, or \
                         remove the link"
                    }
                    _ => {
                        "it is not a folder, and the backup has a folder there; restore this \
                         folder, or remove the file"
                    }
                },
            });
        }
        folder = open_folder(folder.as_fd(), part).map_err(look)?;
    }
    Err(fail(0, Errno::INVAL))
}

/// Opens the folder of the staged tree that holds the entry at a path.
pub(super) fn staged_parent(tree: &OwnedFd, parts: &[Vec<u8>]) -> Result<OwnedFd, Errno> {
    let mut folder = open_folder(tree.as_fd(), b".")?;
    for part in &parts[..parts.len().saturating_sub(1)] {
        folder = open_staged(folder.as_fd(), part)?;
    }
    Ok(folder)
}

/// Returns the kind of an entry; `None` if it does not exist.
pub(super) fn kind_of(folder: BorrowedFd<'_>, name: &[u8]) -> Result<Option<FileType>, Errno> {
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens a staged folder whatever its mode is. `folder_pair` makes it writable.
pub(super) fn open_staged(to: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    match open_folder(to, name) {
        Err(Errno::ACCESS) => {
            let stat = rustix::fs::statat(to, name, AtFlags::SYMLINK_NOFOLLOW)?;
            rustix::fs::chmodat(to, name, Mode::RWXU, AtFlags::empty())?;
            let folder = open_folder(to, name)?;
            // The mode is read again, and set again at the end.
            rustix::fs::fchmod(&folder, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
            Ok(folder)
        }
        other => other,
    }
}

pub(super) fn path_of(layout: &RestoreLayout, parts: &[Vec<u8>]) -> PathBuf {
    layout
        .destination
        .join(OsStr::from_bytes(&parts.join(&b'/')))
}
