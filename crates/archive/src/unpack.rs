//! Unpacks an archive into an empty staging folder, and refuses every entry that could leave it.
//!
//! Each step is one name relative to an open folder. No symlink is followed, and nothing is
//! overwritten. Folders get their mode and times after the last entry below them is written.

mod entry_error;
mod file;
mod folder;
mod handle;
mod name;
mod small_files;

use std::io::BufRead;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use crate::tar_format::{EntryKind, TarEntry, TarReader};
use crate::{Control, Error, RestoreSummary};

use entry_error::entry_error;
pub(crate) use file::AttributePolicy;
use file::{Attributes, NewFile, SpaceGuard};
use folder::StagingTree;
use handle::{FirstError, FolderHandle};
use name::split_name;
use small_files::{SMALL_FILE_BYTES_MAX, SmallFilePool};

/// Unpacks all of `tar` into `root`. Small files are written on `threads` threads.
pub(crate) fn unpack<R: BufRead>(
    tar: &mut TarReader<R>,
    root: OwnedFd,
    policy: AttributePolicy,
    threads: usize,
    control: &Control,
) -> Result<RestoreSummary, Error> {
    let disk = root
        .try_clone()
        .map_err(|error| Error::io("open", Path::new("."), error))?;
    let umask = umask();
    thread::scope(|scope| {
        let errors = Arc::new(FirstError::default());
        let small_files = SmallFilePool::start(scope, threads, umask, &errors, control)?;
        let tree = StagingTree::new(root, small_files, errors)?;
        let guard = SpaceGuard::new(disk, control);
        let summary = RestoreSummary::default();
        let mut unpacker = Unpacker {
            tree,
            policy,
            umask,
            guard,
            summary,
        };
        while let Some(entry) = tar.next_entry()? {
            control.check()?;
            unpacker.entry(entry, tar)?;
        }
        unpacker.tree.finish()?;
        Ok(unpacker.summary)
    })
}

/// Returns the umask of the process, or 0o777 if it is unknown.
fn umask() -> u32 {
    fs_err::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("Umask:"))?;
            u32::from_str_radix(line.trim(), 8).ok()
        })
        .unwrap_or(0o777)
}

struct Unpacker<'a> {
    tree: StagingTree,
    policy: AttributePolicy,
    umask: u32,
    guard: SpaceGuard<'a>,
    summary: RestoreSummary,
}

impl Unpacker<'_> {
    fn entry<R: BufRead>(&mut self, entry: TarEntry, tar: &mut TarReader<R>) -> Result<(), Error> {
        let parts = split_name(&entry.path)?;
        self.summary.entries += 1;
        let Some((&name, parents)) = parts.split_last() else {
            // `./`: the root keeps its attributes.
            return match entry.kind {
                EntryKind::Directory => Ok(()),
                _ => Err(Error::hostile(&entry.path, "it has no name")),
            };
        };
        let attributes = Attributes::from_entry(&entry, self.policy);
        if entry.kind == EntryKind::Directory {
            return self.tree.add_folder(&entry.path, &parts, attributes);
        }
        let parent = self.tree.enter(&entry.path, parents)?;
        if entry.kind == EntryKind::Symlink {
            return file::symlink(parent.as_fd(), name, &entry.link, &attributes)
                .map_err(|error| entry_error(&entry.path, error));
        }
        self.summary.files += 1;
        if entry.kind == EntryKind::HardLink {
            self.guard.control.add_file();
            return self.hard_link(&entry, &parent, name);
        }
        self.summary.bytes += entry.size;
        if entry.segments.is_none() && entry.stored <= SMALL_FILE_BYTES_MAX {
            self.guard.reserve(entry.stored)?;
            return self
                .tree
                .small_files
                .add(parent, name, &entry.path, attributes, |bytes| {
                    loop {
                        let data = tar.data()?;
                        if data.is_empty() {
                            return Ok(());
                        }
                        bytes.extend_from_slice(data);
                    }
                });
        }
        let fail = |error| entry_error(&entry.path, error);
        let new = NewFile::create(parent.as_fd(), name, &attributes, self.umask).map_err(fail)?;
        new.fill(&entry, tar, &mut self.guard)?;
        self.guard.control.add_file();
        new.finish().map_err(fail)
    }

    /// Creates a hard link to a file that was unpacked before.
    fn hard_link(
        &mut self,
        entry: &TarEntry,
        parent: &FolderHandle,
        name: &[u8],
    ) -> Result<(), Error> {
        let target = split_name(&entry.link)?;
        self.tree.small_files.wait()?;
        let Some((&last, folders)) = target.split_last() else {
            return Err(Error::hostile(&entry.path, "it links to the root"));
        };
        let missing = |error: Errno| match error {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP => {
                Error::hostile(&entry.path, "it links to a file that is not in the archive")
            }
            _ => entry_error(&entry.path, error),
        };
        let mut folder: Arc<FolderHandle> = self.tree.root();
        if self.tree.is_at(folders) {
            folder = self.tree.enter(&entry.path, folders)?;
        } else {
            for part in folders {
                let next = crate::directory::open_folder(folder.as_fd(), part).map_err(missing)?;
                folder = Arc::new(FolderHandle::new(next));
            }
        }
        let stat = rustix::fs::statat(folder.as_fd(), last, AtFlags::SYMLINK_NOFOLLOW);
        let stat = stat.map_err(missing)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::hostile(
                &entry.path,
                "its link target is not a regular file",
            ));
        }
        rustix::fs::linkat(folder.as_fd(), last, parent.as_fd(), name, AtFlags::empty())
            .map_err(|error| entry_error(&entry.path, error))
    }
}
