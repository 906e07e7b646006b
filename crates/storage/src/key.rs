//! Storage keys: the names of all objects on a disk.

use std::fmt;

use holdfast_domain::{BackupId, ServerId};

/// The archive that one attempt writes for a backup.
///
/// The attempt is part of the key. So a worker that was paused and has lost its lease can't
/// overwrite the archive of the worker that runs the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ArchiveKey {
    /// The server whose files it contains.
    pub server: ServerId,
    /// The backup.
    pub backup: BackupId,
    /// The attempt that writes it, from 1.
    pub attempt: u32,
}

/// The key of an object on a disk.
///
/// ```
/// use holdfast_domain::{BackupId, ServerId};
/// use holdfast_storage::{ArchiveKey, StorageKey};
///
/// let archive = ArchiveKey {
///     server: ServerId::parse("d3aac109-45e1-4c23-9a84-c8d5f06b93a1").expect("a UUID"),
///     backup: BackupId::parse("a4962fe6-90c8-4b89-ba62-a5d3b06426c0").expect("a UUID"),
///     attempt: 2,
/// };
/// let path = StorageKey::Archive(archive).path();
/// assert!(path.ends_with("/a4962fe6-90c8-4b89-ba62-a5d3b06426c0.2.tar.gz"));
/// assert_eq!(StorageKey::parse(&path), Some(StorageKey::Archive(archive)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StorageKey {
    /// The `.tar.gz` file that users download.
    Archive(ArchiveKey),
    /// The archive's index: the positions of its blocks and entries.
    Index(ArchiveKey),
    /// The archive's [`Manifest`](crate::Manifest), which describes it without the database.
    Manifest(ArchiveKey),
}

impl StorageKey {
    /// Returns the path below the disk's root: `<server>/<backup>.tar.gz` for the first attempt,
    /// `<server>/<backup>.2.tar.gz` for the second, and so on. Indexes end with `.index`, manifests
    /// with `.json`.
    pub fn path(&self) -> String {
        let (key, extension) = match self {
            Self::Archive(key) => (key, "tar.gz"),
            Self::Index(key) => (key, "index"),
            Self::Manifest(key) => (key, "json"),
        };
        if key.attempt == 1 {
            format!("{}/{}.{extension}", key.server, key.backup)
        } else {
            format!("{}/{}.{}.{extension}", key.server, key.backup, key.attempt)
        }
    }

    /// Parses a path of [`StorageKey::path`]. Returns `None` for any other one.
    pub fn parse(path: &str) -> Option<Self> {
        let (server, name) = path.split_once('/')?;
        type Constructor = fn(ArchiveKey) -> StorageKey;
        let kinds: [(&str, Constructor); 3] = [
            (".tar.gz", Self::Archive),
            (".index", Self::Index),
            (".json", Self::Manifest),
        ];
        let (stem, constructor) = kinds.into_iter().find_map(|(extension, constructor)| {
            Some((name.strip_suffix(extension)?, constructor))
        })?;
        let (backup, attempt) = match stem.split_once('.') {
            Some((backup, attempt)) => (backup, attempt.parse().ok()?),
            None => (stem, 1),
        };
        let key = ArchiveKey {
            server: ServerId::parse(server)?,
            backup: BackupId::parse(backup)?,
            attempt,
        };
        let parsed = constructor(key);
        // A key has exactly one path: `.1.tar.gz` and upper case are other files.
        (parsed.path() == path).then_some(parsed)
    }

    /// Returns the keys of all objects of an attempt.
    pub fn all(key: ArchiveKey) -> [Self; 3] {
        [Self::Manifest(key), Self::Archive(key), Self::Index(key)]
    }

    /// Returns the archive that the object belongs to.
    pub fn archive(&self) -> ArchiveKey {
        match self {
            Self::Archive(key) | Self::Index(key) | Self::Manifest(key) => *key,
        }
    }
}

impl fmt::Display for StorageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &str = "d3aac109-45e1-4c23-9a84-c8d5f06b93a1";
    const BACKUP: &str = "a4962fe6-90c8-4b89-ba62-a5d3b06426c0";

    #[test]
    fn only_paths_of_keys_are_parsed() {
        let server = ServerId::parse(SERVER).expect("a UUID");
        let backup = BackupId::parse(BACKUP).expect("a UUID");
        for attempt in [1, 2, 30] {
            let key = ArchiveKey {
                server,
                backup,
                attempt,
            };
            for key in StorageKey::all(key) {
                assert_eq!(StorageKey::parse(&key.path()), Some(key));
            }
        }
        assert_eq!(
            StorageKey::Archive(ArchiveKey {
                server,
                backup,
                attempt: 1
            })
            .path(),
            format!("{SERVER}/{BACKUP}.tar.gz")
        );
        for other in [
            format!("{SERVER}/{BACKUP}.1.tar.gz"),
            format!("{SERVER}/{BACKUP}.tar"),
            format!("{SERVER}/{BACKUP}.+2.tar.gz"),
            format!("{SERVER}/x.tar.gz"),
            format!("{}/{BACKUP}.tar.gz", SERVER.to_uppercase()),
            format!("x/{BACKUP}.tar.gz"),
            BACKUP.to_owned(),
        ] {
            assert_eq!(StorageKey::parse(&other), None, "{other}");
        }
    }
}
