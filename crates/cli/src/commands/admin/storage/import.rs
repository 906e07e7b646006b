//! `holdfast admin storage import`: rebuilds the rows of backups from the manifests beside their archives, so that a
//! database that is lost costs no backup.
//!
//! A disk tells of archives, never of where they may be put back: whose they are, and where that server lies, an
//! operator says first (`holdfast admin server create --uuid`). What the database knows is left as it is.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use holdfast_db::backups::{self, ImportedBackup};
use holdfast_db::{Database, Error, servers};
use holdfast_domain::backup::{BackupNotes, CompletedBackup};
use holdfast_domain::error_chain::chain;
use holdfast_domain::{BackupId, BackupName, NodeName, ServerId, ServerRef};
use holdfast_storage::{ArchiveKey, Disk, Manifest, Object, StorageKey};

use super::{LISTED, Teller};
use crate::commands::admin::{change, date};
use crate::failure::Failure;

/// How many manifests are looked at as one.
const BATCH: usize = 500;
/// How many of them are read side by side.
const TOGETHER: usize = 8;

/// How an import is done.
#[derive(Clone, Copy)]
pub(super) struct Options {
    /// Whether it is only told.
    pub(super) is_dry_run: bool,
    /// Whether what is taken back is locked.
    pub(super) locks: bool,
}

/// A server that the database does not know.
struct Stranger {
    name: String,
    backups: u64,
    bytes: u64,
    newest: DateTime<Utc>,
}

struct Import<'a> {
    database: &'a Database,
    disk: &'a Disk,
    node: &'a NodeName,
    options: Options,
    /// The node of each server that was looked up; none for one that is not known.
    servers: BTreeMap<ServerId, Option<NodeName>>,
    /// The backups that were found to be whole so far, of those that are not known.
    strangers: BTreeMap<ServerId, Stranger>,
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
    options: Options,
) -> Result<Value, Failure> {
    let mut import = Import {
        database,
        disk,
        node,
        options,
        servers: BTreeMap::new(),
        strangers: BTreeMap::new(),
        manifests: 0,
        imported: 0,
        known: 0,
        problems: Vec::new(),
        problems_count: 0,
    };
    if !options.is_dry_run {
        change::note(database, "storage import", Some(disk.name().as_str())).await?;
    }
    let mut teller = Teller::begin();
    let mut listing = disk.list(server);
    while let Some(page) = listing.next_page().await? {
        let mut keys: Vec<ArchiveKey> = page.iter().filter_map(manifest_of).collect();
        // Of several attempts, the last one counts.
        keys.sort_by_key(|key| (key.server, key.backup, std::cmp::Reverse(key.attempt)));
        for some in keys.chunks(BATCH) {
            import.batch(some).await?;
            teller.tell(|| {
                let (manifests, imported) = (import.manifests, import.imported);
                format!("looked at {manifests} manifests, took {imported} backups back")
            });
        }
    }
    import.result()
}

fn manifest_of(object: &Object) -> Option<ArchiveKey> {
    match object.key {
        StorageKey::Manifest(key) => Some(key),
        StorageKey::Archive(_) | StorageKey::Index(_) => None,
    }
}

impl Import<'_> {
    async fn batch(&mut self, keys: &[ArchiveKey]) -> Result<(), Failure> {
        self.manifests += keys.len() as u64;
        let ids: Vec<BackupId> = keys.iter().map(|key| key.backup).collect();
        let known = backups::find_known(self.database, &ids).await?;
        let new: Vec<ArchiveKey> = keys
            .iter()
            .copied()
            .filter(|key| !known.contains(&key.backup))
            .collect();
        self.known += (keys.len() - new.len()) as u64;
        let mut taken: BTreeSet<BackupId> = BTreeSet::new();
        for some in new.chunks(TOGETHER) {
            let mut reading = JoinSet::new();
            for (place, key) in some.iter().copied().enumerate() {
                let disk = self.disk.clone();
                reading.spawn(async move { (place, read(&disk, key).await) });
            }
            let mut read: Vec<_> = reading.join_all().await;
            read.sort_by_key(|(place, _)| *place);
            for ((_, read), key) in read.into_iter().zip(some) {
                if taken.contains(&key.backup) {
                    continue;
                }
                match read {
                    Ok(manifest) => {
                        taken.insert(key.backup);
                        self.take(*key, manifest).await?;
                    }
                    Err(problem) => self.problem(*key, problem),
                }
            }
        }
        Ok(())
    }

    fn problem(&mut self, key: ArchiveKey, problem: String) {
        self.problems_count += 1;
        if self.problems.len() < LISTED {
            let object = StorageKey::Manifest(key).to_string();
            self.problems
                .push(json!({ "object": object, "problem": problem }));
        }
    }

    async fn take(&mut self, key: ArchiveKey, manifest: Sound) -> Result<(), Failure> {
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
            let stranger = self.strangers.entry(key.server).or_insert(Stranger {
                name: manifest.server_name.clone(),
                backups: 0,
                bytes: 0,
                newest: manifest.created_at,
            });
            stranger.backups += 1;
            stranger.bytes += manifest.completed.size_bytes;
            if manifest.created_at >= stranger.newest {
                stranger.newest = manifest.created_at;
                stranger.name = manifest.server_name;
            }
            return Ok(());
        };
        if self.options.is_dry_run {
            self.imported += 1;
            return Ok(());
        }
        let found = ImportedBackup {
            id: key.backup,
            server: key.server,
            name: &manifest.name,
            ignored_files: &manifest.ignored_files,
            disk: self.disk.name(),
            node: match self.disk.is_of_one_node() {
                true => self.node,
                false => &node,
            },
            is_locked: manifest.is_locked || self.options.locks,
            is_scheduled: manifest.is_scheduled,
            created_at: manifest.created_at,
            completed: &manifest.completed,
        };
        match backups::import(self.database, &found).await {
            Ok(true) => self.imported += 1,
            Ok(false) => self.known += 1,
            Err(error @ Error::Missing { .. }) => self.problem(key, chain(&error)),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn result(self) -> Result<Value, Failure> {
        let strangers: Vec<Value> = self
            .strangers
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
        let hint = (!strangers.is_empty()).then_some(
            "register these servers, then import again: holdfast admin server create --uuid UUID --name NAME \
             --owner EMAIL --dir DIR",
        );
        let result = json!({
            "disk": self.disk.name(),
            "dry_run": self.options.is_dry_run,
            "manifests": self.manifests,
            "imported": self.imported,
            "known": self.known,
            "problems": self.problems_count,
            "unknown_servers": strangers,
            "hint": hint,
            "problem_list": self.problems,
        });
        if self.problems_count == 0 {
            return Ok(result);
        }
        let text = format!(
            "{} of {} manifests on disk `{}` could not be used; the others were",
            self.problems_count,
            self.manifests,
            self.disk.name()
        );
        Err(Failure::new(text).with_result(result))
    }
}

/// A manifest that may be believed as far as one can tell without reading its archive.
struct Sound {
    server_name: String,
    name: BackupName,
    ignored_files: Vec<String>,
    is_locked: bool,
    is_scheduled: bool,
    created_at: DateTime<Utc>,
    completed: CompletedBackup,
}

/// Reads a manifest, and looks whether its archive is there, of the size that it says.
async fn read(disk: &Disk, key: ArchiveKey) -> Result<Sound, String> {
    let mut reader = disk
        .read(StorageKey::Manifest(key), 0..Manifest::BYTES_MAX)
        .await
        .map_err(|error| chain(&error))?;
    if reader.object_bytes() > Manifest::BYTES_MAX {
        return Err(format!("it has more than {} bytes", Manifest::BYTES_MAX));
    }
    let mut text = Vec::new();
    while let Some(piece) = reader.next().await.map_err(|error| chain(&error))? {
        text.extend_from_slice(&piece);
    }
    let manifest =
        Manifest::from_json(&text).map_err(|error| format!("it is no manifest: {error}"))?;
    let sound = check(key, manifest, Utc::now())?;
    let size_bytes = match disk.size(StorageKey::Archive(key)).await {
        Ok(size_bytes) => size_bytes,
        Err(error) => return Err(format!("its archive: {}", chain(&error))),
    };
    let said = sound.completed.size_bytes;
    match size_bytes == said {
        true => Ok(sound),
        false => Err(format!(
            "its archive has {size_bytes} bytes instead of {said}"
        )),
    }
}

/// A name that somebody else wrote, as it may be shown on a terminal.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(191).collect()
}

fn check(key: ArchiveKey, manifest: Manifest, now: DateTime<Utc>) -> Result<Sound, String> {
    if manifest.format != Manifest::FORMAT {
        let (format, by) = (manifest.format, manifest.written_by);
        return Err(format!(
            "its format {format} is not known here; {by} wrote it"
        ));
    }
    if (manifest.server, manifest.backup, manifest.attempt) != (key.server, key.backup, key.attempt)
    {
        return Err("it tells of another archive".to_owned());
    }
    let sha256: [u8; 32] = hex::decode(&manifest.sha256)
        .ok()
        .and_then(|hash| hash.try_into().ok())
        .ok_or("its sha256 is none")?;
    if manifest.size_bytes == 0 || i64::try_from(manifest.size_bytes).is_err() {
        return Err("its size is none".to_owned());
    }
    let name =
        BackupName::parse(&manifest.name).map_err(|refused| format!("its name: {refused}"))?;
    // A clock that was wrong must not make a backup the newest for ever.
    let completed_at = manifest.completed_at.min(now);
    let created_at = manifest.created_at.min(completed_at);
    let texts = manifest.ignored_files.iter().chain(&manifest.first_notes);
    if texts.into_iter().any(|text| text.contains('\0')) {
        return Err("a text in it holds a NUL character".to_owned());
    }
    Ok(Sound {
        server_name: shown(&manifest.server_name),
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
        },
    })
}
