//! Describes a tree in lines, one for each entry: kind, mode, owner, time, path, and what its kind
//! has. `fixtures/make.py` writes the same lines.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use holdfast_archive::{EntryKind, ListedEntry};

/// What a list does not state.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Without {
    pub(crate) owners: bool,
    /// Extended attributes, access control lists among them.
    pub(crate) attributes: bool,
}

/// The lines of a tree, by path.
pub(crate) type Lines = BTreeMap<Vec<u8>, String>;

/// Returns the lines of all entries below `root`.
pub(crate) fn lines(root: &Path, without: Without) -> Lines {
    lines_of_kept(root, without, |_, _| true)
}

/// Returns the lines of the entries below `root` that `is_kept` returns true for, by path and
/// whether they are folders.
pub(crate) fn lines_of_kept(
    root: &Path,
    without: Without,
    is_kept: impl Fn(&Path, bool) -> bool,
) -> Lines {
    let mut paths = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = match fs_err::read_dir(&folder) {
            // Only root can list a folder that forbids it.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => continue,
            entries => entries.unwrap(),
        };
        for entry in entries {
            let entry = entry.unwrap();
            let is_folder = entry.file_type().unwrap().is_dir();
            let path = entry.path();
            let below = path.strip_prefix(root).unwrap();
            if !is_kept(below, is_folder) {
                continue;
            }
            paths.push(below.as_os_str().as_bytes().to_vec());
            if is_folder {
                folders.push(path);
            }
        }
    }
    paths.sort();
    let mut first_names: BTreeMap<(u64, u64), Vec<u8>> = BTreeMap::new();
    let mut lines = BTreeMap::new();
    for below in paths {
        let path = root.join(crate::support::name(&below));
        let found = fs_err::symlink_metadata(&path).unwrap();
        let mut line = start(
            kind_of(&found),
            found.mode() & 0o7777,
            (!without.owners).then(|| (u64::from(found.uid()), u64::from(found.gid()))),
            (found.mtime(), u32::try_from(found.mtime_nsec()).unwrap()),
            &below,
        );
        if found.is_symlink() {
            let target = fs_err::read_link(&path).unwrap();
            add_target(&mut line, target.as_os_str().as_bytes());
        } else if found.is_file() {
            let bytes = fs_err::read(&path).unwrap();
            add_contents(&mut line, &bytes);
            let identity = (found.dev(), found.ino());
            let first = first_names.entry(identity).or_insert_with(|| below.clone());
            if *first != below {
                add_first_name(&mut line, first);
            }
        }
        if !without.attributes && !found.is_symlink() {
            add_attributes(&mut line, &path);
        }
        lines.insert(below, line);
    }
    lines
}

fn kind_of(found: &std::fs::Metadata) -> &'static str {
    match found {
        found if found.is_symlink() => "link",
        found if found.is_dir() => "folder",
        found if found.is_file() => "file",
        _ => "other",
    }
}

fn start(
    kind: &str,
    mode: u32,
    owner: Option<(u64, u64)>,
    (seconds, nanoseconds): (i64, u32),
    path: &[u8],
) -> String {
    let owner = owner.map_or_else(|| "-".to_owned(), |(user, group)| format!("{user}:{group}"));
    let path = path.escape_ascii();
    format!("{kind} {mode:04o} {owner} {seconds}.{nanoseconds:09} '{path}'")
}

fn add_target(line: &mut String, target: &[u8]) {
    write!(line, " to '{}'", target.escape_ascii()).unwrap();
}

fn add_contents(line: &mut String, bytes: &[u8]) {
    write!(line, " {} {:08x}", bytes.len(), crc32fast::hash(bytes)).unwrap();
}

fn add_first_name(line: &mut String, first: &[u8]) {
    write!(line, " same as '{}'", first.escape_ascii()).unwrap();
}

fn add_attributes(line: &mut String, path: &Path) {
    let mut buffer = vec![0; 64 << 10];
    let Ok(length) = rustix::fs::llistxattr(path, &mut buffer[..]) else {
        return;
    };
    let list = buffer[..length].to_vec();
    let mut names: Vec<&[u8]> = list.split(|&byte| byte == 0).collect();
    names.retain(|name| name.starts_with(b"user.") || name.starts_with(b"system.posix_acl_"));
    names.sort_unstable();
    for name in names {
        let length = rustix::fs::lgetxattr(path, name, &mut buffer[..]).unwrap();
        let name = String::from_utf8_lossy(name);
        write!(line, " {name}={}", hex::encode(&buffer[..length])).unwrap();
    }
}

/// Returns the start of a line of an entry as an archive lists it: what all kinds have.
pub(crate) fn start_of(entry: &ListedEntry, without: Without) -> String {
    let kind = match entry.kind {
        EntryKind::File | EntryKind::HardLink => "file",
        EntryKind::Directory => "folder",
        EntryKind::Symlink => "link",
    };
    let owner = (!without.owners).then_some((entry.uid, entry.gid));
    start(kind, entry.mode, owner, entry.mtime, &entry.path)
}

/// Returns the line of an entry as an archive lists it. `contents` are those of a file.
pub(crate) fn line_of(entry: &ListedEntry, without: Without, contents: &[u8]) -> String {
    let mut line = start_of(entry, without);
    match entry.kind {
        EntryKind::Symlink => add_target(&mut line, &entry.link),
        EntryKind::File => add_contents(&mut line, contents),
        EntryKind::HardLink => {
            add_contents(&mut line, contents);
            add_first_name(&mut line, &entry.link);
        }
        EntryKind::Directory => {}
    }
    line
}

/// Reads the lines of a fixture, by path as it is written there.
pub(crate) fn read_lines(path: &Path, without: Without) -> Vec<String> {
    let text = fs_err::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| {
        let (mut rest, mut owner) = (line, "-");
        let (kind, after) = rest.split_once(' ').unwrap();
        let (mode, after) = after.split_once(' ').unwrap();
        let (stated, after) = after.split_once(' ').unwrap();
        if !without.owners {
            owner = stated;
        }
        rest = after;
        if without.attributes {
            let end = [" system.", " user."].iter();
            let end = end.filter_map(|start| rest.find(start)).min();
            rest = &rest[..end.unwrap_or(rest.len())];
        }
        format!("{kind} {mode} {owner} {rest}")
    });
    lines.collect()
}

/// Returns the folder of the fixtures.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Returns whether files in this folder can have access control lists and attributes of users.
pub(crate) fn has_attributes(folder: &Path) -> bool {
    let probe = folder.join("probe");
    crate::support::write(&probe, "");
    let flags = rustix::fs::XattrFlags::empty();
    let list = hex::decode(
        "0200000001000600ffffffff02000700d204000004000400ffffffff10000700ffffffff20000400ffffffff",
    )
    .unwrap();
    let attributes: [(&str, &[u8]); 2] = [("user.note", b"x"), ("system.posix_acl_access", &list)];
    let has_all = attributes
        .iter()
        .all(|(name, value)| rustix::fs::setxattr(&probe, *name, value, flags).is_ok());
    fs_err::remove_file(&probe).unwrap();
    has_all
}
