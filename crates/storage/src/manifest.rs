//! The manifest beside each archive, which describes it without the database.
//!
//! It is written after the archive is complete and durable, so a manifest proves its archive. The
//! backup is completed after both. Later changes, such as a new name, are in the database only.

mod checked;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use holdfast_domain::{BackupId, ServerId};

pub use self::checked::{CheckedManifest, ManifestProblem};

/// The description of an archive, as JSON. Unknown fields are ignored.
///
/// ```
/// use holdfast_storage::Manifest;
///
/// let error = Manifest::from_json(br#"{ "format": 1 }"#).expect_err("fields are missing");
/// assert!(error.to_string().starts_with("missing field `written_by`"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the format: [`Manifest::FORMAT`].
    pub format: u32,
    /// The program that wrote it, with its version.
    pub written_by: String,
    /// The server whose files the archive contains.
    pub server: ServerId,
    /// The server's name at that time.
    pub server_name: String,
    /// The backup.
    pub backup: BackupId,
    /// The backup's name at that time.
    pub name: String,
    /// The attempt that wrote the archive.
    pub attempt: u32,
    /// When the backup was requested.
    pub created_at: DateTime<Utc>,
    /// When the archive became complete and durable.
    pub completed_at: DateTime<Utc>,
    /// The size of the archive, in bytes.
    pub size_bytes: u64,
    /// SHA-256 of the archive, in hexadecimal digits.
    pub sha256: String,
    /// The number of entries in the archive.
    pub entries: u64,
    /// The number of regular files among them.
    pub files: u64,
    /// The unpacked size of those files, in bytes.
    pub unpacked_bytes: u64,
    /// The number of files that were skipped or that changed while they were read.
    pub notes: u64,
    /// The first of those notes, each with a path and what happened to it. Empty in older
    /// manifests.
    #[serde(default)]
    pub first_notes: Vec<String>,
    /// The ignore patterns that were applied.
    pub ignored_files: Vec<String>,
    /// Whether the backup was locked.
    pub is_locked: bool,
    /// Whether a schedule created the backup.
    pub is_scheduled: bool,
    /// The backup whose archive was reused. `None` for a full backup.
    #[serde(default)]
    pub reused_from: Option<BackupId>,
    /// How many bytes of the archive come from that one. This field and the next three are `None`
    /// in older manifests.
    #[serde(default)]
    pub reused_bytes: Option<u64>,
    /// How many bytes of server files were read.
    #[serde(default)]
    pub read_bytes: Option<u64>,
    /// By how many bytes the disk grew. `None` if that is unknown.
    #[serde(default)]
    pub stored_bytes: Option<u64>,
    /// How many backups in a row, with this one, took files over without reading them.
    #[serde(default)]
    pub unread_backups: Option<u32>,
}

impl Manifest {
    /// The version of the format that is written.
    pub const FORMAT: u32 = 1;
    /// The maximum size of a manifest that is read, in bytes.
    pub const BYTES_MAX: u64 = 4 << 20;

    /// Formats the manifest as JSON.
    ///
    /// # Errors
    /// If a field can't be written as JSON, which does not happen with the current fields.
    pub fn to_json(&self) -> Result<Bytes, serde_json::Error> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text.into())
    }

    /// Parses a manifest of this or a later version.
    ///
    /// # Errors
    /// If the text is not JSON, or lacks a field.
    pub fn from_json(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_with_fields_of_a_later_version_can_be_read() {
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
        // Nor has it the fields that were added since.
        assert_eq!(manifest.first_notes, Vec::<String>::new());
        assert_eq!((manifest.reused_from, manifest.read_bytes), (None, None));
        assert_eq!((manifest.reused_bytes, manifest.stored_bytes), (None, None));
        assert_eq!(manifest.unread_backups, None);
    }
}
