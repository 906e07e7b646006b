//! Random changes of a tree, of each kind that a backup must notice. `attributes.rs` has those of
//! modes, owners and other attributes.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::tree::{LARGE, Pattern, Tree};
use crate::support::*;

const ENDINGS: [&str; 6] = [".dat", ".log", ".mca", ".json", "", ".tmp"];
/// What one change does. Returns `None` if the tree has nothing to do it to.
type Change = fn(&mut Tree) -> Option<String>;

const ALL: [Change; 26] = [
    Tree::new_file_change,
    Tree::new_file_change,
    Tree::new_folder_change,
    Tree::overwrite,
    Tree::overwrite_pages,
    Tree::overwrite_pages,
    Tree::overwrite_and_set_the_clock_back,
    Tree::append,
    Tree::append,
    Tree::truncate,
    Tree::grow_or_shrink_across_the_limit,
    Tree::rename,
    Tree::exchange,
    Tree::replace_by_rename,
    Tree::change_the_type,
    Tree::add_hard_link,
    Tree::break_hard_link,
    Tree::write_through_another_name,
    Tree::make_sparse,
    Tree::change_mode,
    Tree::change_owner,
    Tree::change_attribute,
    Tree::change_pattern,
    Tree::set_a_time,
    Tree::remove,
    Tree::change_link,
];

impl Tree {
    /// Makes one random change.
    pub(crate) fn change(&mut self) {
        loop {
            let change = self.random.pick(&ALL);
            if let Some(said) = change(self) {
                self.changes.push(said);
                return;
            }
        }
    }

    pub(super) fn pick(&mut self, wanted: impl Fn(&std::fs::Metadata) -> bool) -> Option<PathBuf> {
        let paths = self.paths(wanted);
        let index = self.random.index(paths.len().max(1));
        paths.get(index).cloned()
    }

    fn pick_file(&mut self) -> Option<PathBuf> {
        self.pick(std::fs::Metadata::is_file)
    }

    /// Returns the path of an entry that does not exist yet, in a random folder.
    pub(crate) fn new_path(&mut self, ending: &str) -> PathBuf {
        let folders = self.paths(std::fs::Metadata::is_dir);
        let index = self.random.index(folders.len() + 1);
        let folder = folders.get(index).map_or(self.root(), PathBuf::as_path);
        let number = self.next_name;
        let file_name = match number % 19 {
            7 => [b"raw-\xff\xfe", number.to_string().as_bytes()].concat(),
            9 => format!("{}{number}", "long-name-".repeat(20)).into_bytes(),
            12 => format!("new\nline {number}").into_bytes(),
            _ => format!("n{number}").into_bytes(),
        };
        let path = folder.join(name(&[&file_name, ending.as_bytes()].concat()));
        self.next_name += 1;
        path
    }

    pub(crate) fn set_time(&mut self, path: &Path) {
        let (seconds, nanoseconds) = self.random.time(self.has_future);
        set_mtime(path, seconds, nanoseconds);
    }

    /// Sets a generated time, or leaves that of the write.
    fn maybe_set_time(&mut self, path: &Path) {
        if !self.random.one_in(3) {
            self.set_time(path);
        }
    }

    pub(crate) fn new_file(&mut self) -> PathBuf {
        let ending = self.random.pick(&ENDINGS);
        let path = self.new_path(ending);
        let size = self.random.size();
        fs_err::write(&path, self.random.contents(size)).unwrap();
        self.set_time(&path);
        path
    }

    pub(crate) fn new_folder(&mut self) -> PathBuf {
        let path = self.new_path("");
        fs_err::create_dir(&path).unwrap();
        path
    }

    fn new_file_change(&mut self) -> Option<String> {
        let path = self.new_file();
        Some(format!("new file {path:?}"))
    }

    fn new_folder_change(&mut self) -> Option<String> {
        let path = self.new_folder();
        Some(format!("new folder {path:?}"))
    }

    fn overwrite(&mut self) -> Option<String> {
        let path = self.pick_file()?;
        let size = self.random.size();
        fs_err::write(&path, self.random.contents(size)).unwrap();
        self.maybe_set_time(&path);
        Some(format!("overwrite {path:?}"))
    }

    /// Writes some pages anew, as a game does with a region file.
    fn overwrite_pages(&mut self) -> Option<String> {
        let path = self.pick(|found| found.is_file() && found.len() >= LARGE)?;
        let file = fs_err::OpenOptions::new().write(true).open(&path).unwrap();
        let pages = file.metadata().unwrap().len() / 4096;
        for _ in 0..=self.random.below(4) {
            let page = self.random.contents(4096);
            let offset = self.random.below(pages) * 4096;
            file.file().write_all_at(&page, offset).unwrap();
        }
        self.maybe_set_time(&path);
        Some(format!("overwrite pages of {path:?}"))
    }

    /// Size and modification time stay; only the status change time tells.
    fn overwrite_and_set_the_clock_back(&mut self) -> Option<String> {
        let path = self.pick(|found| found.is_file() && found.len() > 0)?;
        let before = fs_err::metadata(&path).unwrap();
        let contents = self.random.contents(before.len());
        fs_err::write(&path, contents).unwrap();
        set_mtime(&path, before.mtime(), before.mtime_nsec());
        Some(format!("overwrite {path:?} and set the clock back"))
    }

    fn append(&mut self) -> Option<String> {
        let path = self.pick_file()?;
        let file = fs_err::OpenOptions::new().write(true).open(&path).unwrap();
        let size = self.random.below(3_000);
        let more = self.random.contents(size);
        let end = file.metadata().unwrap().len();
        file.file().write_all_at(&more, end).unwrap();
        self.maybe_set_time(&path);
        Some(format!("append {size} bytes to {path:?}"))
    }

    fn truncate(&mut self) -> Option<String> {
        let path = self.pick(|found| found.is_file() && found.len() > 0)?;
        let file = fs_err::OpenOptions::new().write(true).open(&path).unwrap();
        let size = self.random.below(file.metadata().unwrap().len());
        file.set_len(size).unwrap();
        self.maybe_set_time(&path);
        Some(format!("truncate {path:?} to {size} bytes"))
    }

    fn grow_or_shrink_across_the_limit(&mut self) -> Option<String> {
        let path = self.pick_file()?;
        let size = fs_err::metadata(&path).unwrap().len();
        let size = if size < LARGE {
            LARGE + self.random.below(200_000)
        } else {
            self.random.below(LARGE)
        };
        fs_err::write(&path, self.random.contents(size)).unwrap();
        self.maybe_set_time(&path);
        Some(format!("write {size} bytes to {path:?}"))
    }

    fn rename(&mut self) -> Option<String> {
        let path = self.pick(|_| true)?;
        let ending = self.random.pick(&ENDINGS);
        let new = self.new_path(ending);
        if new.starts_with(&path) {
            return None;
        }
        fs_err::rename(&path, &new).unwrap();
        Some(format!("rename {path:?} to {new:?}"))
    }

    fn exchange(&mut self) -> Option<String> {
        let (one, other) = (self.pick_file()?, self.pick_file()?);
        let between = self.new_path("");
        fs_err::rename(&one, &between).unwrap();
        if one != other {
            fs_err::rename(&other, &one).unwrap();
        }
        fs_err::rename(&between, &other).unwrap();
        Some(format!("exchange {one:?} and {other:?}"))
    }

    /// The same name, size and modification time, but another file.
    fn replace_by_rename(&mut self) -> Option<String> {
        let path = self.pick_file()?;
        let before = fs_err::metadata(&path).unwrap();
        let new = self.new_path("");
        fs_err::write(&new, self.random.contents(before.len())).unwrap();
        set_mtime(&new, before.mtime(), before.mtime_nsec());
        fs_err::rename(&new, &path).unwrap();
        Some(format!("replace {path:?}"))
    }

    fn change_the_type(&mut self) -> Option<String> {
        let path = self.pick(|found| !found.is_dir())?;
        fs_err::remove_file(&path).unwrap();
        let kind = self
            .random
            .pick(&["a folder", "a link", "a file", "a pipe"]);
        match kind {
            "a folder" => {
                fs_err::create_dir(&path).unwrap();
                write(path.join("inside"), "in a new folder");
            }
            "a link" => std::os::unix::fs::symlink("some/where", &path).unwrap(),
            "a file" => write(&path, "a new file"),
            _ => make_pipe(&path),
        }
        Some(format!("{path:?} becomes {kind}"))
    }

    fn add_hard_link(&mut self) -> Option<String> {
        let path = self.pick_file()?;
        let ending = self.random.pick(&ENDINGS);
        let new = if self.random.one_in(4) {
            let next = self.next_name;
            self.next_name += 1;
            self.root().with_file_name(format!("outside/n{next}"))
        } else {
            self.new_path(ending)
        };
        fs_err::hard_link(&path, &new).unwrap();
        Some(format!("link {path:?} as {new:?}"))
    }

    fn break_hard_link(&mut self) -> Option<String> {
        let path = self.pick(|found| found.is_file() && found.nlink() > 1)?;
        let new = self.new_path("");
        fs_err::copy(&path, &new).unwrap();
        fs_err::rename(&new, &path).unwrap();
        Some(format!("replace {path:?} by a copy"))
    }

    /// Writes to a file with several names. One of them may be outside of the tree.
    fn write_through_another_name(&mut self) -> Option<String> {
        let path = self.pick(|found| found.is_file() && found.nlink() > 1)?;
        let size = self.random.size();
        fs_err::write(&path, self.random.contents(size)).unwrap();
        Some(format!(
            "write {size} bytes to {path:?} and its other names"
        ))
    }

    fn make_sparse(&mut self) -> Option<String> {
        let path = self.pick_file()?;
        let size = self.random.below(3 << 20);
        let piece = self.random.contents(3_000);
        let offset = self.random.below(size + 1);
        let pieces = [(offset, piece.as_slice())];
        let count = self.random.index(2);
        sparse(&path, size, &pieces[..count]);
        self.maybe_set_time(&path);
        Some(format!(
            "make {path:?} sparse: {size} bytes, data at {offset}"
        ))
    }

    fn change_pattern(&mut self) -> Option<String> {
        if self.patterns.len() > 2 || self.random.one_in(2) {
            let removed = self.patterns.pop()?;
            drop(removed);
            return Some("remove a pattern".to_owned());
        }
        let path = self.pick(|_| true)?;
        let below = path.strip_prefix(self.root()).unwrap();
        let is_plain = |text: &[u8]| {
            let mut bytes = text.iter();
            bytes.all(|byte| byte.is_ascii_alphanumeric() || b"-./".contains(byte))
        };
        let text = std::str::from_utf8(below.as_os_str().as_bytes()).ok()?;
        if !is_plain(text.as_bytes()) {
            return None;
        }
        self.patterns.push(match self.random.below(3) {
            0 => Pattern::Ending(self.random.pick(&[".tmp", ".log"])),
            1 if path.is_dir() => Pattern::Folder(text.rsplit('/').next().unwrap().to_owned()),
            _ if path.is_dir() && self.random.one_in(2) => return None,
            _ => Pattern::Path(text.to_owned()),
        });
        Some("add a pattern".to_owned())
    }

    fn remove(&mut self) -> Option<String> {
        let path = self.pick(|_| true)?;
        if path.is_dir() && !path.is_symlink() {
            // Large folders seldom, or the tree would soon be empty.
            if fs_err::read_dir(&path).unwrap().count() > 8 {
                return None;
            }
            fs_err::remove_dir_all(&path).unwrap();
        } else {
            fs_err::remove_file(&path).unwrap();
        }
        Some(format!("remove {path:?}"))
    }

    fn change_link(&mut self) -> Option<String> {
        let path = if self.random.one_in(2) {
            let path = self.pick(std::fs::Metadata::is_symlink)?;
            fs_err::remove_file(&path).unwrap();
            path
        } else {
            self.new_path("")
        };
        let length = self.random.pick(&[1, 30, 99, 100, 101, 300]);
        let target = format!("{}{}", self.next_name, "t".repeat(length));
        std::os::unix::fs::symlink(target, &path).unwrap();
        self.maybe_set_time(&path);
        Some(format!("link {path:?} to something else"))
    }
}

fn make_pipe(path: &Path) {
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
    rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0).unwrap();
}
