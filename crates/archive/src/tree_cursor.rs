//! Opens the folders of a plan, one after another, without following a symlink.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::Mode;
use rustix::io::{Errno, fcntl_dupfd_cloexec, retry_on_intr};

use crate::directory::{FOLDER_FLAGS, FolderStack, Identity};
use crate::plan::{FolderId, Plan};

/// A position in a tree: an open folder of a plan, and the way to it.
pub(crate) struct TreeCursor<'a> {
    plan: &'a Plan,
    root: BorrowedFd<'a>,
    folders: FolderStack,
    /// The folders from the one below the root to the current one, each with the length of its
    /// path.
    chain: Vec<(FolderId, usize)>,
    /// The path of the current folder.
    path: Vec<u8>,
}

impl<'a> TreeCursor<'a> {
    /// Starts at the root of a plan.
    pub(crate) fn new(root: BorrowedFd<'a>, plan: &'a Plan) -> Result<Self, Errno> {
        Ok(Self {
            plan,
            folders: FolderStack::new(fcntl_dupfd_cloexec(root, 0)?)?,
            root,
            chain: Vec::new(),
            path: Vec::new(),
        })
    }

    /// Makes a folder the current one, and returns it.
    ///
    /// # Errors
    /// The first error on the way. The cursor then stays above the folder.
    pub(crate) fn enter(&mut self, folder: FolderId) -> Result<Rc<OwnedFd>, Errno> {
        let plan = self.plan;
        // The folders to enter, the deepest first.
        let mut below = Vec::new();
        let mut shared = folder;
        while shared != FolderId::ROOT {
            let depth = plan.depth(shared);
            if self
                .chain
                .get(depth - 1)
                .is_some_and(|&(id, _)| id == shared)
            {
                break;
            }
            below.push(shared);
            shared = plan.parent(shared);
        }
        while self.chain.len() > plan.depth(shared) {
            if let Err(error) = self.leave() {
                if error != Errno::STALE && error != Errno::NOENT {
                    return Err(error);
                }
                // A folder on the way was moved. It may be found from the root.
                self.folders = FolderStack::new(fcntl_dupfd_cloexec(self.root, 0)?)?;
                self.chain.clear();
                self.path.clear();
                return self.enter(folder);
            }
        }
        for id in below.into_iter().rev() {
            self.descend(id)?;
        }
        self.folders.current()
    }

    fn leave(&mut self) -> Result<(), Errno> {
        self.chain.pop();
        self.path
            .truncate(self.chain.last().map_or(0, |&(_, end)| end));
        self.folders.pop()
    }

    fn descend(&mut self, id: FolderId) -> Result<(), Errno> {
        let name = self.plan.folder_name(id);
        let parent = self.folders.current()?;
        let open = || rustix::fs::openat(&*parent, name, FOLDER_FLAGS, Mode::empty());
        let folder = retry_on_intr(open)?;
        let identity = Identity::from(&rustix::fs::fstat(&folder)?);
        self.folders.push(folder, identity);
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name);
        self.chain.push((id, self.path.len()));
        Ok(())
    }

    /// Calls `work` with the path of `name` in the current folder.
    pub(crate) fn with_path<T>(&mut self, name: &[u8], work: impl FnOnce(&[u8]) -> T) -> T {
        let end = self.path.len();
        if end > 0 {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name);
        let result = work(&self.path);
        self.path.truncate(end);
        result
    }

    /// Returns the path of the current folder.
    pub(crate) fn path(&self) -> &[u8] {
        &self.path
    }
}
