//! Walks a tree in byte order, relative to folder handles, and hands out what the rules keep.
//!
//! It never follows a symlink, and never drops anything silently: what cannot be read becomes a note.
//! Memory is the names of the folders from the root to the current one, nothing else.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, Stat};
use rustix::io::Errno;

use crate::directory::{FOLDER, Folders, Identity, open_source};
use crate::ignore::{IgnoreRules, Verdict};
use crate::{Control, Error};

/// Left by an interrupted restore of a mount point; never part of a backup.
pub(crate) const OWN_PREFIX: &[u8] = b".holdfast-";

/// Paths longer than this are noted instead of archived.
const LONGEST_PATH: usize = 1 << 20;

/// One entry, as a visitor meets it.
pub(crate) struct Place<'a> {
    /// The open folder it lies in.
    pub(crate) folder: BorrowedFd<'a>,
    /// Its name there.
    pub(crate) name: &'a [u8],
    /// Its path below the source, without a leading slash.
    pub(crate) path: &'a [u8],
}

/// Who is told what a walk finds.
pub(crate) trait Visitor {
    fn folder(
        &mut self,
        path: &[u8],
        folder: Option<BorrowedFd<'_>>,
        stat: &Stat,
    ) -> Result<(), Error>;
    fn file(&mut self, place: &Place<'_>) -> Result<(), Error>;
    fn symlink(&mut self, place: &Place<'_>) -> Result<(), Error>;
    fn note(&mut self, path: &[u8], reason: String);
}

/// The names in one folder, packed: a folder of a million entries must fit in memory.
#[derive(Default)]
struct Names {
    bytes: Vec<u8>,
    spans: Vec<(u32, u16, FileType)>,
}

impl Names {
    fn get(&self, index: usize) -> Option<(&[u8], FileType)> {
        let (start, length, kind) = *self.spans.get(index)?;
        let start = start as usize;
        Some((&self.bytes[start..start + usize::from(length)], kind))
    }

    /// Reads a folder to its end; an error in the middle keeps what was read and is returned too.
    fn read(folder: BorrowedFd<'_>) -> (Self, Option<Errno>) {
        let mut names = Self::default();
        let mut listing = match Dir::read_from(folder) {
            Ok(listing) => listing,
            Err(error) => return (names, Some(error)),
        };
        let mut failed = None;
        while let Some(next) = listing.read() {
            let entry = match next {
                Ok(entry) => entry,
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            };
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let (Ok(start), Ok(length)) =
                (u32::try_from(names.bytes.len()), u16::try_from(name.len()))
            else {
                failed = Some(Errno::OVERFLOW);
                break;
            };
            names.bytes.extend_from_slice(name);
            names.spans.push((start, length, entry.file_type()));
        }
        let bytes = &names.bytes;
        let name = |&(start, length, _): &(u32, u16, FileType)| {
            &bytes[start as usize..start as usize + usize::from(length)]
        };
        names
            .spans
            .sort_unstable_by(|left, right| name(left).cmp(name(right)));
        (names, failed)
    }
}

struct Frame {
    names: Names,
    next: usize,
    path_length: usize,
    verdict: Verdict,
    /// Its own entry, while it waits for something below it that is kept.
    waiting: Option<Stat>,
}

struct Walk<'a, V> {
    rules: &'a IgnoreRules,
    control: &'a Control,
    visitor: &'a mut V,
    folders: Folders,
    frames: Vec<Frame>,
    path: Vec<u8>,
}

/// Walks `source` and tells `visitor` of everything that `rules` keep.
pub(crate) fn walk<V: Visitor>(
    source: &Path,
    rules: &IgnoreRules,
    control: &Control,
    visitor: &mut V,
) -> Result<(), Error> {
    let root = open_source(source)?;
    let (names, failed) = Names::read(root.as_fd());
    if let Some(error) = failed {
        return Err(Error::io("read", source, error));
    }
    let folders = Folders::new(root).map_err(|error| Error::io("read", source, error))?;
    let verdict = Verdict::default();
    let frame = Frame {
        names,
        next: 0,
        path_length: 0,
        verdict,
        waiting: None,
    };
    let mut walk = Walk {
        rules,
        control,
        visitor,
        folders,
        frames: vec![frame],
        path: Vec::new(),
    };
    walk.run(source)
}

impl<V: Visitor> Walk<'_, V> {
    fn run(&mut self, source: &Path) -> Result<(), Error> {
        loop {
            self.control.check()?;
            let Some(frame) = self.frames.last_mut() else {
                return Ok(());
            };
            self.path.truncate(frame.path_length);
            let Some((name, kind)) = frame.names.get(frame.next) else {
                self.frames.pop();
                if let Err(error) = self.folders.pop() {
                    // The way back is gone: a folder was moved away while it was read.
                    return Err(Error::io("go back from a folder of", source, error));
                }
                continue;
            };
            frame.next += 1;
            if frame.path_length == 0 && name.starts_with(OWN_PREFIX) {
                let name = name.to_vec();
                self.visitor.note(
                    &name,
                    "left out: it belongs to an interrupted restore".into(),
                );
                continue;
            }
            if !self.path.is_empty() {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(name);
            let name_length = name.len();
            self.entry(name_length, kind)?;
        }
    }

    fn entry(&mut self, name_length: usize, kind: FileType) -> Result<(), Error> {
        let name = self.path[self.path.len() - name_length..].to_vec();
        let Ok(folder) = self.folders.top() else {
            return Ok(());
        };
        let mut kind = kind;
        if kind == FileType::Unknown {
            match rustix::fs::statat(&*folder, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => kind = FileType::from_raw_mode(stat.st_mode),
                Err(error) => {
                    self.visitor.note(&self.path, cannot("read", error));
                    return Ok(());
                }
            }
        }
        let parent = self
            .frames
            .last()
            .map(|frame| frame.verdict)
            .unwrap_or_default();
        let verdict = self
            .rules
            .decide(&self.path, kind == FileType::Directory, parent);
        if kind == FileType::Directory {
            if verdict.looks_inside() {
                return self.enter(folder.as_fd(), &name, verdict);
            }
            return Ok(());
        }
        if verdict.left_out {
            return Ok(());
        }
        if self.path.len() > LONGEST_PATH {
            self.visitor
                .note(&self.path, "left out: its path is longer than 1 MiB".into());
            return Ok(());
        }
        self.emit_waiting()?;
        let place = Place {
            folder: folder.as_fd(),
            name: &name,
            path: &self.path,
        };
        match kind {
            FileType::RegularFile => self.visitor.file(&place)?,
            FileType::Symlink => self.visitor.symlink(&place)?,
            other => self
                .visitor
                .note(&self.path, format!("left out: it is {}", kind_name(other))),
        }
        Ok(())
    }

    fn enter(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        verdict: Verdict,
    ) -> Result<(), Error> {
        if self.path.len() > LONGEST_PATH {
            self.visitor
                .note(&self.path, "left out: its path is longer than 1 MiB".into());
            return Ok(());
        }
        let opened = open_with_stat(parent, name);
        let (folder, stat) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.closed_folder(parent, name, verdict, error),
        };
        let (names, failed) = Names::read(folder.as_fd());
        if let Some(error) = failed {
            self.visitor
                .note(&self.path, cannot("read all of the folder", error));
        }
        let waiting = if verdict.left_out {
            Some(stat)
        } else {
            self.emit_waiting()?;
            self.visitor
                .folder(&self.path, Some(folder.as_fd()), &stat)?;
            None
        };
        self.folders.push(folder, Identity::from(&stat));
        let path_length = self.path.len();
        self.frames.push(Frame {
            names,
            next: 0,
            path_length,
            verdict,
            waiting,
        });
        Ok(())
    }

    /// A folder that cannot be opened still has its own entry, beside the note.
    fn closed_folder(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        verdict: Verdict,
        error: Errno,
    ) -> Result<(), Error> {
        let reason = match error {
            Errno::NOENT => "it vanished while the backup ran".into(),
            Errno::NOTDIR | Errno::LOOP => "it was replaced while the backup ran".into(),
            _ => cannot("open the folder", error),
        };
        self.visitor.note(&self.path, reason);
        if let Ok(stat) = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
            && FileType::from_raw_mode(stat.st_mode) == FileType::Directory
            && !verdict.left_out
        {
            self.emit_waiting()?;
            self.visitor.folder(&self.path, None, &stat)?;
        }
        Ok(())
    }

    /// Emits the folders on the way to the current entry that were only kept for its sake.
    fn emit_waiting(&mut self) -> Result<(), Error> {
        if self
            .frames
            .last()
            .is_none_or(|frame| frame.waiting.is_none())
        {
            return Ok(());
        }
        for frame in &mut self.frames {
            if let Some(stat) = frame.waiting.take() {
                self.visitor
                    .folder(&self.path[..frame.path_length], None, &stat)?;
            }
        }
        Ok(())
    }
}

fn open_with_stat(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(OwnedFd, Stat), Errno> {
    let folder = rustix::fs::openat(parent, name, FOLDER, Mode::empty())?;
    let stat = rustix::fs::fstat(&folder)?;
    Ok((folder, stat))
}

/// The reason of a note: what could not be done and what the system said.
pub(crate) fn cannot(action: &str, error: Errno) -> String {
    format!("cannot {action}: {}", std::io::Error::from(error))
}

fn kind_name(kind: FileType) -> &'static str {
    match kind {
        FileType::Socket => "a socket",
        FileType::Fifo => "a named pipe",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "of an unknown kind",
    }
}
