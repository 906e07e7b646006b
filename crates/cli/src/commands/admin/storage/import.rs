//! `holdfast admin storage import`: rebuilds the rows of backups from the manifests beside their
//! archives, so that no backup is lost with the database.
//!
//! A manifest does not say which directory a server has. So the operator first registers each
//! server again (`holdfast admin server create --uuid`). Backups that are in the database stay
//! unchanged.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use holdfast_db::backups::{self, ImportedBackup};
use holdfast_db::{Database, Error, servers};
use holdfast_domain::backup::{ArchiveWork, BackupNotes, CompletedBackup};
use holdfast_domain::error_chain::chain;
use holdfast_domain::{BackupId, BackupName, NodeName, ServerId, ServerRef};
use holdfast_storage::{ArchiveKey, Disk, Manifest, Object, StorageKey};

use super::{LISTED_MAX, ProgressReporter};
use crate::commands::admin::{change, date};
use crate::error::CommandError;

/// The number of manifests per database query.
const BATCH: usize = 500;
/// The number of manifests that are read concurrently.
const CONCURRENT_READS: usize = 8;

/// The options of an import.
#[derive(Clone, Copy)]
pub(super) struct ImportOptions {
    /// Whether nothing is changed.
    pub(super) is_dry_run: bool,
    /// Whether imported backups are locked.
    pub(super) locks: bool,
}

/// A server that is not in the database, with its backups on the disk.
struct UnknownServer {
    name: String,
    backups: u64,
    bytes: u64,
    newest: DateTime<Utc>,
}

struct Import<'a> {
    database: &'a Database,
    disk: &'a Disk,
    node: &'a NodeName,
    options: ImportOptions,
    /// The node of each server that was looked up; `None` if it is not in the database.
    servers: BTreeMap<ServerId, Option<NodeName>>,
    /// The servers that are not in the database, with their valid backups.
    unknown_servers: BTreeMap<ServerId, UnknownServer>,
    manifests: u64,
    imported: u64,
    known: u64,
    problems: Vec<Value>,
    problems_count: u64,
}

pub(super) async fn run(
    database: &Database,
    disk: &Disk,
    node: &NodeName,
    server: Option<ServerId>,
    options: ImportOptions,
) -> Result<Value, CommandError> {
    let mut import = Import {
        database,
        disk,
        node,
        options,
        servers: BTreeMap::new(),
        unknown_servers: BTreeMap::new(),
        manifests: 0,
        imported: 0,
        known: 0,
        problems: Vec::new(),
        problems_count: 0,
    };
    if !options.is_dry_run {
        change::record_start(database, "storage import", Some(disk.name().as_str())).await?;
    }
    let mut progress = ProgressReporter::new();
    let mut listing = disk.list(server);
    while let Some(page) = listing.next_page().await? {
        let mut keys: Vec<ArchiveKey> = page.iter().filter_map(manifest_key).collect();
        // The last attempt of a backup comes first, and is the only one that is imported.
        keys.sort_by_key(|key| (key.server, key.backup, std::cmp::Reverse(key.attempt)));
        for batch in keys.chunks(BATCH) {
            import.import_batch(batch).await?;
            progress.report(|| {
                let (manifests, imported) = (import.manifests, import.imported);
                format!("read {manifests} manifests, imported {imported} backups")
            });
        }
    }
    import.result()
}

fn manifest_key(object: &Object) -> Option<ArchiveKey> {
    match object.key {
        StorageKey::Manifest(key) => Some(key),
        StorageKey::Archive(_) | StorageKey::Index(_) => None,
    }
}

impl Import<'_> {
    async fn import_batch(&mut self, keys: &[ArchiveKey]) -> Result<(), CommandError> {
        self.manifests += keys.len() as u64;
        let ids: Vec<BackupId> = keys.iter().map(|key| key.backup).collect();
        let known = backups::find_known(self.database, &ids).await?;
        let new: Vec<ArchiveKey> = keys
            .iter()
            .copied()
            .filter(|key| !known.contains(&key.backup))
            .collect();
        self.known += (keys.len() - new.len()) as u64;
        let mut imported: BTreeSet<BackupId> = BTreeSet::new();
        for chunk in new.chunks(CONCURRENT_READS) {
            let mut reads = JoinSet::new();
            for (index, key) in chunk.iter().copied().enumerate() {
                let disk = self.disk.clone();
                reads.spawn(async move { (index, read_manifest(&disk, key).await) });
            }
            let mut read: Vec<_> = reads.join_all().await;
            read.sort_by_key(|(index, _)| *index);
            for ((_, read), key) in read.into_iter().zip(chunk) {
                if imported.contains(&key.backup) {
                    continue;
                }
                match read {
                    Ok(manifest) => {
                        imported.insert(key.backup);
                        self.import_backup(*key, manifest).await?;
                    }
                    Err(problem) => self.add_problem(*key, problem),
                }
            }
        }
        Ok(())
    }

    fn add_problem(&mut self, key: ArchiveKey, problem: String) {
        self.problems_count += 1;
        if self.problems.len() < LISTED_MAX {
            let object = StorageKey::Manifest(key).to_string();
            self.problems
                .push(json!({ "object": object, "problem": problem }));
        }
    }

    async fn import_backup(
        &mut self,
        key: ArchiveKey,
        manifest: ValidManifest,
    ) -> Result<(), CommandError> {
        let node = match self.servers.get(&key.server) {
            Some(node) => node.clone(),
            None => {
                let server = servers::find(self.database, &ServerRef::Id(key.server)).await?;
                let node = server.map(|server| server.node);
                self.servers.insert(key.server, node.clone());
                node
            }
        };
        let Some(node) = node else {
            let unknown = self
                .unknown_servers
                .entry(key.server)
                .or_insert(UnknownServer {
                    name: manifest.server_name.clone(),
                    backups: 0,
                    bytes: 0,
                    newest: manifest.created_at,
                });
            unknown.backups += 1;
            let size_bytes = manifest.completed.size_bytes;
            unknown.bytes = unknown.bytes.saturating_add(size_bytes);
            if manifest.created_at >= unknown.newest {
                unknown.newest = manifest.created_at;
                unknown.name = manifest.server_name;
            }
            return Ok(());
        };
        if self.options.is_dry_run {
            self.imported += 1;
            return Ok(());
        }
        let backup = ImportedBackup {
            id: key.backup,
            server: key.server,
            name: &manifest.name,
            ignored_files: &manifest.ignored_files,
            disk: self.disk.name(),
            node: match self.disk.is_node_local() {
                true => self.node,
                false => &node,
            },
            is_locked: manifest.is_locked || self.options.locks,
            is_scheduled: manifest.is_scheduled,
            created_at: manifest.created_at,
            completed: &manifest.completed,
        };
        match backups::import(self.database, &backup).await {
            Ok(true) => self.imported += 1,
            Ok(false) => self.known += 1,
            Err(error @ Error::Missing { .. }) => self.add_problem(key, chain(&error)),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn result(self) -> Result<Value, CommandError> {
        let unknown_servers: Vec<Value> = self
            .unknown_servers
            .iter()
            .map(|(id, server)| {
                json!({
                    "uuid": id,
                    "name": server.name,
                    "backups": server.backups,
                    "bytes": server.bytes,
                    "newest": date(server.newest),
                })
            })
            .collect();
        let hint = (!unknown_servers.is_empty()).then_some(
            "register these servers, then import again: holdfast admin server create \
             --uuid UUID --name NAME --owner EMAIL --dir DIR",
        );
        let result = json!({
            "disk": self.disk.name(),
            "dry_run": self.options.is_dry_run,
            "manifests": self.manifests,
            "imported": self.imported,
            "known": self.known,
            "problems": self.problems_count,
            "unknown_servers": unknown_servers,
            "hint": hint,
            "problem_list": self.problems,
        });
        if self.problems_count == 0 {
            return Ok(result);
        }
        let text = format!(
            "{} of {} manifests on disk `{}` could not be used",
            self.problems_count,
            self.manifests,
            self.disk.name()
        );
        Err(CommandError::new(text).with_result(result))
    }
}

/// A manifest that passed every check that is possible without reading its archive.
struct ValidManifest {
    server_name: String,
    name: BackupName,
    ignored_files: Vec<String>,
    is_locked: bool,
    is_scheduled: bool,
    created_at: DateTime<Utc>,
    completed: CompletedBackup,
}

/// Reads and checks a manifest, and checks the size of its archive. Returns the problem as text.
async fn read_manifest(disk: &Disk, key: ArchiveKey) -> Result<ValidManifest, String> {
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
    let manifest = check_manifest(key, manifest, Utc::now())?;
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

fn check_manifest(
    key: ArchiveKey,
    manifest: Manifest,
    now: DateTime<Utc>,
) -> Result<ValidManifest, String> {
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
    Ok(ValidManifest {
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
            let checked = check_manifest(key, manifest, Utc::now());
            assert_eq!(checked.err().as_deref(), problem, "{text}");
        }
    }
}
