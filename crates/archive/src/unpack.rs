//! Unpacks an archive into an empty staging folder, and refuses everything that could leave it.
//!
//! Every step is one name relative to an open folder; no symlink is followed, nothing is overwritten.
//! Folders get their mode and times once the last thing below them is done.

mod file;
mod folder;
mod name;

use std::io::BufRead;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use crate::tape::{Entry, Kind, TapeReader};
use crate::{Control, Error, RestoreSummary};
pub(crate) use file::Attributes;
use folder::{Folder, Tree};
use name::{Parts, parts};

/// What of an entry's attributes is applied.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Apply {
    pub(crate) owner: bool,
    pub(crate) special_modes: bool,
}

/// Unpacks the whole of `tape` below `root`.
pub(crate) fn unpack<R: BufRead>(
    tape: &mut TapeReader<R>,
    root: OwnedFd,
    apply: Apply,
    control: &Control,
) -> Result<RestoreSummary, Error> {
    let tree = Tree::new(root, apply)?;
    let mut unpacker = Unpacker {
        tree,
        apply,
        control,
        summary: RestoreSummary::default(),
    };
    while let Some(entry) = tape.next_entry()? {
        control.check()?;
        unpacker.entry(&entry, tape)?;
    }
    unpacker.tree.finish()?;
    Ok(unpacker.summary)
}

struct Unpacker<'a> {
    tree: Tree,
    apply: Apply,
    control: &'a Control,
    summary: RestoreSummary,
}

impl Unpacker<'_> {
    fn entry<R: BufRead>(&mut self, entry: &Entry, tape: &mut TapeReader<R>) -> Result<(), Error> {
        let parts = parts(&entry.path)?;
        self.summary.entries += 1;
        let Some((&name, parents)) = parts.split_last() else {
            // `./`: the root keeps what it has.
            return match entry.kind {
                Kind::Directory => Ok(()),
                _ => Err(Error::hostile(&entry.path, "it has no name")),
            };
        };
        let attributes = Attributes::of(entry, self.apply);
        if entry.kind == Kind::Directory {
            return self.tree.folder(&entry.path, &parts, attributes);
        }
        let parent = self.tree.enter(&entry.path, parents)?;
        match entry.kind {
            Kind::File => {
                let written = file::write(&parent, name, entry, &attributes, tape, self.control);
                self.summary.files += 1;
                self.summary.bytes += entry.size;
                self.control.add_file();
                written
            }
            Kind::Symlink => file::symlink(&parent, name, &entry.link, &attributes)
                .map_err(|error| refused(&entry.path, error)),
            _ => {
                self.summary.files += 1;
                self.control.add_file();
                self.hard_link(entry, &parent, name)
            }
        }
    }

    /// Links to a file that this very archive has brought.
    fn hard_link(&mut self, entry: &Entry, parent: &Folder, name: &[u8]) -> Result<(), Error> {
        let target: Parts<'_> = parts(&entry.link)?;
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
