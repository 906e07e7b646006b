//! What lies beside an archive so that a disk can be read without the database.
//!
//! It is written when the archive is whole and durable, so that who finds a manifest finds its
//! archive; the backup is completed only after both. It tells how things were then: what was renamed
//! or locked since, only the database knows.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use holdfast_domain::{BackupId, ServerId};
use serde::{Deserialize, Serialize};

/// What is known of an archive. Fields that a reader does not know are passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// How the manifest is laid out: [`Manifest::FORMAT`].
    pub format: u32,
    /// What wrote it, with its version.
    pub written_by: String,
    /// Whose files the archive holds.
    pub server: ServerId,
    /// What that server was called.
    pub server_name: String,
    /// Which backup it is.
    pub backup: BackupId,
    /// What that was called.
    pub name: String,
    /// Which attempt wrote the archive.
    pub attempt: u32,
    /// When the backup was asked for.
    pub created_at: DateTime<Utc>,
    /// When the archive was whole and durable.
    pub completed_at: DateTime<Utc>,
    /// The size of the archive in bytes.
    pub size_bytes: u64,
    /// SHA-256 of the archive, in hexadecimal digits.
    pub sha256: String,
    /// How many entries of any kind it holds.
    pub entries: u64,
    /// How many of them are regular files.
    pub files: u64,
    /// How many bytes those have unpacked.
    pub unpacked_bytes: u64,
    /// How many entries could not be archived as they were found.
    pub notes: u64,
    /// The first of them, each naming a path and what happened. Older manifests do not tell.
    #[serde(default)]
    pub first_notes: Vec<String>,
    /// The patterns that were applied.
    pub ignored_files: Vec<String>,
    /// Whether the backup was locked.
    pub is_locked: bool,
    /// Whether a schedule had made it.
    pub is_scheduled: bool,
}

impl Manifest {
    /// The layout that is written.
    pub const FORMAT: u32 = 1;
    /// The longest manifest that is read, in bytes: patterns are bounded.
    pub const BYTES_MAX: u64 = 4 << 20;

    /// Returns what is stored.
    ///
    /// # Errors
    /// Never, as long as every field can be told in JSON.
    pub fn to_json(&self) -> Result<Bytes, serde_json::Error> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text.into())
    }

    /// Reads what [`Manifest::to_json`] wrote, or a later version of it.
    ///
    /// # Errors
    /// When it is no manifest.
    pub fn from_json(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_read_back_even_if_a_later_version_says_more() {
        let text = r#"{
            "format": 1, "written_by": "holdfast 9.9.9", "a_later_field": [1],
            "server": "d3aac109-45e1-4c23-9a84-c8d5f06b93a1", "server_name": "s",
            "backup": "a4962fe6-90c8-4b89-ba62-a5d3b06426c0", "name": "n", "attempt": 2,
            "created_at": "2026-01-01T00:00:00Z", "completed_at": "2026-01-01T00:01:00Z",
            "size_bytes": 7, "sha256": "00", "entries": 3, "files": 2, "unpacked_bytes": 9,
            "notes": 0, "ignored_files": ["*.log"], "is_locked": true, "is_scheduled": false
        }"#;
        let manifest = Manifest::from_json(text.as_bytes()).expect("a manifest");
        let again = manifest.to_json().expect("JSON");
        assert_eq!(Manifest::from_json(&again).expect("a manifest"), manifest);
    }
}
