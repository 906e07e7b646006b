//! Finds out whether another process has the server directory open, so that it would go on with the
//! old tree after an exchange of directories.
//!
//! Such processes are daemons of panels, shells, and containers with the directory as a volume.
//! Only `/proc` tells of them: what this user may not see there, or what runs in another PID
//! namespace, stays unknown. Names are compared first, because the kernel has them in memory. So a
//! file system that hangs is not asked.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, Stat, StatxFlags};
use rustix::io::Errno;

use super::layout::RestoreLayout;
use super::mount_table::{Mount, mounts};
use crate::directory::{FOLDER_FLAGS, Identity};

/// How long the search may take. A user can have a million files open.
const SEARCH_MAX: Duration = Duration::from_secs(2);
/// The largest mount table that is read, in bytes.
const TABLE_MAX: u64 = 16 << 20;

/// Returns whether another process has the directory open, works in it, or has it mounted. If the
/// search takes too long, the answer is yes.
pub(super) fn is_held(layout: &RestoreLayout) -> bool {
    let Ok(target) = rustix::fs::fstat(&layout.target) else {
        return false;
    };
    let Ok(processes) = open_folder(CWD, "/proc") else {
        return false;
    };
    let table = read_table(processes.as_fd(), "self/mountinfo");
    let mut search = Search {
        name: layout.name.as_slice(),
        target: Identity::from(&target),
        volume: Volume::of(layout, &table),
        namespaces: BTreeSet::new(),
        ends: Instant::now() + SEARCH_MAX,
    };
    search.run(&processes, &table)
}

/// The directory as it appears in mount tables if it is mounted at another place.
#[derive(Debug, PartialEq, Eq)]
struct Volume {
    /// The device, as the mount table writes it.
    device: Vec<u8>,
    /// The path of the directory in its file system.
    root: PathBuf,
}

impl Volume {
    /// Returns `None` if the kernel does not tell the mount of the directory.
    fn of(layout: &RestoreLayout, table: &[u8]) -> Option<Self> {
        let (flags, wanted) = (AtFlags::EMPTY_PATH, StatxFlags::MNT_ID);
        let stat = rustix::fs::statx(&layout.target, "", flags, wanted).ok()?;
        if stat.stx_mask & StatxFlags::MNT_ID.bits() == 0 {
            return None;
        }
        let mount = mounts(table).find(|mount| mount.id == Some(stat.stx_mnt_id))?;
        let below = layout.destination.strip_prefix(&mount.place).ok()?;
        Some(Self {
            device: mount.device.to_vec(),
            root: mount.root.join(below),
        })
    }

    fn is_mounted_as(&self, mount: &Mount<'_>) -> bool {
        mount.device == self.device && mount.root == self.root
    }
}

/// A search through all processes for one directory.
struct Search<'a> {
    /// The last part of the directory's path.
    name: &'a [u8],
    target: Identity,
    volume: Option<Volume>,
    /// The mount namespaces that were looked at.
    namespaces: BTreeSet<u64>,
    ends: Instant,
}

impl Search<'_> {
    fn run(&mut self, processes: &OwnedFd, own_table: &[u8]) -> bool {
        if self.is_mounted(own_table) {
            return true;
        }
        if let Ok(own) = stat(processes.as_fd(), "self/ns/mnt") {
            self.namespaces.insert(own.st_ino);
        }
        let own = std::process::id().to_string();
        let Ok(mut listing) = Dir::read_from(processes) else {
            return false;
        };
        while let Some(Ok(entry)) = listing.read() {
            let id = entry.file_name().to_bytes();
            if !id.iter().all(u8::is_ascii_digit) || id == own.as_bytes() {
                continue;
            }
            // It may end at any time, or may not be looked into.
            let process = open_folder(processes.as_fd(), OsStr::from_bytes(id));
            if self.is_over() || process.is_ok_and(|process| self.is_holder(process.as_fd())) {
                return true;
            }
        }
        false
    }

    fn is_holder(&mut self, process: BorrowedFd<'_>) -> bool {
        if ["cwd", "root"]
            .iter()
            .any(|link| self.leads_here(process, link.as_bytes()))
        {
            return true;
        }
        if self.volume.is_some()
            && let Ok(namespace) = stat(process, "ns/mnt")
            && self.namespaces.insert(namespace.st_ino)
            && self.is_mounted(&read_table(process, "mountinfo"))
        {
            return true;
        }
        let Ok(files) = open_folder(process, "fd") else {
            return false;
        };
        let Ok(mut listing) = Dir::read_from(&files) else {
            return false;
        };
        while let Some(Ok(entry)) = listing.read() {
            if self.is_over() || self.leads_here(files.as_fd(), entry.file_name().to_bytes()) {
                return true;
            }
        }
        false
    }

    /// Returns whether a link of `/proc` leads to the directory.
    fn leads_here(&self, folder: BorrowedFd<'_>, link: &[u8]) -> bool {
        let Ok(path) = rustix::fs::readlinkat(folder, link, Vec::new()) else {
            return false;
        };
        // The directory has another last part only where it is mounted, and mounts are looked for.
        path.to_bytes().rsplit(|&byte| byte == b'/').next() == Some(self.name)
            && stat(folder, OsStr::from_bytes(link))
                .is_ok_and(|found| Identity::from(&found) == self.target)
    }

    fn is_mounted(&self, table: &[u8]) -> bool {
        let Some(volume) = &self.volume else {
            return false;
        };
        mounts(table).any(|mount| volume.is_mounted_as(&mount))
    }

    fn is_over(&self) -> bool {
        Instant::now() > self.ends
    }
}

fn open_folder(parent: impl AsFd, path: impl AsRef<Path>) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(parent, path.as_ref(), FOLDER_FLAGS, Mode::empty())
}

/// Follows a link of `/proc`.
fn stat(folder: BorrowedFd<'_>, path: impl AsRef<Path>) -> Result<Stat, Errno> {
    rustix::fs::statat(folder, path.as_ref(), AtFlags::NO_AUTOMOUNT)
}

/// Returns a mount table; nothing if it cannot be read.
fn read_table(folder: BorrowedFd<'_>, path: &str) -> Vec<u8> {
    let mut table = Vec::new();
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    if let Ok(file) = rustix::fs::openat(folder, path, flags, Mode::empty())
        // The process may end meanwhile.
        && File::from(file).take(TABLE_MAX).read_to_end(&mut table).is_err()
    {
        table.clear();
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_that_takes_too_long_ends_and_takes_the_directory_for_held() {
        let folder = tempfile::tempdir().expect("a folder");
        let layout = RestoreLayout::prepare(folder.path(), None).expect("a layout");
        let processes = open_folder(CWD, "/proc").expect("the processes");
        for (ends, is_held) in [
            (Instant::now(), true),
            (Instant::now() + 60 * SEARCH_MAX, false),
        ] {
            let mut search = Search {
                name: layout.name.as_slice(),
                target: Identity {
                    device: 0,
                    inode: 0,
                },
                volume: None,
                namespaces: BTreeSet::new(),
                ends,
            };
            assert_eq!(search.run(&processes, b""), is_held);
        }
    }
}
