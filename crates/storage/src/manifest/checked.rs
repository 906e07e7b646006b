//! Manifests that were read from a disk and checked, so that the database can take the backups in.

use chrono::{DateTime, Utc};

use holdfast_domain::BackupName;
use holdfast_domain::backup::{ArchiveWork, BackupNotes, CompletedBackup};
use holdfast_domain::error_chain::chain;

use super::Manifest;
use crate::disk::Disk;
use crate::key::{ArchiveKey, StorageKey};

/// A manifest that passed every check that is possible without reading its archive.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedManifest {
    /// The server's name, fit for a terminal.
    pub server_name: String,
    /// The backup's name.
    pub name: BackupName,
    /// The ignore patterns that were applied.
    pub ignored_files: Vec<String>,
    /// Whether the backup was locked.
    pub is_locked: bool,
    /// Whether a schedule created the backup.
    pub is_scheduled: bool,
    /// When the backup was requested.
    pub created_at: DateTime<Utc>,
    /// The facts about the archive.
    pub completed: CompletedBackup,
}

/// Why a manifest cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ManifestProblem(String);

impl CheckedManifest {
    /// Reads and checks a manifest, and checks the size of its archive. Times after `now` are set
    /// to `now`.
    ///
    /// # Errors
    /// [`ManifestProblem`] if it is missing, invalid or not that of the archive.
    pub async fn read(
        disk: &Disk,
        key: ArchiveKey,
        now: DateTime<Utc>,
    ) -> Result<Self, ManifestProblem> {
        read(disk, key, now).await.map_err(ManifestProblem)
    }
}

async fn read(disk: &Disk, key: ArchiveKey, now: DateTime<Utc>) -> Result<CheckedManifest, String> {
    let mut reader = disk
        .read(StorageKey::Manifest(key), 0..Manifest::BYTES_MAX)
        .await
        .map_err(|error| chain(&error))?;
    if reader.object_bytes() > Manifest::BYTES_MAX {
        return Err(format!("it has more than {} bytes", Manifest::BYTES_MAX));
    }
    let mut text = Vec::new();
    while let Some(chunk) = reader.next().await.map_err(|error| chain(&error))? {
        text.extend_from_slice(&chunk);
    }
    let manifest =
        Manifest::from_json(&text).map_err(|error| format!("it is not a manifest: {error}"))?;
    let manifest = check(key, manifest, now)?;
    let size_bytes = match disk.size(StorageKey::Archive(key)).await {
        Ok(size_bytes) => size_bytes,
        Err(error) => return Err(format!("its archive: {}", chain(&error))),
    };
    let expected = manifest.completed.size_bytes;
    match size_bytes == expected {
        true => Ok(manifest),
        false => Err(format!(
            "its archive has {size_bytes} bytes instead of {expected}"
        )),
    }
}

/// Removes control characters from a name, and shortens it, for display on a terminal.
fn displayable(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(191).collect()
}

fn check(
    key: ArchiveKey,
    manifest: Manifest,
    now: DateTime<Utc>,
) -> Result<CheckedManifest, String> {
    if manifest.format != Manifest::FORMAT {
        let (format, by) = (manifest.format, manifest.written_by);
        return Err(format!(
            "its format {format}, written by {by}, is unknown to this version"
        ));
    }
    if (manifest.server, manifest.backup, manifest.attempt) != (key.server, key.backup, key.attempt)
    {
        return Err("it belongs to another archive".to_owned());
    }
    let sha256: [u8; 32] = hex::decode(&manifest.sha256)
        .ok()
        .and_then(|hash| hash.try_into().ok())
        .ok_or("its sha256 is invalid")?;
    if manifest.size_bytes == 0 || i64::try_from(manifest.size_bytes).is_err() {
        return Err("its size is invalid".to_owned());
    }
    // The database can store neither.
    if i32::try_from(manifest.attempt).unwrap_or(0) == 0 {
        return Err("its attempt is invalid".to_owned());
    }
    if manifest.created_at.min(manifest.completed_at) < DateTime::UNIX_EPOCH {
        return Err("its times are before 1970".to_owned());
    }
    let name = BackupName::parse(&manifest.name).map_err(|error| format!("its name: {error}"))?;
    // A time in the future would make the backup the newest one permanently.
    let completed_at = manifest.completed_at.min(now);
    let created_at = manifest.created_at.min(completed_at);
    let texts = manifest.ignored_files.iter().chain(&manifest.first_notes);
    if texts.into_iter().any(|text| text.contains('\0')) {
        return Err("a text in it contains a NUL character".to_owned());
    }
    let work = work(&manifest);
    Ok(CheckedManifest {
        server_name: displayable(&manifest.server_name),
        name: name.unwrap_or_else(|| BackupName::from_time(created_at)),
        ignored_files: manifest.ignored_files,
        is_locked: manifest.is_locked,
        is_scheduled: manifest.is_scheduled,
        created_at,
        completed: CompletedBackup {
            at: completed_at,
            sha256,
            size_bytes: manifest.size_bytes,
            attempt: manifest.attempt,
            notes: BackupNotes {
                count: manifest.notes,
                first: manifest.first_notes,
            },
            work,
        },
    })
}

/// Returns what was read, reused and stored for the archive; `None` in an older manifest.
fn work(manifest: &Manifest) -> Option<ArchiveWork> {
    Some(ArchiveWork {
        reused_from: manifest.reused_from,
        reused_bytes: manifest.reused_bytes?,
        read_bytes: manifest.read_bytes?,
        stored_bytes: manifest.stored_bytes,
        unread_backups: manifest.unread_backups?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use holdfast_domain::{BackupId, ServerId};

    use super::*;

    #[test]
    fn a_manifest_that_the_database_cannot_store_is_a_problem_of_its_own() {
        let server = "d3aac109-45e1-4c23-9a84-c8d5f06b93a1";
        let backup = "a4962fe6-90c8-4b89-ba62-a5d3b06426c0";
        let valid = json!({
            "format": 1, "written_by": "holdfast", "server": server, "server_name": "s",
            "backup": backup, "name": "n", "attempt": 2, "created_at": "2026-01-01T00:00:00Z",
            "completed_at": "2026-01-01T00:01:00Z", "size_bytes": 7, "sha256": "00".repeat(32),
            "entries": 3, "files": 2, "unpacked_bytes": 9, "notes": 0, "ignored_files": [],
            "is_locked": true, "is_scheduled": false
        });
        for (field, value, problem) in [
            ("name", json!("other"), None),
            ("attempt", json!(i32::MAX), None),
            ("attempt", json!(0), Some("its attempt is invalid")),
            ("attempt", json!(u32::MAX), Some("its attempt is invalid")),
            (
                "created_at",
                json!("-200000-01-01T00:00:00Z"),
                Some("its times are before 1970"),
            ),
            (
                "completed_at",
                json!("-4714-01-01T00:00:00Z"),
                Some("its times are before 1970"),
            ),
            ("completed_at", json!("+200000-01-01T00:00:00Z"), None),
            ("size_bytes", json!(u64::MAX), Some("its size is invalid")),
            ("sha256", json!("00"), Some("its sha256 is invalid")),
            (
                "ignored_files",
                json!(["\0"]),
                Some("a text in it contains a NUL character"),
            ),
            ("stored_bytes", json!(u64::MAX), None),
            ("unread_backups", json!(u32::MAX), None),
        ] {
            let mut changed = valid.clone();
            changed[field] = value;
            let text = changed.to_string();
            let manifest = Manifest::from_json(text.as_bytes()).expect("a manifest");
            let key = ArchiveKey {
                server: ServerId::parse(server).expect("a UUID"),
                backup: BackupId::parse(backup).expect("a UUID"),
                attempt: manifest.attempt,
            };
            let checked = check(key, manifest, Utc::now());
            assert_eq!(checked.err().as_deref(), problem, "{text}");
        }
    }
}
