//! Folders by handle: each step into a tree is one name relative to an open folder.
//!
//! No path with a slash is passed to the system, and no symlink is followed. This gives the
//! guarantees of `openat2` with `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`, on every kernel and at
//! any depth.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::Error;

/// The flags to open a folder that is read, or in which entries are opened.
pub(crate) const FOLDER_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK);

/// Opens the directory that the caller named, to read it. Only here a symlink as the last part is
/// followed.
pub(crate) fn open_source(source: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(source, flags, Mode::empty()).map_err(|error| open_error(source, error))
}

/// Opens a directory that the caller named, to reach entries by their names. The right to read it
/// is not needed. Without that right, the handle cannot be listed or synced.
pub(crate) fn open_to_pass(path: &Path) -> Result<OwnedFd, Error> {
    match open_source(path) {
        Err(Error::NoAccess { action: READ, .. }) => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open(path, flags, Mode::empty()).map_err(|error| open_error(path, error))
        }
        other => other,
    }
}

fn open_error(path: &Path, error: Errno) -> Error {
    match error {
        Errno::NOENT => Error::SourceMissing {
            path: path.to_path_buf(),
        },
        Errno::NOTDIR => Error::NotADirectory {
            path: path.to_path_buf(),
        },
        Errno::ACCESS => no_access(path).unwrap_or_else(|| Error::io("open", path, error)),
        _ => Error::io("open", path, error),
    }
}

/// Refuses a directory whose mode does not let this user list it and change its entries.
pub(crate) fn check_changeable(folder: &Path) -> Result<(), Error> {
    let wanted = [
        ("write into", Access::WRITE_OK | Access::EXEC_OK),
        (READ, Access::READ_OK),
    ];
    for (action, access) in wanted {
        if rustix::fs::accessat(CWD, folder, access, AtFlags::EACCESS) == Err(Errno::ACCESS)
            && let Some(error) = access_error(action, folder)
        {
            return Err(error);
        }
    }
    Ok(())
}

const READ: &str = "read";

/// Returns which folder refuses access to a path; `None` if it is not for its mode.
fn no_access(path: &Path) -> Option<Error> {
    let absolute = std::path::absolute(path).ok()?;
    let mut above: Vec<&Path> = absolute.ancestors().collect();
    above.reverse();
    let refuses = |folder: &Path, access| {
        rustix::fs::accessat(CWD, folder, access, AtFlags::EACCESS) == Err(Errno::ACCESS)
    };
    let closed = above.iter().find(|folder| refuses(folder, Access::EXEC_OK));
    let (action, folder) = match closed {
        // The folder that refuses is the one above the first path that cannot be reached.
        Some(folder) if rustix::fs::stat(*folder).is_ok() => ("pass through", *folder),
        Some(folder) => ("pass through", folder.parent()?),
        None if refuses(&absolute, Access::READ_OK) => (READ, absolute.as_path()),
        None => return None,
    };
    access_error(action, folder)
}

fn access_error(action: &'static str, folder: &Path) -> Option<Error> {
    let stat = rustix::fs::stat(folder).ok()?;
    Some(Error::NoAccess {
        action,
        folder: folder.to_path_buf(),
        mode: stat.st_mode & 0o7777,
        owner: stat.st_uid,
        user: rustix::process::geteuid().as_raw(),
    })
}

/// Identifies a folder or file on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

impl From<&Stat> for Identity {
    fn from(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
        }
    }
}

impl From<&(u64, u64)> for Identity {
    fn from(&(device, inode): &(u64, u64)) -> Self {
        Self { device, inode }
    }
}

/// The open folders from the root to the current one.
///
/// Only the deepest ones stay open, so that a tree can be deeper than the limit of open files. A
/// closed folder is opened again as the parent of its child, and must have the same identity.
pub(crate) struct FolderStack {
    stack: Vec<(Identity, Option<Rc<OwnedFd>>)>,
}

impl FolderStack {
    /// The most folders that are open at once.
    const MAX_OPEN: usize = 96;

    pub(crate) fn new(root: OwnedFd) -> Result<Self, Errno> {
        let identity = Identity::from(&rustix::fs::fstat(&root)?);
        Ok(Self {
            stack: vec![(identity, Some(Rc::new(root)))],
        })
    }

    /// Returns the current folder.
    pub(crate) fn current(&self) -> Result<Rc<OwnedFd>, Errno> {
        self.stack
            .last()
            .and_then(|(_, folder)| folder.clone())
            .ok_or(Errno::BADF)
    }

    /// Makes `folder`, a child of the current folder, the current one.
    pub(crate) fn push(&mut self, folder: OwnedFd, identity: Identity) {
        self.stack.push((identity, Some(Rc::new(folder))));
        if let Some(closing) = self.stack.len().checked_sub(Self::MAX_OPEN + 1) {
            self.stack[closing].1 = None;
        }
    }

    /// Makes the parent the current folder.
    pub(crate) fn pop(&mut self) -> Result<(), Errno> {
        let Some((_, child)) = self.stack.pop() else {
            return Err(Errno::BADF);
        };
        let Some((identity, parent)) = self.stack.last_mut() else {
            return Ok(());
        };
        if parent.is_none() {
            let child = child.ok_or(Errno::BADF)?;
            let found = rustix::fs::openat(child.as_fd(), "..", FOLDER_FLAGS, Mode::empty())?;
            if Identity::from(&rustix::fs::fstat(&found)?) != *identity {
                return Err(Errno::STALE);
            }
            *parent = Some(Rc::new(found));
        }
        Ok(())
    }
}

/// Makes the entries of a folder durable, where the file system can.
pub(crate) fn sync_folder(folder: impl AsFd) -> Result<(), Errno> {
    match rustix::fs::fsync(folder) {
        // Some file systems sync only files.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::BADF | Errno::ISDIR) => Ok(()),
        other => other,
    }
}

/// Opens the folder `name` in `parent`. Fails if it is a symlink.
pub(crate) fn open_folder(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(parent, name, FOLDER_FLAGS, Mode::empty())
}
