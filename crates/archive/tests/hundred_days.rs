//! A hundred days of change with deletions. The last archive holds its tree, and is hardly larger
//! than a full one.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use holdfast_archive::{
    ArchiveOutput, Control, CreateOptions, FileOutput, IgnoreRules, PlainOutput, Previous,
    create_from, scan, scan_after, verify,
};

use crate::interop::run;
use crate::support::*;
use crate::tree_lines::{Without, lines};

const DAYS: i64 = 100;
const DAY_SECONDS: i64 = 24 * 60 * 60;
const START: i64 = 1_700_000_000;
/// Configurations and statistics of plugins.
const SMALL_FILES: u64 = 1_200;
/// Region files of a world.
const LARGE_FILES: u64 = 8;
/// By how much an archive may be larger than a full one, in percent.
const LARGER_PERCENT: u64 = 1;

/// A server that changes from day to day. Each file has its own rate of change.
struct Server {
    root: PathBuf,
    random: u64,
    files: Vec<ServerFile>,
}

struct ServerFile {
    path: PathBuf,
    /// How many days of a thousand it changes on.
    rate: u64,
    is_large: bool,
}

impl Server {
    fn new(root: &Path) -> Self {
        let mut server = Self {
            root: root.to_path_buf(),
            random: 17,
            files: Vec::new(),
        };
        for number in 0..LARGE_FILES {
            let rate = [950, 250, 10, 1][server.below(4)];
            server.add(format!("world/region/r.{number}.mca"), true, rate, 0);
        }
        for number in 0..SMALL_FILES {
            let rate = match server.below(1_000) {
                0..4 => 900,
                4..24 => 150,
                _ => 2,
            };
            let folder = server.below(40);
            server.add(format!("plugins/{folder}/{number}.yml"), false, rate, 0);
        }
        server
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        usize::try_from(self.random >> 11).unwrap() % bound
    }

    fn add(&mut self, path: String, is_large: bool, rate: u64, day: i64) {
        let contents = if is_large {
            let length = (256 << 10) + self.below(200 << 10);
            noise(length, self.random)
        } else {
            let lines = 1 + self.below(120);
            self.text(lines)
        };
        let path = self.root.join(path);
        write(&path, contents);
        // A file that seldom changes is old.
        let age = i64::try_from(self.below(400)).unwrap() * 500 / i64::try_from(rate + 1).unwrap();
        set_mtime(&path, START + day * DAY_SECONDS - age * 3_000, 0);
        self.files.push(ServerFile {
            path,
            rate,
            is_large,
        });
    }

    fn text(&mut self, lines: usize) -> Vec<u8> {
        let mut text = String::new();
        for _ in 0..lines {
            let (key, value) = (self.below(300), self.below(100_000));
            text += &format!("setting-{key}:\n  value: {value}\n  comment: as in the manual\n");
        }
        text.into_bytes()
    }

    /// Lets a day go by.
    fn change(&mut self, day: i64) {
        for at in 0..self.files.len() {
            if self.below(1_000) as u64 >= self.files[at].rate {
                continue;
            }
            let path = self.files[at].path.clone();
            let mut contents = fs_err::read(&path).unwrap();
            if self.files[at].is_large {
                for _ in 0..3 {
                    let page = self.below(contents.len() / 4096) * 4096;
                    contents[page..page + 4096].copy_from_slice(&noise(4096, self.random));
                }
            } else {
                contents.extend(self.text(1));
            }
            fs_err::write(&path, contents).unwrap();
            let seconds = i64::try_from(self.below(86_400)).unwrap();
            set_mtime(&path, START + day * DAY_SECONDS + seconds, 0);
        }
        for number in 0..3 {
            let path = format!("plugins/{number}/new-{day}.yml");
            self.add(path, false, 20, day);
        }
        for _ in 0..3 {
            let at = self.below(self.files.len());
            fs_err::remove_file(self.files.swap_remove(at).path).unwrap();
        }
        if day % 20 == 0 {
            self.add(format!("world/region/new-{day}.mca"), true, 250, day);
        }
    }
}

/// An output that shares pages, as far as the engine knows. So the archive has filler, on any file
/// system.
struct SharingOutput<'a>(FileOutput<'a>);

impl ArchiveOutput for SharingOutput<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write(bytes)
    }

    fn takes_front(&self) -> bool {
        true
    }

    fn take_front(&mut self, length: u64, crc: u32) -> io::Result<()> {
        self.0.take_front(length, crc)
    }

    fn page_bytes(&self) -> Option<u64> {
        Some(4096)
    }

    fn take(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.take(offset, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Makes a backup, as if every file had been written long before.
fn back_up(source: &Path, previous: Option<&Made>, shares: bool) -> Made {
    let (rules, control) = (IgnoreRules::none(), Control::new());
    let options = CreateOptions::default();
    let (archive, index) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    let clone = |file: &File| file.try_clone().unwrap();
    let scanned = match previous {
        None => scan(source, &rules, &control),
        Some(made) => {
            let opened = Previous::open(clone(&made.archive), clone(&made.index), &options);
            scan_after(opened.unwrap(), false, source, &rules, &control)
        }
    };
    let mut scanned = scanned.unwrap();
    scanned.set_begun(i64::MAX);
    let summary = match previous {
        None => {
            let output = PlainOutput(&archive);
            create_from(scanned, &rules, &options, output, &index, &control)
        }
        Some(made) if shares => {
            let output = SharingOutput(FileOutput::new(&archive, &made.archive));
            create_from(scanned, &rules, &options, output, &index, &control)
        }
        Some(made) => {
            let output = FileOutput::new(&archive, &made.archive);
            create_from(scanned, &rules, &options, output, &index, &control)
        }
    };
    Made {
        archive,
        index,
        summary: summary.unwrap(),
    }
}

/// The archive holds the tree, with Holdfast, GNU tar and `sha256sum`.
fn assert_holds(made: &Made, source: &Path) {
    let verified = verify(&made.archive, made.expected().as_ref(), &Control::new());
    assert_eq!(verified.unwrap().sha256, made.summary.sha256);
    let work = folder();
    fs_err::write(work.path().join("a.tar.gz"), bytes(&made.archive)).unwrap();
    if let Some(said) = run("sha256sum", work.path(), "sha256sum a.tar.gz") {
        assert!(said.starts_with(hex::encode(made.summary.sha256).as_bytes()));
    }
    let script = "tar --version | grep -q GNU && mkdir t && tar -xpzf a.tar.gz -C t 2>&1";
    if let Some(said) = run("tar", work.path(), script) {
        assert_eq!(String::from_utf8_lossy(&said), "");
        let without = Without::default();
        assert!(lines(&work.path().join("t"), without) == lines(source, without));
    }
}

/// Returns the sizes of the archive and of a full one, on some of the days. `None` if nothing is
/// reused.
fn sizes(shares: bool) -> Option<Vec<(u64, u64)>> {
    let folder = folder();
    let mut server = Server::new(&folder.path().join("server"));
    let source = server.root.clone();
    let mut made = back_up(&source, None, shares);
    let mut sizes = Vec::new();
    for day in 1..=DAYS {
        server.change(day);
        made = back_up(&source, Some(&made), shares);
        if made.summary.reused_bytes == 0 {
            return None;
        }
        if day % 25 == 0 {
            let full = back_up(&source, None, shares);
            sizes.push((made.summary.archive_bytes, full.summary.archive_bytes));
        }
    }
    assert_holds(&made, &source);
    Some(sizes)
}

#[test]
fn a_hundred_days_hardly_make_the_archive_larger() {
    // With a file system that shares pages and without, each on a thread of its own.
    let found = std::thread::scope(|scope| {
        let other = scope.spawn(|| sizes(true));
        [sizes(false), other.join().unwrap()]
    });
    for sizes in found {
        let Some(sizes) = sizes else {
            skip("the file system of the temporary folder does not tell of all changes");
            continue;
        };
        for (size, full) in &sizes {
            assert!(size * 100 <= full * (100 + LARGER_PERCENT), "{sizes:?}");
        }
    }
}
