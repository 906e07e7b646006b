//! The entries of an archive that a restore of single files and folders needs.
//!
//! These are the requested paths, what is below them, the folders above them, and the files that
//! their hard links name. Only the requested paths are put into place.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::io::Read;

use crate::Error;
use crate::entry_check::split_name;
use crate::error::lossy;
use crate::index::IndexTotals;
use crate::list::list_index;
use crate::tar_format::EntryKind;

/// The most hard links that may lead out of the requested paths.
const LINKS_MAX: usize = 1 << 20;
/// How often an archive is looked through for files that hard links name. Once is enough for every
/// archive whose links name the file itself.
const LOOKS_MAX: u32 = 4;

/// A path, as its names from the root down.
pub(crate) type PathParts = Vec<Vec<u8>>;

/// The requested paths, and the files that their hard links name.
#[derive(Debug)]
pub(crate) struct Selection {
    pub(crate) paths: Vec<PathParts>,
    /// Whether the archive has something at each path.
    found: Vec<bool>,
    /// Hashes of further paths. A file whose path has the same hash is unpacked in vain.
    links: HashSet<u64>,
    hasher: RandomState,
    pub(crate) totals: SelectedTotals,
}

/// The size of what is selected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SelectedTotals {
    pub(crate) entries: u64,
    pub(crate) files: u64,
    /// Bytes of file contents, holes included.
    pub(crate) bytes: u64,
    /// Bytes that the entries take on a disk, in whole pages.
    pub(crate) disk_bytes: u64,
}

impl From<&IndexTotals> for SelectedTotals {
    fn from(totals: &IndexTotals) -> Self {
        Self {
            entries: totals.entries,
            files: totals.files,
            bytes: totals.source_bytes,
            disk_bytes: totals.disk_bytes,
        }
    }
}

/// Where an entry is, seen from the requested paths.
enum Standing {
    /// It is the requested path with this number, or below it.
    Inside(usize),
    /// It is above a requested path.
    Above,
    Outside,
}

/// What a selection needs to know of an entry.
pub(crate) struct EntryView<'a> {
    pub(crate) path: &'a [u8],
    pub(crate) kind: EntryKind,
    pub(crate) link: &'a [u8],
    pub(crate) size: u64,
    pub(crate) stored: u64,
}

/// Returns the first of these paths at which an archive has nothing, by its index, which is read as
/// a stream.
///
/// # Errors
///
/// [`Error::Corrupt`] if the index is damaged; [`Error::Io`] if it cannot be read;
/// [`Error::Hostile`] if a path is absolute, contains `..` or is the root.
pub fn first_missing_path(index: impl Read, paths: &[Vec<u8>]) -> Result<Option<Vec<u8>>, Error> {
    let mut selection = Selection::new(paths)?;
    list_index(index, &mut |entry| {
        let parts = split_name(&entry.path, &entry.path)?;
        if let Standing::Inside(number) = selection.standing(&parts) {
            selection.found[number] = true;
        }
        Ok(selection.found.contains(&false))
    })?;
    Ok(selection.missing().map(|path| path.join(&b'/')))
}

impl Selection {
    /// Selects these paths. One that is inside of another needs nothing of its own.
    pub(crate) fn new(paths: &[Vec<u8>]) -> Result<Self, Error> {
        let mut split: Vec<PathParts> = Vec::new();
        for path in paths {
            let parts = split_name(path, path)?;
            if parts.is_empty() {
                return Err(Error::hostile(path, "it is the directory itself"));
            }
            split.push(parts.into_iter().map(<[u8]>::to_vec).collect());
        }
        split.sort();
        split.dedup_by(|later, earlier| later.starts_with(earlier));
        Ok(Self {
            found: vec![false; split.len()],
            paths: split,
            links: HashSet::new(),
            hasher: RandomState::new(),
            totals: SelectedTotals::default(),
        })
    }

    /// Returns whether an entry is unpacked.
    pub(crate) fn takes(&self, path: &[u8], kind: EntryKind) -> Result<bool, Error> {
        let parts = split_name(path, path)?;
        Ok(match self.standing(&parts) {
            Standing::Inside(_) => true,
            Standing::Above if kind == EntryKind::Directory => true,
            Standing::Above | Standing::Outside => {
                !self.links.is_empty() && self.links.contains(&self.hasher.hash_one(&parts))
            }
        })
    }

    /// Looks through an archive for what belongs to the selection. `each_entry` must call its
    /// argument for every entry, each time that it is called.
    ///
    /// # Errors
    /// [`Error::NotInArchive`] if the archive has nothing at one of the paths.
    pub(crate) fn survey(
        &mut self,
        mut each_entry: impl FnMut(
            &mut dyn FnMut(EntryView<'_>) -> Result<(), Error>,
        ) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for _ in 0..LOOKS_MAX {
            let links = self.links.len();
            self.totals = SelectedTotals::default();
            each_entry(&mut |entry| self.look_at(&entry))?;
            if let Some(missing) = self.missing() {
                return Err(Error::NotInArchive {
                    path: lossy(&missing.join(&b'/')),
                });
            }
            if self.links.len() == links {
                return Ok(());
            }
        }
        let path = self.paths[0].join(&b'/');
        Err(Error::hostile(
            &path,
            "its hard links name other hard links",
        ))
    }

    /// Returns the first path at which nothing was found.
    fn missing(&self) -> Option<&PathParts> {
        let mut paths = self.paths.iter().zip(&self.found);
        paths.find_map(|(path, found)| (!found).then_some(path))
    }

    fn look_at(&mut self, entry: &EntryView<'_>) -> Result<(), Error> {
        const PAGE: u64 = 4096;
        if !self.takes(entry.path, entry.kind)? {
            return Ok(());
        }
        let parts = split_name(entry.path, entry.path)?;
        if let Standing::Inside(number) = self.standing(&parts) {
            self.found[number] = true;
        }
        self.totals.entries += 1;
        match entry.kind {
            EntryKind::File => {
                self.totals.files += 1;
                self.totals.bytes = self.totals.bytes.saturating_add(entry.size);
                let stored = entry.stored.checked_next_multiple_of(PAGE);
                let needed = stored.unwrap_or(u64::MAX);
                self.totals.disk_bytes = self.totals.disk_bytes.saturating_add(needed);
            }
            EntryKind::Directory => self.totals.disk_bytes += PAGE,
            EntryKind::Symlink => {}
            EntryKind::HardLink => {
                self.totals.files += 1;
                let target = split_name(entry.link, entry.path)?;
                if !matches!(self.standing(&target), Standing::Inside(_)) {
                    self.links.insert(self.hasher.hash_one(&target));
                    if self.links.len() > LINKS_MAX {
                        let reason = "too many hard links lead out of the requested paths";
                        return Err(Error::hostile(entry.path, reason));
                    }
                }
            }
        }
        Ok(())
    }

    fn standing(&self, parts: &[&[u8]]) -> Standing {
        let mut standing = Standing::Outside;
        for (number, path) in self.paths.iter().enumerate() {
            let same = path.iter().zip(parts);
            let same = same.take_while(|(wanted, part)| wanted == *part).count();
            if same == path.len() {
                return Standing::Inside(number);
            }
            if same == parts.len() {
                standing = Standing::Above;
            }
        }
        standing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view<'a>(path: &'a str, kind: EntryKind, link: &'a str) -> EntryView<'a> {
        EntryView {
            path: path.as_bytes(),
            kind,
            link: link.as_bytes(),
            size: 5,
            stored: 5,
        }
    }

    fn selection(paths: &[&str]) -> Selection {
        let paths: Vec<Vec<u8>> = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
        Selection::new(&paths).expect("valid paths")
    }

    #[test]
    fn an_entry_is_taken_inside_a_path_or_as_a_folder_above_it() {
        let selection = selection(&["world/region", "a", "a/b", "x-y"]);
        assert_eq!(selection.paths.len(), 3);
        for (path, kind, taken) in [
            ("world/region", EntryKind::Directory, true),
            ("./world//region/r.mca", EntryKind::File, true),
            ("world/", EntryKind::Directory, true),
            ("world", EntryKind::Symlink, false),
            ("world/region2", EntryKind::File, false),
            ("world/level.dat", EntryKind::File, false),
            ("a/b/c", EntryKind::File, true),
            ("x", EntryKind::Directory, false),
            ("./", EntryKind::Directory, true),
        ] {
            let found = selection
                .takes(path.as_bytes(), kind)
                .expect("a valid name");
            assert_eq!(found, taken, "{path}");
        }
    }

    #[test]
    fn files_that_hard_links_name_are_taken_too() {
        let entries = [
            view("first", EntryKind::File, ""),
            view("second", EntryKind::HardLink, "first"),
            view("in/third", EntryKind::HardLink, "./second"),
            view("other", EntryKind::File, ""),
        ];
        let mut selection = selection(&["in"]);
        let surveyed = selection.survey(|each| {
            entries.iter().try_for_each(|entry| {
                let EntryView {
                    path,
                    kind,
                    link,
                    size,
                    stored,
                } = *entry;
                each(EntryView {
                    path,
                    kind,
                    link,
                    size,
                    stored,
                })
            })
        });
        surveyed.expect("a survey");
        let taken = ["first", "second", "in/third", "other"].map(|path| {
            selection
                .takes(path.as_bytes(), EntryKind::File)
                .expect("a name")
        });
        assert_eq!(taken, [true, true, true, false]);
        assert_eq!((selection.totals.entries, selection.totals.bytes), (3, 5));
    }

    #[test]
    fn paths_that_are_missing_or_no_paths_are_refused() {
        let mut wanted = selection(&["a", "b"]);
        let surveyed = wanted.survey(|each| each(view("a/x", EntryKind::File, "")));
        assert!(matches!(surveyed, Err(Error::NotInArchive { path }) if path == "b"));
        for path in ["", ".", "/etc", "a/../b", "a\0"] {
            let refused = Selection::new(&[path.as_bytes().to_vec()]);
            assert!(matches!(refused, Err(Error::Hostile { .. })), "{path:?}");
        }
    }
}
