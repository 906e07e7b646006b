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
use holdfast_domain::error_chain::chain;
use holdfast_domain::{BackupId, NodeName, ServerId, ServerRef};
use holdfast_storage::{ArchiveKey, CheckedManifest, Disk, Object, StorageKey};

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
                reads.spawn(
                    async move { (index, CheckedManifest::read(&disk, key, Utc::now()).await) },
                );
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
                    Err(problem) => self.add_problem(*key, problem.to_string()),
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
        manifest: CheckedManifest,
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
