//! Test support: creates trees and archives, and describes trees.
#![allow(dead_code, reason = "every test binary uses its own part")]
#![allow(
    clippy::allow_attributes,
    reason = "an expectation would fail where all is used"
)]
#![allow(missing_docs, reason = "a support module of tests")]
#![allow(unreachable_pub, reason = "a support module of tests")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use holdfast_archive::{
    Control, CreateOptions, Error, Expected, IgnoreRules, RestoreOptions, RestoreSummary, Summary,
    create, restore,
};

/// Creates a temporary folder.
pub fn folder() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("holdfast-archive-")
        .tempdir()
        .unwrap()
}

/// Creates a temporary folder in memory if possible, for tests that would wait for the disk.
pub fn memory_folder() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("holdfast-archive-")
        .tempdir_in("/dev/shm")
        .unwrap_or_else(|_| folder())
}

pub fn write(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
    let path = path.as_ref();
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, bytes).unwrap();
}

pub fn set_mode(path: impl AsRef<Path>, mode: u32) {
    fs_err::set_permissions(path.as_ref(), std::fs::Permissions::from_mode(mode)).unwrap();
}

pub fn set_mtime(path: impl AsRef<Path>, seconds: i64, nanoseconds: i64) {
    let time = rustix::fs::Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    let times = rustix::fs::Timestamps {
        last_access: time,
        last_modification: time,
    };
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::utimensat(rustix::fs::CWD, path.as_ref(), &times, flags).unwrap();
}

pub fn name(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

/// Writes a small server with every kind of entry and attribute.
pub fn server(root: &Path) {
    write(root.join("server.properties"), "motd=hello\n");
    write(root.join("empty.txt"), "");
    write(root.join("world/level.dat"), noise(3000, 1));
    write(root.join("world/region/r.0.0.mca"), noise(2_500_000, 2));
    write(
        root.join("logs/latest.log"),
        "line of a log\n".repeat(200_000),
    );
    write(root.join("start.sh"), "#!/bin/sh\n");
    set_mode(root.join("start.sh"), 0o755);
    fs_err::create_dir(root.join("plugins")).unwrap();
    set_mode(root.join("plugins"), 0o750);
    std::os::unix::fs::symlink("world/level.dat", root.join("link")).unwrap();
    std::os::unix::fs::symlink("/nowhere/at/all", root.join("dangling")).unwrap();
    std::os::unix::fs::symlink("../".repeat(60), root.join("far")).unwrap();
    fs_err::hard_link(root.join("world/level.dat"), root.join("zz-level.dat")).unwrap();
    write(root.join(name(b"raw-\xff\xfe.bin")), "not utf-8");
    write(
        root.join(format!(
            "deep/{}/file",
            ["folder-of-a-long-name"; 12].join("/")
        )),
        "deep",
    );
    sparse(
        &root.join("world/map.bin"),
        3 << 20,
        &[(1 << 20, b"island"), ((3 << 20) - 4, b"last")],
    );
    set_mtime(root.join("server.properties"), 1_600_000_000, 123_456_789);
    set_mtime(root.join("link"), 1_500_000_000, 5);
    set_mtime(root.join("start.sh"), -5, 250_000_000);
    set_mtime(root.join("world/region"), 1_400_000_000, 1);
    set_mtime(root.join("world"), 1_400_000_001, 0);
}

pub fn sparse(path: &Path, size: u64, pieces: &[(u64, &[u8])]) {
    use std::os::unix::fs::FileExt as _;
    let file = fs_err::File::create(path).unwrap();
    file.set_len(size).unwrap();
    for (offset, bytes) in pieces {
        file.file().write_all_at(bytes, *offset).unwrap();
    }
}

/// Returns bytes that cannot be compressed. The same seed gives the same bytes.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Describes every entry by path: kind, mode, time, contents, links and holes.
pub fn describe(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut inodes: BTreeMap<u64, PathBuf> = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let mut paths: Vec<PathBuf> = fs_err::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        for path in paths {
            let metadata = fs_err::symlink_metadata(&path).unwrap();
            let below = path.strip_prefix(root).unwrap().to_path_buf();
            let mtime = format!("{}.{:09}", metadata.mtime(), metadata.mtime_nsec());
            let mode = metadata.mode() & 0o7777;
            let text = if metadata.is_symlink() {
                format!(
                    "link to {} at {mtime}",
                    fs_err::read_link(&path).unwrap().display()
                )
            } else if metadata.is_dir() {
                folders.push(path.clone());
                format!("folder {mode:o} at {mtime}")
            } else if metadata.is_file() {
                let same = inodes
                    .entry(metadata.ino())
                    .or_insert_with(|| below.clone());
                let bytes = fs_err::read(&path).unwrap();
                let blocks = if metadata.blocks() * 512 < metadata.len() {
                    "sparse "
                } else {
                    ""
                };
                let hash = crc32fast::hash(&bytes);
                let size = bytes.len();
                let links = metadata.nlink();
                format!(
                    "{blocks}file {mode:o} at {mtime}: {size} bytes {hash:08x}, \
                     {links} names, {same:?}"
                )
            } else {
                "something else".to_owned()
            };
            found.insert(below, text);
        }
    }
    // The order of the names of a hard-linked file depends on the walk, so the smallest is used.
    found
}

/// An archive and its index, each in an unnamed temporary file.
pub struct Made {
    pub archive: File,
    pub index: File,
    pub summary: Summary,
}

impl Made {
    pub fn expected(&self) -> Option<Expected> {
        let Summary {
            sha256,
            archive_bytes,
            ..
        } = self.summary;
        Some(Expected {
            sha256,
            archive_bytes,
        })
    }
}

pub fn make(source: &Path, patterns: &[&str], options: &CreateOptions) -> Result<Made, Error> {
    let patterns: Vec<String> = patterns.iter().map(|&line| line.to_owned()).collect();
    let rules = IgnoreRules::new(&patterns)?;
    let archive = tempfile::tempfile().unwrap();
    let index = tempfile::tempfile().unwrap();
    let summary = create(source, &rules, options, &archive, &index, &Control::new())?;
    Ok(Made {
        archive,
        index,
        summary,
    })
}

pub fn make_simply(source: &Path) -> Made {
    make(source, &[], &CreateOptions::default()).unwrap()
}

/// Restores with `truncate` and without an index.
pub fn put_back(archive: &File, destination: &Path) -> Result<RestoreSummary, Error> {
    let options = RestoreOptions {
        truncate: true,
        special_modes: true,
        ..Default::default()
    };
    restore(
        archive,
        None,
        destination,
        &options,
        &Control::new(),
        &mut || Ok(()),
    )
}

/// Returns all bytes of a file.
pub fn bytes(file: &File) -> Vec<u8> {
    use std::os::unix::fs::FileExt as _;
    let mut all = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut all, 0).unwrap();
    all
}

/// Opens a file to read it.
pub fn open(path: &Path) -> File {
    fs_err::File::open(path).unwrap().into_parts().0
}

/// Returns an unnamed temporary file with these bytes.
pub fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Prints why a test is skipped.
pub fn skip(reason: &str) {
    eprintln!("skipped: {reason}");
}

/// Returns the paths in an archive, in its order.
pub fn entries(made: &Made) -> Vec<String> {
    let mut paths = Vec::new();
    holdfast_archive::list(&made.archive, None, &Control::new(), &mut |entry| {
        paths.push(String::from_utf8_lossy(&entry.path).into_owned());
        Ok(())
    })
    .unwrap();
    paths
}

/// A small file system in memory. Mounting it needs root.
pub struct Disk(tempfile::TempDir);

impl Disk {
    /// A file system without access control lists and attributes of users, which does not report
    /// its size either. Mounting it needs root.
    pub fn without_acls() -> Option<Self> {
        Self::mount_type("ramfs", "mode=0755")
    }

    pub fn mount(options: &str) -> Option<Self> {
        Self::mount_type("tmpfs", options)
    }

    fn mount_type(kind: &str, options: &str) -> Option<Self> {
        if !is_root() {
            skip("only root can mount a file system");
            return None;
        }
        let folder = folder();
        let mounted = std::process::Command::new("mount")
            .args(["-t", kind, "-o", options, kind])
            .arg(folder.path())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(folder));
        }
        skip("mounting is not allowed");
        None
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(self.0.path())
            .status();
    }
}

/// Returns the path of the engine, an example that `cargo test` builds.
pub fn engine() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push("examples/holdfast-archive");
    assert!(
        path.exists(),
        "run `cargo build -p holdfast-archive --examples` first"
    );
    path
}

/// Compares two trees path by path.
pub fn assert_same(found: &Path, wanted: &Path) {
    let (found, wanted) = (describe(found), describe(wanted));
    for (path, text) in &wanted {
        assert_eq!(found.get(path), Some(text), "{}", path.display());
    }
    assert_eq!(
        wanted.keys().collect::<Vec<_>>(),
        found.keys().collect::<Vec<_>>()
    );
}

/// Runs the engine while a system call fails: `call:error=ERRNO`, and any other option of strace.
/// With `only`, it fails for this file or folder alone. Returns `None`, and prints why, if strace
/// is missing or may not trace.
pub fn with_failing_call(
    injection: &str,
    only: Option<&Path>,
    arguments: &[&OsStr],
) -> Option<std::process::Output> {
    let calls = injection.split(':').next().unwrap();
    let mut command = std::process::Command::new("strace");
    command.args([
        "-f",
        "-qqq",
        "-o",
        "/dev/null",
        "-e",
        &format!("trace={calls}"),
    ]);
    command.args(["-e", &format!("inject={injection}")]);
    if let Some(only) = only {
        command.arg("-P").arg(only);
    }
    let output = command.arg(engine()).args(arguments).output();
    let Ok(output) = output else {
        skip("strace is not installed");
        return None;
    };
    if String::from_utf8_lossy(&output.stderr).contains("strace:") {
        skip("strace may not trace here");
        return None;
    }
    Some(output)
}
