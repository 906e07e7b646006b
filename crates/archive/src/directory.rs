//! Folders by handle: each step into a tree is one name relative to an open folder.
//!
//! No path with a slash is passed to the system, and no symlink is followed. This gives the
//! guarantees of `openat2` with `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`, on every kernel and at
//! any depth.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::Error;

/// The flags to open a folder that is read, or in which entries are opened.
pub(crate) const FOLDER_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK);

/// Opens the directory that the caller named. Only here a symlink as the last part is followed.
pub(crate) fn open_source(source: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(source, flags, Mode::empty()).map_err(|error| match error {
        Errno::NOENT => Error::SourceMissing {
            path: source.to_path_buf(),
        },
        Errno::NOTDIR => Error::NotADirectory {
            path: source.to_path_buf(),
        },
        _ => Error::io("open", source, error),
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
