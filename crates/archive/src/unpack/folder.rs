//! The folders of the staging tree: finished after the last entry below them is written.
//!
//! A folder whose own entry comes after its contents is entered any number of times before that.
//! Until then it has the attributes of a folder without an entry, and entering or leaving it
//! changes nothing. If entries follow the own entry of a folder, its attributes are read, and set
//! again when it is left.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, Stat};
use rustix::io::Errno;

use super::attributes::{AttributePolicy, Attributes};
use super::entry_error::entry_error;
use super::handle::{FinalAttributes, FolderHandle, Problems, Unfinished};
use super::refused::Refused;
use super::small_files::SmallFilePool;
use crate::Error;
use crate::acl::{self, Acls};
use crate::directory::{FOLDER_FLAGS, Identity};
use crate::entry_check::{FolderState, KnownFolder};
use crate::tar_format::{Time, Xattrs};

/// The bits of a mode that `chmod` sets.
const MODE_BITS: u32 = 0o7777;

/// A folder on the way to the current one.
struct Level {
    name: Vec<u8>,
    identity: Identity,
    /// `None` while the folder is closed. Only the deepest folders stay open.
    folder: Option<Arc<FolderHandle>>,
    /// What to set when the folder is left; `None` if its own entry has not come.
    last: Option<FinalAttributes>,
}

/// The entry of a folder.
pub(super) struct NewFolder<'a> {
    /// The path in the archive, for error messages.
    pub(super) path: &'a [u8],
    pub(super) name: &'a [u8],
    pub(super) state: FolderState,
    pub(super) attributes: Attributes,
}

/// The folders from the root of the staging tree to the current one.
pub(super) struct StagingTree {
    levels: Vec<Level>,
    policy: AttributePolicy,
    pub(super) small_files: SmallFilePool,
    problems: Arc<Problems>,
    unfinished: Arc<Unfinished>,
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
        let level = Level {
            name: Vec::new(),
            identity,
            folder: Some(Arc::new(FolderHandle::new(root))),
            // The root keeps its attributes.
            last: None,
        };
        Ok(Self {
            levels: vec![level],
            policy,
            small_files,
            problems,
            unfinished: Arc::default(),
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

    /// Returns the current folder, if it has this path.
    pub(super) fn current_at(&self, parts: &[&[u8]]) -> Option<Arc<FolderHandle>> {
        let levels = &self.levels[1..];
        let is_there = levels.len() == parts.len()
            && levels
                .iter()
                .zip(parts)
                .all(|(level, part)| level.name == *part);
        is_there.then(|| self.current().ok()).flatten()
    }

    /// Makes a folder the current one. Creates missing folders on the way. `path` is the entry that
    /// needs it.
    pub(super) fn enter(
        &mut self,
        path: &[u8],
        folders: &[KnownFolder],
    ) -> Result<Arc<FolderHandle>, Error> {
        let shared = self.levels[1..]
            .iter()
            .zip(folders)
            .take_while(|(level, folder)| level.name == folder.name)
            .count();
        while self.levels.len() > shared + 1 {
            self.leave(path)?;
        }
        for folder in &folders[shared..] {
            self.descend(path, &folder.name, folder.state)?;
        }
        self.current().map_err(|error| entry_error(path, error))
    }

    /// Creates the folder of an entry, or gives its attributes to a folder that was needed before.
    pub(super) fn add_folder(
        &mut self,
        parents: &[KnownFolder],
        new: NewFolder<'_>,
    ) -> Result<(), Error> {
        let fail = |error| entry_error(new.path, error);
        let parent = self.enter(new.path, parents)?;
        let mut attributes = new.attributes;
        let mut mode_is_set = false;
        match new.state {
            FolderState::Missing => {
                rustix::fs::mkdirat(parent.as_fd(), new.name, Mode::RWXU).map_err(fail)?;
                self.open(parent.as_fd(), new.name).map_err(fail)?;
            }
            FolderState::Implicit => {
                let stat = self.open(parent.as_fd(), new.name).map_err(fail)?;
                if self.unfinished.contains(Identity::from(&stat)) {
                    self.small_files.wait()?;
                }
                let owner = (stat.st_uid, stat.st_gid);
                // Changing an owner may take away bits of the mode.
                attributes
                    .owner
                    .take_if(|(uid, gid)| (uid.as_raw(), gid.as_raw()) == owner);
                mode_is_set = stat.st_mode & MODE_BITS == attributes.mode
                    && attributes.owner.is_none()
                    && attributes.acls.is_empty();
            }
            FolderState::Complete | FolderState::Unknown => {
                self.descend(new.path, new.name, new.state)?;
            }
        }
        if let Some(level) = self.levels.last_mut() {
            level.last = Some(FinalAttributes {
                attributes,
                mode_is_set,
            });
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
        self.problems.check()
    }

    fn current(&self) -> Result<Arc<FolderHandle>, Errno> {
        self.levels
            .last()
            .and_then(|level| level.folder.clone())
            .ok_or(Errno::BADF)
    }

    /// Enters a folder of the current one. Creates it if it is missing.
    fn descend(&mut self, path: &[u8], name: &[u8], state: FolderState) -> Result<(), Error> {
        let fail = |error| entry_error(path, error);
        let parent = self.current().map_err(fail)?;
        let parent = parent.as_fd();
        match state {
            FolderState::Implicit => self.open(parent, name).map(drop).map_err(fail),
            FolderState::Complete => self.reopen(path, parent, name),
            FolderState::Missing | FolderState::Unknown => {
                let attributes = Attributes::of_implicit_folder(self.policy);
                let mode = Mode::from_raw_mode(attributes.mode);
                match rustix::fs::mkdirat(parent, name, mode) {
                    Ok(()) => self
                        .open(parent, name)
                        .and_then(|stat| self.make_implicit(&attributes, &stat))
                        .map_err(fail),
                    // The name was forgotten, or the file system does not distinguish it from
                    // another one.
                    Err(Errno::EXIST) => self.reopen(path, parent, name),
                    Err(error) => Err(fail(error)),
                }
            }
        }
    }

    /// Sets the attributes of the current folder, which is new and has no entry so far.
    fn make_implicit(&self, attributes: &Attributes, stat: &Stat) -> Result<(), Errno> {
        let mode_is_set = stat.st_mode & MODE_BITS == attributes.mode;
        if mode_is_set && attributes.owner.is_none() {
            return Ok(());
        }
        // What is refused here is counted with the folder's own entry.
        let folder = self.current()?;
        attributes.apply(folder.as_fd(), mode_is_set, &Refused::default())
    }

    /// Opens a folder again whose attributes are set, so that entries can be added.
    fn reopen(&mut self, path: &[u8], parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Error> {
        let fail = |error| entry_error(path, error);
        let look = || rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(fail);
        let mut stat = look()?;
        if self.unfinished.contains(Identity::from(&stat)) {
            self.small_files.wait()?;
            stat = look()?;
        }
        let last = self.open_finished(parent, name, &stat).map_err(fail)?;
        if let Some(level) = self.levels.last_mut() {
            level.last = Some(last);
        }
        Ok(())
    }

    /// Opens a folder with final attributes. Returns those.
    fn open_finished(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        stat: &Stat,
    ) -> Result<FinalAttributes, Errno> {
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Err(Errno::NOTDIR);
        }
        let mut mode_is_set = stat.st_mode & 0o700 == 0o700;
        if !mode_is_set {
            rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
        }
        let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
        let mut attributes = Attributes {
            mode: stat.st_mode & MODE_BITS,
            owner: None,
            mtime: Some(Time {
                seconds: stat.st_mtime,
                nanoseconds,
            }),
            acls: Acls::default(),
            xattrs: Xattrs::new(),
            is_folder: true,
        };
        self.open(parent, name)?;
        let folder = self.current()?;
        attributes.acls.default = acl::read(folder.as_fd(), acl::DEFAULT)?;
        if attributes.acls.default.is_some() {
            // New entries must not inherit it.
            attributes.acls.access = acl::read(folder.as_fd(), acl::ACCESS)?;
            acl::remove_inherited(folder.as_fd())?;
            mode_is_set = false;
        }
        Ok(FinalAttributes {
            attributes,
            mode_is_set,
        })
    }

    /// Opens a folder and makes it the current one. Closes one far above it.
    fn open(&mut self, parent: BorrowedFd<'_>, name: &[u8]) -> Result<Stat, Errno> {
        let handle = rustix::fs::openat(parent, name, FOLDER_FLAGS, Mode::empty())?;
        let stat = rustix::fs::fstat(&handle)?;
        self.levels.push(Level {
            name: name.to_vec(),
            identity: Identity::from(&stat),
            folder: Some(Arc::new(FolderHandle::new(handle))),
            last: None,
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
        Ok(stat)
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
        let known = (level.name, level.identity);
        folder.leave(level.last, known, &self.problems, &self.unfinished);
        self.problems.check()
    }
}
