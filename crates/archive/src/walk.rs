//! Walks a tree in byte order, relative to folder handles, and visits every entry that the rules
//! keep.
//!
//! It never follows a symlink. An entry that cannot be read for a reason of its own becomes a note
//! and is never dropped silently; any other reason stops the walk. Memory holds the names in the
//! folders from the root to the current one, and nothing else.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, Stat};
use rustix::io::{Errno, retry_on_intr};

use crate::directory::{FOLDER_FLAGS, FolderStack, Identity, open_source};
use crate::entry_check::MAX_DEPTH;
use crate::error::lossy;
use crate::ignore::{Decision, IgnoreRules, Matcher};
use crate::{Control, Error};

/// The prefix of names that belong to Holdfast. An interrupted restore can leave such entries in a
/// server directory; they are never part of a backup.
pub(crate) const HOLDFAST_PREFIX: &[u8] = b".holdfast-";

/// The longest path that is archived, in bytes. A longer one becomes a note.
const MAX_PATH: usize = 1 << 20;

/// A file or symlink that the walk has found.
pub(crate) struct WalkEntry<'a> {
    /// The open folder that holds it.
    pub(crate) folder: BorrowedFd<'a>,
    /// Its name there.
    pub(crate) name: &'a [u8],
    /// Its path below the source, without a leading slash.
    pub(crate) path: &'a [u8],
}

/// Receives the entries of a walk.
pub(crate) trait Visitor {
    /// Visits a folder before its contents. `folder` is `None` if it cannot be read.
    fn visit_folder(
        &mut self,
        path: &[u8],
        folder: Option<BorrowedFd<'_>>,
        stat: &Stat,
    ) -> Result<(), Error>;
    fn visit_file(&mut self, found: &WalkEntry<'_>) -> Result<(), Error>;
    fn visit_symlink(&mut self, found: &WalkEntry<'_>) -> Result<(), Error>;
    /// Records an entry that is left out or archived with a change.
    fn add_note(&mut self, path: &[u8], reason: String);
}

/// The names in one folder. They are packed, because a folder may have millions of entries.
#[derive(Default)]
struct Names {
    bytes: Vec<u8>,
    /// Start, length and type of each name.
    spans: Vec<(u32, u16, FileType)>,
}

impl Names {
    fn get(&self, index: usize) -> Option<(&[u8], FileType)> {
        let (start, length, kind) = *self.spans.get(index)?;
        let start = start as usize;
        Some((&self.bytes[start..start + usize::from(length)], kind))
    }

    /// Reads and sorts the names of a folder. After an error, the names read before it are returned
    /// too.
    ///
    /// # Errors
    /// [`Error::Cancelled`], as a folder can have millions of entries.
    fn read(folder: BorrowedFd<'_>, control: &Control) -> Result<(Self, Option<Errno>), Error> {
        let mut names = Self::default();
        let mut listing = match retry_on_intr(|| Dir::read_from(folder)) {
            Ok(listing) => listing,
            Err(error) => return Ok((names, Some(error))),
        };
        let mut failed = None;
        while let Some(next) = listing.read() {
            control.check()?;
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
        Ok((names, failed))
    }
}

/// A folder that is being walked.
struct Level {
    names: Names,
    next: usize,
    path_length: usize,
    decision: Decision,
    /// The folder's attributes, if it is excluded but may hold entries that are kept. Right before
    /// the first such entry, the folder is visited and this becomes `None`.
    pending: Option<Stat>,
}

struct Walk<'a, V> {
    matcher: Matcher<'a>,
    control: &'a Control,
    visitor: &'a mut V,
    folders: FolderStack,
    levels: Vec<Level>,
    path: Vec<u8>,
}

/// Walks `source`, and visits every entry that `rules` keep.
pub(crate) fn walk<V: Visitor>(
    source: &Path,
    rules: &IgnoreRules,
    control: &Control,
    visitor: &mut V,
) -> Result<(), Error> {
    let root = open_source(source)?;
    let (names, failed) = Names::read(root.as_fd(), control)?;
    if let Some(error) = failed {
        return Err(Error::io("read", source, error));
    }
    let folders = FolderStack::new(root).map_err(|error| Error::io("read", source, error))?;
    let matcher = rules.matcher();
    let level = Level {
        names,
        next: 0,
        path_length: 0,
        decision: matcher.root(),
        pending: None,
    };
    let mut walk = Walk {
        matcher,
        control,
        visitor,
        folders,
        levels: vec![level],
        path: Vec::new(),
    };
    walk.run(source)
}

impl<V: Visitor> Walk<'_, V> {
    fn run(&mut self, source: &Path) -> Result<(), Error> {
        loop {
            self.control.check()?;
            let Some(level) = self.levels.last_mut() else {
                return Ok(());
            };
            self.path.truncate(level.path_length);
            let Some((name, kind)) = level.names.get(level.next) else {
                self.levels.pop();
                if let Err(error) = self.folders.pop() {
                    // A folder was moved while it was read.
                    return Err(Error::io("return from a folder of", source, error));
                }
                continue;
            };
            level.next += 1;
            if level.path_length == 0 && name.starts_with(HOLDFAST_PREFIX) {
                let name = name.to_vec();
                self.visitor.add_note(
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
            self.visit_entry(name_length, kind)?;
        }
    }

    /// Visits the entry whose name ends the current path.
    fn visit_entry(&mut self, name_length: usize, kind: FileType) -> Result<(), Error> {
        let name = self.path[self.path.len() - name_length..].to_vec();
        let folder = self.folders.current();
        let folder = folder.map_err(|error| Error::io("read", &shown(&self.path), error))?;
        let mut kind = kind;
        if kind == FileType::Unknown {
            match rustix::fs::statat(&*folder, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => kind = FileType::from_raw_mode(stat.st_mode),
                Err(error) => {
                    let reason = entry_problem("read", &self.path, error)?;
                    self.visitor.add_note(&self.path, reason);
                    return Ok(());
                }
            }
        }
        let Some(level) = self.levels.last() else {
            return Ok(());
        };
        let is_directory = kind == FileType::Directory;
        let decision = self.matcher.decide(&name, is_directory, &level.decision)?;
        if kind == FileType::Directory {
            if decision.must_descend() {
                return self.enter(folder.as_fd(), &name, decision);
            }
            return Ok(());
        }
        if decision.excluded {
            return Ok(());
        }
        if self.path.len() > MAX_PATH {
            self.visitor
                .add_note(&self.path, "left out: its path is longer than 1 MiB".into());
            return Ok(());
        }
        self.visit_pending()?;
        let found = WalkEntry {
            folder: folder.as_fd(),
            name: &name,
            path: &self.path,
        };
        match kind {
            FileType::RegularFile => self.visitor.visit_file(&found)?,
            FileType::Symlink => self.visitor.visit_symlink(&found)?,
            other => self
                .visitor
                .add_note(&self.path, format!("left out: it is {}", kind_name(other))),
        }
        Ok(())
    }

    /// Visits a folder and starts to walk it.
    fn enter(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        decision: Decision,
    ) -> Result<(), Error> {
        if self.path.len() > MAX_PATH {
            self.visitor
                .add_note(&self.path, "left out: its path is longer than 1 MiB".into());
            return Ok(());
        }
        if self.levels.len() > MAX_DEPTH {
            let reason = format!("left out: it is more than {MAX_DEPTH} folders deep");
            self.visitor.add_note(&self.path, reason);
            return Ok(());
        }
        if self.levels.len() > self.matcher.max_depth() {
            let reason = "left out: it lies too deep for so many ignore patterns";
            self.visitor.add_note(&self.path, reason.into());
            return Ok(());
        }
        let opened = open_with_stat(parent, name);
        let (folder, stat) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.unreadable_folder(parent, name, decision, error),
        };
        let (names, failed) = Names::read(folder.as_fd(), self.control)?;
        if let Some(error) = failed {
            let reason = entry_problem("read all of the folder", &self.path, error)?;
            self.visitor.add_note(&self.path, reason);
        }
        let pending = if decision.excluded {
            Some(stat)
        } else {
            self.visit_pending()?;
            self.visitor
                .visit_folder(&self.path, Some(folder.as_fd()), &stat)?;
            None
        };
        self.folders.push(folder, Identity::from(&stat));
        let path_length = self.path.len();
        self.levels.push(Level {
            names,
            next: 0,
            path_length,
            decision,
            pending,
        });
        Ok(())
    }

    /// Notes a folder that cannot be opened, and visits its own entry.
    fn unreadable_folder(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        decision: Decision,
        error: Errno,
    ) -> Result<(), Error> {
        let reason = match error {
            Errno::NOENT => "it vanished while the backup ran".into(),
            Errno::NOTDIR | Errno::LOOP => "it was replaced while the backup ran".into(),
            _ => entry_problem("open the folder", &self.path, error)?,
        };
        self.visitor.add_note(&self.path, reason);
        if let Ok(stat) = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
            && FileType::from_raw_mode(stat.st_mode) == FileType::Directory
            && !decision.excluded
        {
            self.visit_pending()?;
            self.visitor.visit_folder(&self.path, None, &stat)?;
        }
        Ok(())
    }

    /// Visits the excluded folders above the current entry, which is kept.
    fn visit_pending(&mut self) -> Result<(), Error> {
        if self
            .levels
            .last()
            .is_none_or(|level| level.pending.is_none())
        {
            return Ok(());
        }
        for level in &mut self.levels {
            if let Some(stat) = level.pending.take() {
                self.visitor
                    .visit_folder(&self.path[..level.path_length], None, &stat)?;
            }
        }
        Ok(())
    }
}

fn open_with_stat(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(OwnedFd, Stat), Errno> {
    let open = || rustix::fs::openat(parent, name, FOLDER_FLAGS, Mode::empty());
    let folder = retry_on_intr(open)?;
    let stat = rustix::fs::fstat(&folder)?;
    Ok((folder, stat))
}

/// Returns the reason of a note if the error is a property of the entry, such as its mode.
///
/// Everything else is an error of the walk: without file descriptors or memory, or with a disk that
/// fails, every further entry would be left out, and the archive would look complete.
pub(crate) fn entry_problem(
    action: &'static str,
    path: &[u8],
    error: Errno,
) -> Result<String, Error> {
    if is_property(error) {
        Ok(format!("cannot {action}: {}", std::io::Error::from(error)))
    } else {
        Err(Error::io(action, &shown(path), error))
    }
}

/// Returns whether an error says something about one entry, and nothing about the others.
fn is_property(error: Errno) -> bool {
    matches!(
        error,
        // Its rights, or a key that is not loaded.
        Errno::ACCESS | Errno::PERM | Errno::NOKEY
        // It was removed or replaced.
        | Errno::NOENT | Errno::NOTDIR | Errno::ISDIR | Errno::LOOP
        // It is no file that can be read, or not by this process.
        | Errno::NXIO | Errno::NODEV | Errno::OPNOTSUPP | Errno::INVAL | Errno::OVERFLOW
        | Errno::FBIG | Errno::NAMETOOLONG | Errno::TXTBSY | Errno::BUSY
        // Its checksum is wrong, or its inode is damaged (EUCLEAN).
        | Errno::BADMSG | Errno::UCLEAN
        // Its list of attributes is too long.
        | Errno::TOOBIG | Errno::RANGE | Errno::NODATA
    )
}

/// Returns a path of the archive for an error.
fn shown(path: &[u8]) -> PathBuf {
    PathBuf::from(lossy(path))
}

fn kind_name(kind: FileType) -> &'static str {
    match kind {
        FileType::Socket => "a socket",
        FileType::Fifo => "a named pipe",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "of an unknown kind",
    }
}
