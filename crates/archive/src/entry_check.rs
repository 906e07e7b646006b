//! Decides which entries of an archive can be restored. Restoring and verifying both ask here, so
//! that what is verified can also be restored.
//!
//! Names are remembered as hashes with a random key, and no more than [`MAX_SEEN`] of them, so that
//! memory stays below 64 MiB whatever an archive holds. Names after that many are not compared: the
//! file system decides about them.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash, Hasher, RandomState};

use crate::Error;
use crate::tar_format::{EntryKind, TarEntry};

/// The longest name, in bytes; the same as the limit for archiving.
const MAX_NAME: usize = 1 << 20;
/// The longest part of a name that Linux file systems accept.
const MAX_PART: usize = 255;
/// The longest target of a symlink that Linux accepts.
const MAX_TARGET: usize = 4095;
/// The most folders from the root to an entry.
pub(crate) const MAX_DEPTH: usize = 16_384;
/// The most names that are remembered: as many as fit into a table of 36 MiB.
const MAX_SEEN: usize = (4 << 20) / 8 * 7;
/// The most folders that have no entry of their own.
const MAX_IMPLICIT: usize = 50_000;

/// The kind of a name that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SeenKind {
    File = 0,
    Symlink = 1,
    Folder = 2,
    /// A folder that was needed by an entry below it, and whose own entry may still follow.
    Implicit = 3,
}

/// What the entries so far say about a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FolderState {
    /// Neither the folder nor anything below it came so far.
    Missing,
    /// Entries below it came, but not its own one.
    Implicit,
    /// Its own entry came.
    Complete,
    /// It may have come: its name is not remembered.
    Unknown,
}

/// Where an entry goes.
pub(crate) struct Placement<'a> {
    /// The parts of its name, from the root down; none for the root itself.
    pub(crate) parts: Vec<&'a [u8]>,
    /// What came before, if the entry is a folder.
    pub(crate) state: FolderState,
}

/// A folder on the way to the latest entry.
pub(crate) struct KnownFolder {
    pub(crate) name: Vec<u8>,
    /// The state before the first entry for which it was on the way.
    pub(crate) state: FolderState,
    /// The hash of its path, to continue with the names below it.
    path: DefaultHasher,
}

/// The hash of a path; its last two bits are the kind of the entry. Two are equal if their paths
/// are, so that one look-up finds a path of any kind.
#[derive(Debug, Clone, Copy)]
struct SeenPath(u64);

impl SeenPath {
    fn new(path: &DefaultHasher, kind: SeenKind) -> Self {
        Self(path.finish() & !3 | kind as u64)
    }

    fn kind(self) -> SeenKind {
        match self.0 & 3 {
            0 => SeenKind::File,
            1 => SeenKind::Symlink,
            2 => SeenKind::Folder,
            _ => SeenKind::Implicit,
        }
    }
}

impl PartialEq for SeenPath {
    fn eq(&self, other: &Self) -> bool {
        self.0 >> 2 == other.0 >> 2
    }
}

impl Eq for SeenPath {}

impl Hash for SeenPath {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0 >> 2);
    }
}

/// Hashes numbers that are hashes already.
#[derive(Default)]
struct SameNumber(u64);

impl Hasher for SameNumber {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// The names of an archive so far.
pub(crate) struct EntryCheck {
    root: DefaultHasher,
    seen: HashSet<SeenPath, BuildHasherDefault<SameNumber>>,
    folders: Vec<KnownFolder>,
    implicit: usize,
}

impl EntryCheck {
    pub(crate) fn new() -> Self {
        Self {
            root: RandomState::new().build_hasher(),
            seen: HashSet::default(),
            folders: Vec::new(),
            implicit: 0,
        }
    }

    /// Checks the next entry, and returns its place.
    pub(crate) fn next<'e>(&mut self, entry: &'e TarEntry) -> Result<Placement<'e>, Error> {
        let refused = |reason: &str| Error::hostile(&entry.path, reason);
        let parts = split_name(&entry.path, &entry.path)?;
        let Some((name, parents)) = parts.split_last() else {
            return match entry.kind {
                EntryKind::Directory => Ok(Placement {
                    parts,
                    state: FolderState::Complete,
                }),
                _ => Err(refused("it has no name")),
            };
        };
        if parents.len() > MAX_DEPTH {
            return Err(refused(&format!(
                "it is more than {MAX_DEPTH} folders deep"
            )));
        }
        self.enter(entry, parents)?;
        let kind = match entry.kind {
            EntryKind::File => SeenKind::File,
            EntryKind::Directory => SeenKind::Folder,
            EntryKind::Symlink => {
                check_target(entry)?;
                SeenKind::Symlink
            }
            EntryKind::HardLink => {
                self.check_hard_link(entry)?;
                SeenKind::File
            }
        };
        let path = below(self.current(), name);
        let state = match self.kind_of(&path) {
            None => self.state_of_unseen(),
            Some(SeenKind::Implicit) if kind == SeenKind::Folder => {
                self.seen.remove(&SeenPath::new(&path, SeenKind::Implicit));
                self.implicit -= 1;
                FolderState::Implicit
            }
            Some(_) => return Err(refused("it is in the archive twice")),
        };
        self.remember(&path, kind);
        Ok(Placement { parts, state })
    }

    /// Returns the folders on the way to the latest entry, from the root down.
    pub(crate) fn parents(&self) -> &[KnownFolder] {
        &self.folders
    }

    /// Checks the folders above an entry. Unknown ones are created for it.
    fn enter(&mut self, entry: &TarEntry, parents: &[&[u8]]) -> Result<(), Error> {
        let shared = self.folders.iter().zip(parts_of(parents));
        let shared = shared
            .take_while(|(folder, part)| folder.name == *part)
            .count();
        self.folders.truncate(shared);
        for part in &parents[shared..] {
            let path = below(self.current(), part);
            let state = match self.kind_of(&path) {
                Some(SeenKind::Folder) => FolderState::Complete,
                Some(SeenKind::Implicit) => FolderState::Implicit,
                Some(SeenKind::File | SeenKind::Symlink) => {
                    return Err(Error::hostile(&entry.path, "its parent is not a folder"));
                }
                None => {
                    if self.implicit >= MAX_IMPLICIT {
                        let reason = "too many folders have no entry";
                        return Err(Error::hostile(&entry.path, reason));
                    }
                    let state = self.state_of_unseen();
                    if self.remember(&path, SeenKind::Implicit) {
                        self.implicit += 1;
                    }
                    state
                }
            };
            let name = part.to_vec();
            self.folders.push(KnownFolder { name, state, path });
        }
        Ok(())
    }

    /// Checks that a hard link names a regular file before it.
    fn check_hard_link(&self, entry: &TarEntry) -> Result<(), Error> {
        let refused = |reason| Err(Error::hostile(&entry.path, reason));
        let target = split_name(&entry.link, &entry.path)?;
        if target.is_empty() {
            return refused("it links to the root");
        }
        let path = target
            .iter()
            .fold(self.root.clone(), |path, part| below(&path, part));
        match self.kind_of(&path) {
            Some(SeenKind::File) => Ok(()),
            Some(_) => refused("its link target is not a regular file"),
            None if self.is_full() => Ok(()),
            None => refused("it links to a file that is not in the archive"),
        }
    }

    fn current(&self) -> &DefaultHasher {
        self.folders
            .last()
            .map_or(&self.root, |folder| &folder.path)
    }

    fn kind_of(&self, path: &DefaultHasher) -> Option<SeenKind> {
        let any_kind = SeenPath::new(path, SeenKind::File);
        self.seen.get(&any_kind).map(|seen| seen.kind())
    }

    /// Remembers a name, if there is room. Returns whether there is.
    fn remember(&mut self, path: &DefaultHasher, kind: SeenKind) -> bool {
        !self.is_full() && self.seen.insert(SeenPath::new(path, kind))
    }

    fn state_of_unseen(&self) -> FolderState {
        if self.is_full() {
            FolderState::Unknown
        } else {
            FolderState::Missing
        }
    }

    fn is_full(&self) -> bool {
        self.seen.len() >= MAX_SEEN
    }
}

fn parts_of<'a>(parts: &'a [&'a [u8]]) -> impl Iterator<Item = &'a [u8]> {
    parts.iter().copied()
}

/// Returns the hash of the path of a name in a folder.
fn below(folder: &DefaultHasher, name: &[u8]) -> DefaultHasher {
    let mut path = folder.clone();
    path.write(name);
    path.write_u8(b'/');
    path
}

/// Splits a name into its parts, from the root down. Drops `.` and repeated slashes.
///
/// Refuses names longer than 1 MiB, names with a leading slash, `..` or NUL, and names with a part
/// that no file system takes. `entry` is the path of the entry that has the name.
pub(crate) fn split_name<'a>(name: &'a [u8], entry: &[u8]) -> Result<Vec<&'a [u8]>, Error> {
    let refused = |reason| Err(Error::hostile(entry, reason));
    if name.starts_with(b"/") {
        return refused("its name is absolute");
    }
    if name.len() > MAX_NAME {
        return refused("its name is too long");
    }
    if name.contains(&0) {
        return refused("its name holds a NUL byte");
    }
    let mut parts = Vec::new();
    for part in name.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return refused("its name contains `..`"),
            part if part.len() > MAX_PART => return refused("a part of its name is too long"),
            part => parts.push(part),
        }
    }
    Ok(parts)
}

/// Checks that the system takes the target of a symlink, whatever it is.
fn check_target(entry: &TarEntry) -> Result<(), Error> {
    let reason = if entry.link.is_empty() {
        "its link target is empty"
    } else if entry.link.len() > MAX_TARGET {
        "its link target is too long"
    } else if entry.link.contains(&0) {
        "its link target holds a NUL byte"
    } else {
        return Ok(());
    };
    Err(Error::hostile(&entry.path, reason))
}
