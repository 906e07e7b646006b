//! The folders of the staging tree: opened once, finished after the last entry below them is
//! written.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;

use super::entry_error::entry_error;
use super::file::Attributes;
use super::handle::{FirstError, FolderHandle};
use super::small_files::SmallFilePool;
use crate::Error;
use crate::directory::{FOLDER_FLAGS, Identity};
use crate::tar_format::Time;

/// A folder on the way to the current one.
struct Level {
    name: Vec<u8>,
    identity: Identity,
    /// `None` while the folder is closed. Only the deepest folders stay open.
    folder: Option<Arc<FolderHandle>>,
    /// The attributes to set at the end; `None` if the archive has no entry for the folder yet.
    attributes: Option<Attributes>,
}

/// The folders from the root of the staging tree to the current one.
pub(super) struct StagingTree {
    levels: Vec<Level>,
    /// Folders that were created for their contents, and whose own entry may still follow.
    implicit: HashSet<Vec<u8>>,
    /// The pool that writes small files. It must be idle before a folder is opened again.
    pub(super) small_files: SmallFilePool,
    errors: Arc<FirstError>,
}

impl StagingTree {
    /// The most folders that are open at once.
    const MAX_OPEN: usize = 96;
    /// The most implicit folders. Each takes memory until its entry follows.
    const MAX_IMPLICIT: usize = 50_000;

    pub(super) fn new(
        root: OwnedFd,
        small_files: SmallFilePool,
        errors: Arc<FirstError>,
    ) -> Result<Self, Error> {
        let identity = rustix::fs::fstat(&root).map(|stat| Identity::from(&stat));
        let identity = identity.map_err(|error| entry_error(b"", error))?;
        let folder = Some(Arc::new(FolderHandle::new(root)));
        let level = Level {
            name: Vec::new(),
            identity,
            folder,
            attributes: None,
        };
        Ok(Self {
            levels: vec![level],
            implicit: HashSet::new(),
            small_files,
            errors,
        })
    }

    /// Returns the root of the tree.
    pub(super) fn root(&self) -> Arc<FolderHandle> {
        // Only folders between the root and the current one are closed.
        self.levels[0]
            .folder
            .clone()
            .unwrap_or_else(|| unreachable!("the root stays open"))
    }

    /// Returns whether the current folder has this path.
    pub(super) fn is_at(&self, parts: &[&[u8]]) -> bool {
        self.levels.len() == parts.len() + 1
            && self.levels[1..]
                .iter()
                .zip(parts)
                .all(|(level, part)| level.name == *part)
    }

    /// Makes a folder the current one. Creates missing folders on the way.
    pub(super) fn enter(
        &mut self,
        path: &[u8],
        parts: &[&[u8]],
    ) -> Result<Arc<FolderHandle>, Error> {
        let shared = self.levels[1..]
            .iter()
            .zip(parts)
            .take_while(|(level, part)| level.name == **part)
            .count();
        while self.levels.len() > shared + 1 {
            self.leave(path)?;
        }
        for (depth, part) in parts.iter().enumerate().skip(shared) {
            self.descend(path, &parts[..depth], part)?;
        }
        self.current().map_err(|error| entry_error(path, error))
    }

    /// Creates the folder of an entry, or sets the attributes of an implicit folder.
    pub(super) fn add_folder(
        &mut self,
        path: &[u8],
        parts: &[&[u8]],
        attributes: Attributes,
    ) -> Result<(), Error> {
        let Some((name, parents)) = parts.split_last() else {
            return Ok(());
        };
        let known = self.implicit.remove(&parts.join(&b'/'));
        if known {
            self.enter(path, parts)?;
        } else {
            let parent = self.enter(path, parents)?;
            let made = rustix::fs::mkdirat(parent.as_fd(), *name, Mode::RWXU);
            made.map_err(|error| entry_error(path, error))?;
            self.open(parent.as_fd(), name, None)
                .map_err(|error| entry_error(path, error))?;
        }
        if let Some(level) = self.levels.last_mut() {
            level.attributes = Some(attributes);
        }
        Ok(())
    }

    /// Finishes all folders. Returns the first error of a background thread, if any.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        self.small_files.wait()?;
        while self.levels.len() > 1 {
            self.leave(b"")?;
        }
        self.levels.clear();
        self.errors.check()
    }

    fn current(&self) -> Result<Arc<FolderHandle>, Errno> {
        self.levels
            .last()
            .and_then(|level| level.folder.clone())
            .ok_or(Errno::BADF)
    }

    /// Enters a folder of the current one. Creates it if it is missing.
    fn descend(&mut self, path: &[u8], parents: &[&[u8]], name: &[u8]) -> Result<(), Error> {
        let fail = |error| entry_error(path, error);
        let parent = self.current().map_err(fail)?;
        match rustix::fs::mkdirat(parent.as_fd(), name, Mode::RWXU) {
            Ok(()) => {
                if self.implicit.len() >= Self::MAX_IMPLICIT {
                    return Err(Error::hostile(path, "too many folders have no entry"));
                }
                let mut full = parents.to_vec();
                full.push(name);
                self.implicit.insert(full.join(&b'/'));
                self.open(parent.as_fd(), name, None).map_err(fail)
            }
            Err(Errno::EXIST) => {
                // The folder is finished already. Its attributes are set again when it is left.
                self.small_files.wait()?;
                let stat = rustix::fs::statat(parent.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW);
                let stat = stat.map_err(fail)?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                    return Err(fail(Errno::NOTDIR));
                }
                if stat.st_mode & 0o700 != 0o700 {
                    rustix::fs::chmodat(parent.as_fd(), name, Mode::RWXU, AtFlags::empty())
                        .map_err(fail)?;
                }
                let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
                let attributes = Attributes {
                    mode: stat.st_mode & 0o7777,
                    owner: None,
                    mtime: Time {
                        seconds: stat.st_mtime,
                        nanoseconds,
                    },
                    xattrs: Vec::new(),
                };
                self.open(parent.as_fd(), name, Some(attributes))
                    .map_err(fail)
            }
            Err(error) => Err(fail(error)),
        }
    }

    /// Opens a folder and makes it the current one. Closes one far above it.
    fn open(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        attributes: Option<Attributes>,
    ) -> Result<(), Errno> {
        let handle = rustix::fs::openat(parent, name, FOLDER_FLAGS, Mode::empty())?;
        let identity = Identity::from(&rustix::fs::fstat(&handle)?);
        let folder = Some(Arc::new(FolderHandle::new(handle)));
        self.levels.push(Level {
            name: name.to_vec(),
            identity,
            folder,
            attributes,
        });
        if let Some(closing) = self
            .levels
            .len()
            .checked_sub(Self::MAX_OPEN + 1)
            .filter(|&at| at > 0)
        {
            let level = &mut self.levels[closing];
            // A folder into which a small file is still to be written stays open.
            if level
                .folder
                .as_ref()
                .is_some_and(|folder| Arc::strong_count(folder) == 1)
            {
                level.folder = None;
            }
        }
        Ok(())
    }

    /// Returns to the parent. The folder is finished when its last reference is dropped.
    fn leave(&mut self, path: &[u8]) -> Result<(), Error> {
        let Some(level) = self.levels.pop() else {
            return Ok(());
        };
        let Some(folder) = level.folder else {
            return Err(entry_error(path, Errno::BADF));
        };
        if let Some(parent) = self.levels.last_mut()
            && parent.folder.is_none()
        {
            let opened = rustix::fs::openat(folder.as_fd(), "..", FOLDER_FLAGS, Mode::empty())
                .and_then(|handle| rustix::fs::fstat(&handle).map(|stat| (handle, stat)));
            let (handle, stat) = opened.map_err(|error| entry_error(path, error))?;
            if Identity::from(&stat) != parent.identity {
                return Err(entry_error(path, Errno::STALE));
            }
            parent.folder = Some(Arc::new(FolderHandle::new(handle)));
        }
        if let Some(attributes) = level.attributes {
            folder.apply_on_drop(attributes, level.name, Arc::clone(&self.errors));
        } else {
            // The archive has no entry for it, so it gets the usual mode.
            let mode = Mode::from_raw_mode(0o755);
            rustix::fs::fchmod(folder.as_fd(), mode).map_err(|error| entry_error(path, error))?;
        }
        self.errors.check()
    }
}
