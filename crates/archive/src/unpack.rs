//! Unpacks an archive, or a selection of it, into an empty staging folder, and refuses every entry
//! that could leave it.
//!
//! Each step is one name relative to an open folder. No symlink is followed, and nothing is
//! overwritten. Folders get their mode and times after the last entry below them is written. An
//! archive may hold a folder before or after its contents, and come back to it at any time.

mod attributes;
mod entry_error;
mod file;
mod folder;
mod handle;
mod refused;
mod small_files;

use std::io::BufRead;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use crate::entry_check::{EntryCheck, split_name};
use crate::selection::Selection;
use crate::tar_format::{EntryKind, TarEntry, TarReader};
use crate::{Control, Error, RestoreSummary};

pub(crate) use attributes::AttributePolicy;
use attributes::Attributes;
use entry_error::entry_error;
use file::{NewFile, SpaceGuard};
use folder::{NewFolder, StagingTree};
use handle::{FolderHandle, Problems};
use small_files::{SMALL_FILE_BYTES_MAX, SmallFilePool};

/// Unpacks `tar`, or only what is selected, into `root`. Small files are written on `threads`
/// threads.
pub(crate) fn unpack<R: BufRead>(
    tar: &mut TarReader<R>,
    selection: Option<&Selection>,
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
        let problems = Arc::new(Problems::default());
        let small_files = SmallFilePool::start(scope, threads, umask, &problems, control)?;
        let tree = StagingTree::new(root, policy, small_files, Arc::clone(&problems))?;
        let guard = SpaceGuard::new(disk, control);
        let summary = RestoreSummary::default();
        let mut unpacker = Unpacker {
            check: EntryCheck::new(),
            problems: Arc::clone(&problems),
            tree,
            policy,
            umask,
            guard,
            summary,
        };
        while let Some(entry) = tar.next_entry()? {
            control.check()?;
            let is_taken = match selection {
                Some(selection) => selection.takes(&entry.path, entry.kind)?,
                None => true,
            };
            if is_taken {
                unpacker.entry(entry, tar)?;
            }
        }
        unpacker.tree.finish()?;
        problems.refused.add_notes(&mut unpacker.summary.notes);
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
    check: EntryCheck,
    problems: Arc<Problems>,
    tree: StagingTree,
    policy: AttributePolicy,
    umask: u32,
    guard: SpaceGuard<'a>,
    summary: RestoreSummary,
}

impl Unpacker<'_> {
    fn entry<R: BufRead>(&mut self, entry: TarEntry, tar: &mut TarReader<R>) -> Result<(), Error> {
        let place = self.check.next(&entry)?;
        self.summary.entries += 1;
        let Some(&name) = place.parts.last() else {
            // `./`: the root keeps its attributes.
            return Ok(());
        };
        let attributes = Attributes::from_entry(&entry, self.policy);
        if entry.kind == EntryKind::Directory {
            let new = NewFolder {
                path: &entry.path,
                name,
                state: place.state,
                attributes,
            };
            return self.tree.add_folder(self.check.parents(), new);
        }
        let parent = self.tree.enter(&entry.path, self.check.parents())?;
        if entry.kind == EntryKind::Symlink {
            let refused = &self.problems.refused;
            return file::symlink(parent.as_fd(), name, &entry.link, &attributes, refused)
                .map_err(|error| entry_error(&entry.path, error));
        }
        self.summary.files += 1;
        if entry.kind == EntryKind::HardLink {
            self.guard.control.add_file();
            return self.hard_link(&entry, &parent, name, &attributes);
        }
        self.summary.bytes = self.summary.bytes.saturating_add(entry.size);
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
        new.finish(&self.problems.refused).map_err(fail)
    }

    /// Creates a hard link to a file that was unpacked before.
    fn hard_link(
        &mut self,
        entry: &TarEntry,
        parent: &FolderHandle,
        name: &[u8],
        attributes: &Attributes,
    ) -> Result<(), Error> {
        let target = split_name(&entry.link, &entry.path)?;
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
        if let Some(current) = self.tree.current_at(folders) {
            folder = current;
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
        let (from, to) = ((folder.as_fd(), last), (parent.as_fd(), name));
        match rustix::fs::linkat(from.0, from.1, to.0, to.1, AtFlags::empty()) {
            // The file system has no hard links, or no more for this file.
            Err(
                error
                @ (Errno::PERM | Errno::MLINK | Errno::OPNOTSUPP | Errno::NOSYS | Errno::XDEV),
            ) => {
                let refused = &self.problems.refused;
                refused.links.add(error);
                file::copy_instead_of_link(from, to, attributes, &mut self.guard, refused)
            }
            linked => linked.map_err(|error| entry_error(&entry.path, error)),
        }
    }
}
