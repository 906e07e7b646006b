//! A random tree: what is in it at first, and what a backup of it must hold.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::support::*;
use crate::tree_lines::{Lines, Without, lines_of_kept};

/// Files of at least this size get blocks of their own.
pub(crate) const LARGE: u64 = 256 << 10;
/// The middle of the generated times.
const TIME: i64 = 1_790_000_000;
pub(crate) const DAY: u64 = 86_400;

/// A generator of numbers. The same seed gives the same ones.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    pub(crate) fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.index(of.len())]
    }

    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap()
    }

    pub(crate) fn threads(&mut self) -> usize {
        1 + self.index(8)
    }

    /// A size: most are small, some are exactly at a limit, a few are large.
    pub(crate) fn size(&mut self) -> u64 {
        match self.below(40) {
            0 => 0,
            1 => self.pick(&[511, 512, 513, 4095, 4096, 4097, 65_536]),
            2 => self.pick(&[LARGE - 1, LARGE, LARGE + 1, 1 << 20, (1 << 20) + 512]),
            3 => LARGE + self.below((3 << 20) - LARGE),
            _ => self.below(9_000),
        }
    }

    /// Contents: noise, text, or pages of which many are the same.
    pub(crate) fn contents(&mut self, size: u64) -> Vec<u8> {
        let size = usize::try_from(size).unwrap();
        let seed = self.below(1 << 30);
        match self.below(4) {
            0 => noise(size, seed),
            1 => {
                let mut pages = Vec::with_capacity(size + 4096);
                while pages.len() < size {
                    pages.extend_from_slice(&noise(4096, self.below(6)));
                }
                pages.truncate(size);
                pages
            }
            _ => {
                let mut text = Vec::with_capacity(size + 40);
                while text.len() < size {
                    let line = format!("player {} moved\n", self.below(5_000));
                    text.extend_from_slice(line.as_bytes());
                }
                text.truncate(size);
                text
            }
        }
    }

    /// A time: years, days or seconds ago, at times in the future or before 1970.
    pub(crate) fn time(&mut self, has_future: bool) -> (i64, i64) {
        let ago = match self.below(8) {
            0 => self.below(12_000 * DAY),
            1 | 2 => self.below(800 * DAY),
            3 => self.below(60 * DAY),
            4 => self.below(2 * DAY),
            _ => self.below(7_200),
        };
        let ago = i64::try_from(ago).unwrap();
        let seconds = match self.below(60) {
            0 => -ago,
            1 if has_future => TIME + ago + 1_000_000_000,
            _ => TIME - ago,
        };
        let nanoseconds = self.below(1_000_000_000);
        let nanoseconds = self.pick(&[0, 1, 999_999_999, nanoseconds, nanoseconds]);
        (seconds, i64::try_from(nanoseconds).unwrap())
    }
}

/// An ignore pattern, and what it means.
pub(crate) enum Pattern {
    Ending(&'static str),
    /// A folder with this name, at any depth.
    Folder(String),
    /// The entry with this path.
    Path(String),
}

impl Pattern {
    fn text(&self) -> String {
        match self {
            Self::Ending(ending) => format!("*{ending}"),
            Self::Folder(name) => format!("{name}/"),
            Self::Path(path) => format!("/{path}"),
        }
    }

    /// Returns whether it names this entry itself.
    fn names(&self, path: &Path, is_folder: bool) -> bool {
        let file_name = path.file_name().unwrap().as_bytes();
        match self {
            Self::Ending(ending) => file_name.ends_with(ending.as_bytes()),
            Self::Folder(name) => is_folder && file_name == name.as_bytes(),
            Self::Path(whole) => path == Path::new(whole),
        }
    }
}

/// A tree that changes.
pub(crate) struct Tree {
    work: PathBuf,
    root: PathBuf,
    pub(crate) random: Random,
    pub(crate) without: Without,
    pub(crate) patterns: Vec<Pattern>,
    /// Whether some times are in the future. Then everything else is old.
    pub(crate) has_future: bool,
    /// The number of the next name.
    pub(crate) next_name: u64,
    pub(crate) changes: Vec<String>,
}

impl Tree {
    /// Returns the tree in a folder, for a backup without patterns.
    pub(crate) fn at(root: &Path, work: &Path) -> Self {
        Self {
            work: work.to_owned(),
            root: root.to_owned(),
            random: Random(1),
            without: Without::default(),
            patterns: Vec::new(),
            has_future: false,
            next_name: 0,
            changes: Vec::new(),
        }
    }

    /// Creates a random tree, `root` in a folder. What is made from it goes to `work`.
    pub(crate) fn new(folder: &Path, work: &Path, seed: u64) -> Self {
        let root = folder.join("root");
        fs_err::create_dir(&root).unwrap();
        fs_err::create_dir(folder.join("outside")).unwrap();
        let mut tree = Self::at(&root, work);
        tree.random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        tree.has_future = tree.random.one_in(3);
        for _ in 0..12 {
            tree.new_folder();
        }
        for _ in 0..80 {
            tree.new_file();
        }
        for size in [LARGE, 700_000, 3 << 20] {
            let contents = tree.random.contents(size);
            let path = tree.new_path(".mca");
            fs_err::write(&path, contents).unwrap();
            tree.set_time(&path);
        }
        for _ in 0..20 {
            tree.change();
        }
        for folder in tree.paths(|found| found.is_dir()) {
            tree.set_time(&folder);
        }
        tree.forget_changes();
        tree
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A folder for archives and what is read from them.
    pub(crate) fn work(&self) -> &Path {
        &self.work
    }

    pub(crate) fn patterns(&self) -> Vec<String> {
        self.patterns.iter().map(Pattern::text).collect()
    }

    /// Returns the changes since the last backup, for the message of a failure.
    pub(crate) fn say(&self, what: &str) -> String {
        let patterns = self.patterns();
        let changes = self.changes.join("\n  ");
        format!("{what}, with the patterns {patterns:?}, after\n  {changes}")
    }

    pub(crate) fn forget_changes(&mut self) {
        self.changes.clear();
    }

    /// Returns the sorted paths of entries, links not followed.
    pub(crate) fn paths(&self, wanted: impl Fn(&std::fs::Metadata) -> bool) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        let mut folders = vec![self.root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs_err::read_dir(&folder).unwrap() {
                let entry = entry.unwrap();
                let metadata = entry.metadata().unwrap();
                if metadata.is_dir() {
                    folders.push(entry.path());
                }
                if wanted(&metadata) {
                    paths.push(entry.path());
                }
            }
        }
        paths.sort();
        paths
    }

    fn is_ignored(&self, below: &Path, is_folder: bool) -> bool {
        let mut above = below.ancestors().filter(|path| *path != Path::new(""));
        above.any(|path| {
            let is_folder = is_folder || path != below;
            self.patterns
                .iter()
                .any(|pattern| pattern.names(path, is_folder))
        })
    }

    /// Returns what a backup must hold.
    pub(crate) fn wanted(&self) -> Lines {
        let is_kept = |below: &Path, is_folder| !self.is_ignored(below, is_folder);
        let mut wanted = lines_of_kept(&self.root, self.without, is_kept);
        wanted.retain(|_, line| !line.starts_with("other "));
        wanted
    }

    /// Returns the number of pipes that are not ignored. Each is a note of the backup.
    pub(crate) fn pipes(&self) -> u64 {
        let pipes = self.paths(|found| {
            let kind = found.file_type();
            !kind.is_file() && !kind.is_dir() && !kind.is_symlink()
        });
        let below = pipes.iter().map(|path| path.strip_prefix(&self.root));
        let kept = below.filter(|below| !self.is_ignored(below.as_ref().unwrap(), false));
        kept.count() as u64
    }
}
