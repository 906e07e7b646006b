//! The closed list of things that lie on a disk, and where they lie.

use std::fmt;

use holdfast_domain::{BackupId, ServerId};

/// Names one attempt's archive of one backup.
///
/// The attempt is a part of the key so that a worker that was paused, lost its lease and woke up
/// again can't overwrite what its successor has stored, on any kind of disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ArchiveKey {
    /// Whose files it holds.
    pub server: ServerId,
    /// Which backup it is.
    pub backup: BackupId,
    /// Which attempt wrote it, from 1.
    pub attempt: u32,
}

/// Everything that can lie on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StorageKey {
    /// The `.tar.gz` that users download.
    Archive(ArchiveKey),
    /// The archive's index: where each entry and each restart point lies.
    Index(ArchiveKey),
    /// What is known of the archive, so that a disk can be read without the database: a
    /// [`Manifest`](crate::Manifest).
    Manifest(ArchiveKey),
}

impl StorageKey {
    /// Returns the name below a disk's root: `<server>/<backup>.tar.gz` for the first attempt,
    /// `<server>/<backup>.2.tar.gz` for the second, and so on; `.index` for indexes, `.json` for manifests.
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

    /// Reads what [`StorageKey::path`] writes; any other name is `None`.
    pub fn parse(path: &str) -> Option<Self> {
        let (server, name) = path.split_once('/')?;
        type Of = fn(ArchiveKey) -> StorageKey;
        let kinds: [(&str, Of); 3] = [
            (".tar.gz", Self::Archive),
            (".index", Self::Index),
            (".json", Self::Manifest),
        ];
        let (stem, of) = kinds
            .into_iter()
            .find_map(|(extension, of)| Some((name.strip_suffix(extension)?, of)))?;
        let (backup, attempt) = match stem.split_once('.') {
            Some((backup, attempt)) => (backup, attempt.parse().ok()?),
            None => (stem, 1),
        };
        let key = ArchiveKey {
            server: ServerId::parse(server)?,
            backup: BackupId::parse(backup)?,
            attempt,
        };
        let parsed = of(key);
        // One key, one name: `.1.tar.gz` or capitals are somebody else's files.
        (parsed.path() == path).then_some(parsed)
    }

    /// Returns everything that lies on a disk for one attempt.
    pub fn all(key: ArchiveKey) -> [Self; 3] {
        [Self::Manifest(key), Self::Archive(key), Self::Index(key)]
    }

    /// Returns the archive that the object is, or belongs to.
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
    fn a_key_is_read_back_as_written_and_nothing_else_is_a_key() {
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
