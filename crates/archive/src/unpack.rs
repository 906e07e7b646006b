//! Unpacks an archive into an empty staging folder, and refuses everything that could leave it.
//!
//! Every step is one name relative to an open folder; no symlink is followed, nothing is overwritten.
//! Folders get their mode and times once the last thing below them is done.

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

use crate::tar_format::{Entry, Kind, TapeReader};
use crate::{Control, Error, RestoreSummary};
use entry_error::entry_error;
pub(crate) use file::AttributePolicy;
use file::{Attributes, NewFile, SpaceGuard};
use folder::Tree;
use handle::{FirstError, FolderHandle};
use name::{Parts, parts};
use small_files::{SMALL, SmallFilePool};

/// Unpacks the whole of `tape` below `root`, small files on `threads` threads.
pub(crate) fn unpack<R: BufRead>(
    tape: &mut TapeReader<R>,
    root: OwnedFd,
    policy: AttributePolicy,
    threads: usize,
    control: &Control,
) -> Result<RestoreSummary, Error> {
    let watched = root
        .try_clone()
        .map_err(|error| Error::io("open", Path::new("."), error))?;
    let umask = umask();
    thread::scope(|scope| {
        let errors = Arc::new(FirstError::default());
        let small_files = SmallFilePool::start(scope, threads, umask, &errors, control);
        let tree = Tree::new(root, small_files, errors)?;
        let guard = SpaceGuard::new(watched, control);
        let summary = RestoreSummary::default();
        let mut unpacker = Unpacker {
            tree,
            policy,
            umask,
            guard,
            summary,
        };
        while let Some(entry) = tape.next_entry()? {
            control.check()?;
            unpacker.entry(entry, tape)?;
        }
        unpacker.tree.finish()?;
        Ok(unpacker.summary)
    })
}

/// The bits that the system takes from the mode of a new file; all of them if it does not say.
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
    tree: Tree,
    policy: AttributePolicy,
    umask: u32,
    guard: SpaceGuard<'a>,
    summary: RestoreSummary,
}

impl Unpacker<'_> {
    fn entry<R: BufRead>(&mut self, entry: Entry, tape: &mut TapeReader<R>) -> Result<(), Error> {
        let parts = parts(&entry.path)?;
        self.summary.entries += 1;
        let Some((&name, parents)) = parts.split_last() else {
            // `./`: the root keeps what it has.
            return match entry.kind {
                Kind::Directory => Ok(()),
                _ => Err(Error::hostile(&entry.path, "it has no name")),
            };
        };
        let attributes = Attributes::from_entry(&entry, self.policy);
        if entry.kind == Kind::Directory {
            return self.tree.folder(&entry.path, &parts, attributes);
        }
        let parent = self.tree.enter(&entry.path, parents)?;
        if entry.kind == Kind::Symlink {
            return file::symlink(parent.as_fd(), name, &entry.link, &attributes)
                .map_err(|error| entry_error(&entry.path, error));
        }
        self.summary.files += 1;
        if entry.kind == Kind::HardLink {
            self.guard.control.add_file();
            return self.hard_link(&entry, &parent, name);
        }
        self.summary.bytes += entry.size;
        if entry.segments.is_none() && entry.stored <= SMALL {
            self.guard.planned(entry.stored)?;
            return self
                .tree
                .small_files
                .add(parent, name, &entry.path, attributes, |bytes| {
                    loop {
                        let data = tape.data()?;
                        if data.is_empty() {
                            return Ok(());
                        }
                        bytes.extend_from_slice(data);
                    }
                });
        }
        let fail = |error| entry_error(&entry.path, error);
        let new = NewFile::create(parent.as_fd(), name, &attributes, self.umask).map_err(fail)?;
        new.fill(&entry, tape, &mut self.guard)?;
        self.guard.control.add_file();
        new.finish().map_err(fail)
    }

    /// Links to a file that this very archive has brought.
    fn hard_link(
        &mut self,
        entry: &Entry,
        parent: &FolderHandle,
        name: &[u8],
    ) -> Result<(), Error> {
        let target: Parts<'_> = parts(&entry.link)?;
        self.tree.small_files.settle()?;
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
