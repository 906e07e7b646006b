//! The folders of the staging tree: opened once, finished after the last entry below them is
//! written.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;

use super::attributes::{AttributePolicy, Attributes};
use super::entry_error::entry_error;
use super::handle::{FolderHandle, Problems};
use super::small_files::SmallFilePool;
use crate::Error;
use crate::acl::{self, Acls};
use crate::directory::{FOLDER_FLAGS, Identity};
use crate::tar_format::{Time, Xattrs};

/// A folder on the way to the current one.
struct Level {
    name: Vec<u8>,
    identity: Identity,
    /// `None` while the folder is closed. Only the deepest folders stay open.
    folder: Option<Arc<FolderHandle>>,
    /// The attributes to set at the end.
    attributes: Attributes,
}

/// The folders from the root of the staging tree to the current one.
pub(super) struct StagingTree {
    levels: Vec<Level>,
    policy: AttributePolicy,
    /// The pool that writes small files. It must be idle before a folder is opened again.
    pub(super) small_files: SmallFilePool,
    problems: Arc<Problems>,
}

impl StagingTree {
    /// The most folders that are open at once.
    const MAX_OPEN: usize = 96;

    pub(super) fn new(
        root: OwnedFd,
        policy: AttributePolicy,
        small_files: SmallFilePool,
        problems: Arc<Problems>,
    ) -> Result<Self, Error> {
        let identity = rustix::fs::fstat(&root).map(|stat| Identity::from(&stat));
        let identity = identity.map_err(|error| entry_error(b"", error))?;
        // Every new entry would inherit the lists of the folder that the tree is staged in.
        acl::remove_inherited(root.as_fd()).map_err(|error| entry_error(b"", error))?;
        let folder = Some(Arc::new(FolderHandle::new(root)));
        let level = Level {
            name: Vec::new(),
            identity,
            folder,
            // The root keeps its attributes, so these are not used.
            attributes: Attributes::of_implicit_folder(policy),
        };
        Ok(Self {
            levels: vec![level],
            policy,
            small_files,
            problems,
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
        for part in parts.iter().skip(shared) {
            self.descend(path, part)?;
        }
        self.current().map_err(|error| entry_error(path, error))
    }

    /// Creates the folder of an entry. If it may exist, because an entry below it came first, it
    /// gets the attributes of its own entry.
    pub(super) fn add_folder(
        &mut self,
        path: &[u8],
        parts: &[&[u8]],
        may_exist: bool,
        attributes: Attributes,
    ) -> Result<(), Error> {
        let Some((name, parents)) = parts.split_last() else {
            return Ok(());
        };
        let parent = self.enter(path, parents)?;
        if may_exist {
            self.descend(path, name)?;
            if let Some(level) = self.levels.last_mut() {
                level.attributes = attributes;
            }
            return Ok(());
        }
        rustix::fs::mkdirat(parent.as_fd(), *name, Mode::RWXU)
            .and_then(|()| self.open(parent.as_fd(), name, attributes))
            .map_err(|error| entry_error(path, error))
    }

    /// Finishes all folders. Returns the first error of a background thread, if any.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        self.small_files.wait()?;
        while self.levels.len() > 1 {
            self.leave(b"")?;
        }
        self.levels.clear();
        self.problems.check()
    }

    fn current(&self) -> Result<Arc<FolderHandle>, Errno> {
        self.levels
            .last()
            .and_then(|level| level.folder.clone())
            .ok_or(Errno::BADF)
    }

    /// Enters a folder of the current one. Creates it if it is missing.
    fn descend(&mut self, path: &[u8], name: &[u8]) -> Result<(), Error> {
        let fail = |error| entry_error(path, error);
        let parent = self.current().map_err(fail)?;
        match rustix::fs::mkdirat(parent.as_fd(), name, Mode::RWXU) {
            Ok(()) => {
                let attributes = Attributes::of_implicit_folder(self.policy);
                self.open(parent.as_fd(), name, attributes).map_err(fail)
            }
            Err(Errno::EXIST) => {
                // The folder is finished already. Its attributes are set again when it is left.
                self.small_files.wait()?;
                self.reopen(parent.as_fd(), name).map_err(fail)
            }
            Err(error) => Err(fail(error)),
        }
    }

    /// Opens a finished folder again, so that entries can be added.
    fn reopen(&mut self, parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
        let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Err(Errno::NOTDIR);
        }
        if stat.st_mode & 0o700 != 0o700 {
            rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
        }
        let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
        let mut attributes = Attributes {
            mode: stat.st_mode & 0o7777,
            owner: None,
            mtime: Some(Time {
                seconds: stat.st_mtime,
                nanoseconds,
            }),
            acls: Acls::default(),
            xattrs: Xattrs::new(),
            is_folder: true,
        };
        let folder = rustix::fs::openat(parent, name, FOLDER_FLAGS, Mode::empty())?;
        attributes.acls.default = acl::read(folder.as_fd(), acl::DEFAULT)?;
        if attributes.acls.default.is_some() {
            // New entries must not inherit it.
            attributes.acls.access = acl::read(folder.as_fd(), acl::ACCESS)?;
            acl::remove_inherited(folder.as_fd())?;
        }
        self.push(folder, name, attributes)
    }

    /// Opens a folder and makes it the current one.
    fn open(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        attributes: Attributes,
    ) -> Result<(), Errno> {
        let handle = rustix::fs::openat(parent, name, FOLDER_FLAGS, Mode::empty())?;
        self.push(handle, name, attributes)
    }

    /// Makes an open folder the current one. Closes one far above it.
    fn push(&mut self, handle: OwnedFd, name: &[u8], attributes: Attributes) -> Result<(), Errno> {
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
        folder.apply_on_drop(level.attributes, level.name, Arc::clone(&self.problems));
        self.problems.check()
    }
}
