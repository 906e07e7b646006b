//! Folders by handle: every step into a tree is one name relative to an open folder.
//!
//! No path with a slash is ever handed to the system and no symlink is ever followed, which is what
//! `openat2` with its `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS` would promise, on every kernel, at
//! any depth.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::Error;

/// How a folder is opened to read it and to work below it.
pub(crate) const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK);

/// Opens the directory that an operator named; only here a symlink as the last part is followed.
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

/// What tells one folder or file from every other.
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

/// The folders from the root to the one being worked on.
///
/// Only the deepest ones are kept open, so that a tree can be deeper than a process may have files
/// open; one that was closed is opened again from below, and must still be the same folder.
pub(crate) struct Folders {
    stack: Vec<(Identity, Option<Rc<OwnedFd>>)>,
}

impl Folders {
    const OPEN: usize = 96;

    pub(crate) fn new(root: OwnedFd) -> Result<Self, Errno> {
        let identity = Identity::from(&rustix::fs::fstat(&root)?);
        Ok(Self {
            stack: vec![(identity, Some(Rc::new(root)))],
        })
    }

    /// The folder being worked on.
    pub(crate) fn top(&self) -> Result<Rc<OwnedFd>, Errno> {
        self.stack
            .last()
            .and_then(|(_, folder)| folder.clone())
            .ok_or(Errno::BADF)
    }

    pub(crate) fn push(&mut self, folder: OwnedFd, identity: Identity) {
        self.stack.push((identity, Some(Rc::new(folder))));
        if let Some(closing) = self.stack.len().checked_sub(Self::OPEN + 1) {
            self.stack[closing].1 = None;
        }
    }

    /// Goes back to the parent folder.
    pub(crate) fn pop(&mut self) -> Result<(), Errno> {
        let Some((_, child)) = self.stack.pop() else {
            return Err(Errno::BADF);
        };
        let Some((identity, parent)) = self.stack.last_mut() else {
            return Ok(());
        };
        if parent.is_none() {
            let child = child.ok_or(Errno::BADF)?;
            let found = rustix::fs::openat(child.as_fd(), "..", FOLDER, Mode::empty())?;
            if Identity::from(&rustix::fs::fstat(&found)?) != *identity {
                return Err(Errno::STALE);
            }
            *parent = Some(Rc::new(found));
        }
        Ok(())
    }
}

/// Opens the folder `name` inside of `parent`, which must not be a symlink.
pub(crate) fn open_folder(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(parent, name, FOLDER, Mode::empty())
}
