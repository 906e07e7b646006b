//! The directory of a small game server: creates, scans, damages and compares it.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use fs_err as fs;
use sha2::{Digest, Sha256};

use super::transcript::Transcript;
use crate::error::CommandError;

/// The ignore patterns of the demo's backup; [`is_ignored`] matches the same paths.
pub(super) const IGNORED: &str = "*.log\ncache/";

/// The state of a file, directory or link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileState {
    mode: u32,
    modified: (i64, i64),
    pub(super) size_bytes: u64,
    /// The SHA-256 of a file's content or of a link's target.
    content: Option<Vec<u8>>,
}

impl FileState {
    pub(super) fn is_file(&self) -> bool {
        // S_IFMT and S_IFREG.
        self.mode & 0o170_000 == 0o100_000
    }
}

/// Creates a directory like a Minecraft server's: region files, settings, logs and a link.
pub(super) fn create(root: &Path) -> Result<(), CommandError> {
    for folder in [
        "world/region",
        "world/playerdata",
        "plugins/Essentials",
        "logs",
        "cache",
        "empty",
    ] {
        fs::create_dir_all(root.join(folder))?;
    }
    for x in -3..3 {
        for z in -3..3 {
            // Region files contain compressed chunks and zeros: half random, half empty.
            let mut region = vec![0_u8; 512 << 10];
            rand::fill(&mut region[..256 << 10]);
            fs::write(root.join(format!("world/region/r.{x}.{z}.mca")), region)?;
        }
    }
    for player in 0..200_u32 {
        let text = format!(
            "{{\"player\":{player},\"health\":20,\"inventory\":[{}]}}\n",
            "64,".repeat(200) + "0"
        );
        fs::write(
            root.join(format!("world/playerdata/{player:04}.json")),
            text,
        )?;
    }
    fs::write(
        root.join("server.properties"),
        "motd=Holdfast\nmax-players=20\nlevel-name=world\n",
    )?;
    fs::write(
        root.join("plugins/Essentials/config.yml"),
        "homes: 3\n".repeat(500),
    )?;
    fs::write(root.join("world/level.dat"), [7_u8; 4096])?;
    fs::write(
        root.join("logs/latest.log"),
        "[12:00:00] [Server] left out by a pattern\n".repeat(1000),
    )?;
    fs::write(root.join("cache/map.bin"), [0_u8; 65536])?;
    fs::write(
        root.join("start.sh"),
        "#!/bin/sh\nexec java -jar server.jar\n",
    )?;
    fs::set_permissions(
        root.join("start.sh"),
        std::fs::Permissions::from_mode(0o750),
    )?;
    symlink("world/level.dat", root.join("level.dat")).map_err(CommandError::from)
}

/// Says whether [`IGNORED`] matches a path.
pub(super) fn is_ignored(path: &Path) -> bool {
    path.starts_with("cache") || path.extension().is_some_and(|extension| extension == "log")
}

/// Returns everything below `root`, by relative path.
pub(super) fn scan(root: &Path) -> Result<BTreeMap<PathBuf, FileState>, CommandError> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let metadata = fs::symlink_metadata(&path)?;
            let content = if metadata.is_file() {
                Some(Sha256::digest(fs::read(&path)?).to_vec())
            } else if metadata.is_symlink() {
                let target = fs::read_link(&path)?;
                Some(Sha256::digest(target.as_os_str().as_bytes()).to_vec())
            } else {
                None
            };
            if metadata.is_dir() {
                folders.push(path.clone());
            }
            let relative = path.strip_prefix(root).unwrap_or(&path).to_owned();
            found.insert(
                relative,
                FileState {
                    mode: metadata.mode(),
                    modified: (metadata.mtime(), metadata.mtime_nsec()),
                    size_bytes: if metadata.is_file() {
                        metadata.len()
                    } else {
                        0
                    },
                    content,
                },
            );
        }
    }
    Ok(found)
}

/// Removes, empties and overwrites some files, and adds one.
pub(super) fn damage(root: &Path, transcript: &Transcript) -> Result<(), CommandError> {
    transcript.command("rm -r world/playerdata");
    fs::remove_dir_all(root.join("world/playerdata"))?;
    transcript.command("truncate -s 0 world/level.dat");
    fs::write(root.join("world/level.dat"), b"")?;
    transcript.command("echo pwned > server.properties");
    fs::write(root.join("server.properties"), "pwned\n")?;
    transcript.command("touch griefed.txt");
    fs::write(root.join("griefed.txt"), b"")?;
    Ok(())
}

/// Describes each file that is missing, new or changed.
pub(super) fn differences(
    expected: &BTreeMap<PathBuf, FileState>,
    found: &BTreeMap<PathBuf, FileState>,
) -> Vec<String> {
    let mut lines = Vec::new();
    for (path, entry) in expected {
        match found.get(path) {
            None => lines.push(format!("missing: {}", path.display())),
            Some(other) if other != entry => {
                lines.push(format!(
                    "changed: {} ({other:?} instead of {entry:?})",
                    path.display()
                ));
            }
            Some(_) => {}
        }
    }
    for path in found.keys().filter(|path| !expected.contains_key(*path)) {
        lines.push(format!("new: {}", path.display()));
    }
    lines
}
