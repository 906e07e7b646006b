//! Server directories, their contents, and archives.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest as _, Sha256};

/// A folder for one test, removed afterwards.
pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("test-")
        .tempdir_in(super::database::root())
        .unwrap()
}

/// Creates a small server with every kind of file that servers contain.
pub(crate) fn make_server(root: &Path) {
    write(
        &root.join("server.properties"),
        b"motd=Hold fast\nmax-players=20\n",
    );
    write(&root.join("empty.txt"), b"");
    write(&root.join("world/level.dat"), &noise(3_000, 1));
    write(&root.join("world/region/r.0.0.mca"), &noise(300_000, 2));
    write(&root.join("world/ünï/ναι 1.txt"), "κόσμε\n".as_bytes());
    write(
        &root.join("logs/latest.log"),
        "[INFO] tick\n".repeat(5_000).as_bytes(),
    );
    write(
        &root.join(["a-folder-with-a-long-name"; 6].join("/") + "/file"),
        b"deep\n",
    );
    write(&root.join("start.sh"), b"#!/bin/sh\nexec java\n");
    set_mode(&root.join("start.sh"), 0o755);
    fs_err::create_dir(root.join("plugins")).unwrap();
    set_mode(&root.join("plugins"), 0o750);
    symlink("world/level.dat", root.join("level")).unwrap();
    symlink("/nowhere/at/all", root.join("dangling")).unwrap();
    fs_err::hard_link(root.join("world/level.dat"), root.join("zz-level.dat")).unwrap();
}

pub(crate) fn write(path: &Path, bytes: &[u8]) {
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, bytes).unwrap();
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

pub(crate) fn mode(path: &Path) -> u32 {
    fs_err::metadata(path).unwrap().mode() & 0o7777
}

/// Incompressible bytes, always the same.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
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

/// Everything of a tree that a backup must preserve: one line for each entry.
pub(crate) type Tree = BTreeMap<PathBuf, String>;

/// Describes a tree.
pub(crate) fn tree(root: &Path) -> Tree {
    tree_of(root, &|_| true)
}

/// Describes a tree without the entries that do not count, and without what is below them.
pub(crate) fn tree_of(root: &Path, counts: &dyn Fn(&Path) -> bool) -> Tree {
    let mut found = BTreeMap::new();
    let mut links = BTreeMap::new();
    walk(root, root, counts, &mut links, &mut found);
    found
}

fn walk(
    root: &Path,
    folder: &Path,
    counts: &dyn Fn(&Path) -> bool,
    links: &mut BTreeMap<u64, PathBuf>,
    found: &mut Tree,
) {
    let mut paths: Vec<PathBuf> = fs_err::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| counts(path))
        .collect();
    paths.sort();
    for path in paths {
        let name = path.strip_prefix(root).unwrap().to_owned();
        let metadata = fs_err::symlink_metadata(&path).unwrap();
        let (mode, time) = (metadata.mode() & 0o7777, metadata.mtime());
        let line = if metadata.is_symlink() {
            format!("link to {}", fs_err::read_link(&path).unwrap().display())
        } else if metadata.is_dir() {
            walk(root, &path, counts, links, found);
            format!("folder {mode:o} of {time}")
        } else if !metadata.is_file() {
            // A read of it could block without end.
            format!("special file {mode:o}")
        } else {
            let first = links.entry(metadata.ino()).or_insert_with(|| name.clone());
            let hash = sha256(&fs_err::read(&path).unwrap());
            format!("file {mode:o} of {time}, as {}: {hash}", first.display())
        };
        found.insert(name, line);
    }
}

/// The paths of all files below a folder, hidden ones included; none if the folder does not exist.
pub(crate) fn files_below(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs_err::read_dir(&next).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap();
                found.push(name.to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Unpacks an archive with GNU tar, which is independent of Holdfast.
pub(crate) fn unpack(archive: &Path, into: &Path) {
    fs_err::create_dir_all(into).unwrap();
    let mut tar = Command::new("tar");
    tar.arg("-xzpf").arg(archive).arg("-C").arg(into);
    let output = tar.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Lists an archive with GNU tar.
pub(crate) fn list(archive: &Path) -> Vec<String> {
    let output = Command::new("tar")
        .arg("--quoting-style=literal")
        .arg("-tzf")
        .arg(archive)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}
