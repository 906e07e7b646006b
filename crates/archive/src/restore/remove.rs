//! Removes a tree of any depth, relative to folder handles, and never leaves its file system.
//!
//! What cannot be removed stays, and everything else goes. Attributes that forbid the removal
//! (immutable, append-only, a read-only btrfs snapshot) are cleared where the process may, because
//! the tree is Holdfast's own. A file that has another name elsewhere keeps its attributes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, IFlags, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

use crate::directory::{FolderStack, Identity, open_folder};

/// The inode number of the root of every btrfs subvolume.
const SUBVOLUME_INODE: u64 = 256;

/// What a removal has left.
#[derive(Debug, Default)]
pub(super) struct Remains {
    /// Files and folders that could not be removed, without the folders that only hold them.
    pub(super) entries: u64,
    /// The bytes that they take, as far as known.
    pub(super) bytes: u64,
    /// The first of them: its path below the tree, and why it stayed.
    pub(super) first: Option<(Vec<u8>, Errno)>,
}

impl Remains {
    /// Returns whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Adds what another removal has left.
    pub(super) fn add(&mut self, other: Self) {
        self.entries += other.entries;
        self.bytes += other.bytes;
        if self.first.is_none() {
            self.first = other.first;
        }
    }

    fn keep(&mut self, path: Vec<u8>, bytes: u64, error: Errno) {
        self.entries += 1;
        self.bytes += bytes;
        self.first.get_or_insert((path, error));
    }
}

/// Removes `name` in `parent` with everything below it. A missing entry is not an error.
pub(super) fn remove_tree(parent: BorrowedFd<'_>, name: &[u8]) -> Remains {
    let mut remains = Remains::default();
    match open_writable(parent, name) {
        Ok(root) => remains = remove_contents(root),
        Err(Errno::NOENT) => return remains,
        // An empty folder that cannot be read can still be removed.
        Err(Errno::ACCESS) => {}
        Err(error) => remains.keep(Vec::new(), 0, error),
    }
    if remains.is_empty()
        && let Err(error) = remove_folder(parent, name)
    {
        remains.keep(Vec::new(), 0, error);
    }
    remains
}

/// Removes everything in a folder.
pub(super) fn remove_contents(root: OwnedFd) -> Remains {
    let mut removal = Removal::default();
    if let Err(error) = removal.run(root) {
        let path = removal.path.join(&b'/');
        removal.remains.keep(path, 0, error);
    }
    removal.remains
}

#[derive(Default)]
struct Removal {
    remains: Remains,
    /// The names from the root to the current folder.
    path: Vec<Vec<u8>>,
}

impl Removal {
    fn run(&mut self, root: OwnedFd) -> Result<(), Errno> {
        let mount = mount_of(root.as_fd())?;
        let mut pending = vec![self.clear_files(root.as_fd())];
        // What was left when each folder was entered.
        let mut left_before = Vec::new();
        let mut folders = FolderStack::new(root)?;
        while let Some(below) = pending.last_mut() {
            let Some(next) = below.pop() else {
                pending.pop();
                let Some(name) = self.path.pop() else { break };
                folders.pop()?;
                if left_before.pop() == Some(self.remains.entries)
                    && let Err(error) = remove_folder(folders.current()?.as_fd(), &name)
                {
                    self.keep(&name, 0, error);
                }
                continue;
            };
            let folder = folders.current()?;
            let child = match open_writable(folder.as_fd(), &next) {
                Ok(child) => child,
                Err(Errno::NOENT) => continue,
                Err(_) => {
                    // It cannot be read. If it is empty, it can be removed all the same.
                    if let Err(error) = remove_folder(folder.as_fd(), &next) {
                        self.keep(&next, 0, error);
                    }
                    continue;
                }
            };
            if mount_of(child.as_fd())? != mount {
                // A disk is mounted here. Its files must not be removed.
                self.keep(&next, 0, Errno::XDEV);
                continue;
            }
            let identity = Identity::from(&rustix::fs::fstat(&child)?);
            self.path.push(next);
            left_before.push(self.remains.entries);
            pending.push(self.clear_files(child.as_fd()));
            folders.push(child, identity);
        }
        Ok(())
    }

    /// Removes all entries except folders. Returns the names of the folders.
    fn clear_files(&mut self, folder: BorrowedFd<'_>) -> Vec<Vec<u8>> {
        let mut folders = Vec::new();
        let mut listing = match Dir::read_from(folder) {
            Ok(listing) => listing,
            Err(error) => {
                self.keep(b".", 0, error);
                return folders;
            }
        };
        while let Some(entry) = listing.read() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.keep(b".", 0, error);
                    break;
                }
            };
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            if entry.file_type() == FileType::Directory {
                folders.push(name.to_vec());
                continue;
            }
            match remove_file(folder, name) {
                Ok(()) => {}
                Err(Errno::ISDIR) => folders.push(name.to_vec()),
                Err(error) => {
                    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
                    let blocks = stat.map_or(0, |stat| stat.st_blocks);
                    self.keep(name, u64::try_from(blocks).unwrap_or(0) * 512, error);
                }
            }
        }
        folders
    }

    fn keep(&mut self, name: &[u8], bytes: u64, error: Errno) {
        let mut path = self.path.join(&b'/');
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        self.remains.keep(path, bytes, error);
    }
}

/// Returns what identifies the mount of a folder.
///
/// A btrfs subvolume has its own device, but is part of the mount. Before Linux 5.8, only the
/// device is known.
pub(super) fn mount_of(folder: BorrowedFd<'_>) -> Result<u64, Errno> {
    let stat = rustix::fs::statx(folder, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
    if stat.stx_mask & StatxFlags::MNT_ID.bits() != 0 {
        return Ok(stat.stx_mnt_id);
    }
    Ok(u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor))
}

/// Opens a folder to empty it. Changes its mode or its attributes if they forbid that.
fn open_writable(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let folder = match open_folder(parent, name) {
        Err(Errno::ACCESS) => {
            let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                return Err(Errno::NOTDIR);
            }
            match rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty()) {
                Ok(()) => {}
                Err(Errno::PERM) => return Err(Errno::ACCESS),
                Err(error) => return Err(error),
            }
            open_folder(parent, name)?
        }
        other => other?,
    };
    // If one of these changes is not allowed, removing the entries may work all the same. If not,
    // that fails and gives the reason.
    clear_flags(folder.as_fd());
    let stat = rustix::fs::fstat(&folder)?;
    if stat.st_ino == SUBVOLUME_INODE {
        let _ = holdfast_ioctl::set_subvolume_read_only(&folder, false);
    }
    if stat.st_mode & 0o700 != 0o700 {
        let _ = rustix::fs::fchmod(&folder, Mode::RWXU);
    }
    Ok(folder)
}

/// Removes an entry that is not a folder.
fn remove_file(folder: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let remove = || ignore_missing(rustix::fs::unlinkat(folder, name, AtFlags::empty()));
    match remove() {
        Err(Errno::PERM) => {
            // On some file systems, this is also the answer for a folder.
            let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => return Err(Errno::ISDIR),
                // Another name of the file may be outside of the tree.
                FileType::RegularFile if stat.st_nlink == 1 => {}
                _ => return Err(Errno::PERM),
            }
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            if let Ok(file) = rustix::fs::openat(folder, name, flags, Mode::empty()) {
                clear_flags(file.as_fd());
            }
            remove()
        }
        other => other,
    }
}

/// Removes an empty folder.
fn remove_folder(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    ignore_missing(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR))
}

/// Makes an immutable or append-only file or folder an ordinary one, if the process may.
fn clear_flags(file: BorrowedFd<'_>) {
    let forbidding = IFlags::IMMUTABLE | IFlags::APPEND;
    // Without such attributes, or without the right to change them, the removal itself fails and
    // gives the reason.
    if let Ok(flags) = rustix::fs::ioctl_getflags(file)
        && flags.intersects(forbidding)
    {
        let _ = rustix::fs::ioctl_setflags(file, flags - forbidding);
    }
}

/// Treats a missing entry as removed.
fn ignore_missing(outcome: Result<(), Errno>) -> Result<(), Errno> {
    match outcome {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}
