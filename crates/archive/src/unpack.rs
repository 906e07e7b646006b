//! Unpacks an archive into an empty staging folder, and refuses everything that could leave it.
//!
//! Every step is one name relative to an open folder; no symlink is followed, nothing is overwritten.
//! Folders get their mode and times once the last thing below them is done.

mod file;
mod folder;
mod name;
mod small_files;

use std::io::BufRead;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use rustix::fs::{AtFlags, FileType, Gid, Uid};
use rustix::io::Errno;

use crate::tar_format::{Entry, Kind, TapeReader};
use crate::{Control, Error, RestoreSummary};
use file::{Attributes, NewFile, SpaceGuard};
use folder::{Folder, Problem, Tree};
use name::{Parts, parts};
use small_files::{Crew, SMALL};

/// What of an entry's attributes is applied.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Apply {
    /// Whether the archive's owner numbers count.
    pub(crate) owner: bool,
    /// Whose everything is otherwise; none: the process's own.
    pub(crate) heir: Option<(Uid, Gid)>,
    pub(crate) special_modes: bool,
}

/// Unpacks the whole of `tape` below `root`, small files on `threads` threads.
pub(crate) fn unpack<R: BufRead>(
    tape: &mut TapeReader<R>,
    root: OwnedFd,
    apply: Apply,
    threads: usize,
    control: &Control,
) -> Result<RestoreSummary, Error> {
    let watched = root
        .try_clone()
        .map_err(|error| Error::io("open", Path::new("."), error))?;
    let umask = umask();
    thread::scope(|scope| {
        let problem = Arc::new(Problem::default());
        let crew = Crew::start(scope, threads, umask, &problem, control);
        let tree = Tree::new(root, crew, problem)?;
        let guard = SpaceGuard::new(watched, control);
        let summary = RestoreSummary::default();
        let mut unpacker = Unpacker {
            tree,
            apply,
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
    apply: Apply,
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
        let attributes = Attributes::of(&entry, self.apply);
        if entry.kind == Kind::Directory {
            return self.tree.folder(&entry.path, &parts, attributes);
        }
        let parent = self.tree.enter(&entry.path, parents)?;
        if entry.kind == Kind::Symlink {
            return file::symlink(&parent, name, &entry.link, &attributes)
                .map_err(|error| refused(&entry.path, error));
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
                .crew
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
        let fail = |error| refused(&entry.path, error);
        let new = NewFile::create(&parent, name, &attributes, self.umask).map_err(fail)?;
        new.fill(&entry, tape, &mut self.guard)?;
        self.guard.control.add_file();
        new.finish().map_err(fail)
    }

    /// Links to a file that this very archive has brought.
    fn hard_link(&mut self, entry: &Entry, parent: &Folder, name: &[u8]) -> Result<(), Error> {
        let target: Parts<'_> = parts(&entry.link)?;
        self.tree.crew.settle()?;
        let Some((&last, folders)) = target.split_last() else {
            return Err(Error::hostile(&entry.path, "it links to the root"));
        };
        let missing = |error: Errno| match error {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP => {
                Error::hostile(&entry.path, "it links to a file that is not in the archive")
            }
            _ => refused(&entry.path, error),
        };
        let mut folder: Arc<Folder> = self.tree.root();
        if self.tree.is_at(folders) {
            folder = self.tree.enter(&entry.path, folders)?;
        } else {
            for part in folders {
                let next = crate::directory::open_folder(folder.as_fd(), part).map_err(missing)?;
                folder = Arc::new(Folder::plain(next));
            }
        }
        let stat = rustix::fs::statat(folder.as_fd(), last, AtFlags::SYMLINK_NOFOLLOW);
        let stat = stat.map_err(missing)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::hostile(
                &entry.path,
                "it links to something that is no file",
            ));
        }
        rustix::fs::linkat(folder.as_fd(), last, parent.as_fd(), name, AtFlags::empty())
            .map_err(|error| refused(&entry.path, error))
    }
}

/// Tells an archive that asks for the impossible from a disk that fails.
pub(crate) fn refused(path: &[u8], error: Errno) -> Error {
    match error {
        Errno::EXIST => Error::hostile(path, "it is in the archive twice"),
        Errno::NAMETOOLONG => Error::hostile(path, "a part of its name is too long"),
        Errno::NOTDIR | Errno::LOOP => {
            Error::hostile(path, "it lies below something that is no folder")
        }
        Errno::INVAL | Errno::NOENT => Error::hostile(path, "the disk does not take its name"),
        _ => Error::io(
            "unpack",
            std::path::Path::new(&crate::error::lossy(path)),
            error,
        ),
    }
}
