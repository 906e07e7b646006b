//! Backups and restores of a server while it is attacked, and of another one that is not.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use super::audit::{archived_files, check_secret, folder_entries, server_files};
use super::dice::Dice;
use super::program::Mode;
use super::world::{Attacker, Server, World};
use crate::support::client::send;
use crate::support::{eventually, files};

/// The most backups of a server that are kept.
const KEPT_MAX: usize = 6;

/// What was done.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) backups: u64,
    pub(super) restores: u64,
    compared: u64,
    /// Archives that were searched for a secret before they were deleted.
    pub(super) searched: u64,
    cancelled: u64,
    /// The reasons of failures, and how often each came.
    failures: BTreeMap<String, u64>,
    pub(super) slowest: Duration,
}

impl fmt::Display for Figures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} backups, {} restores, {} compared, {} cancelled, slowest: {:.1} s, failed: {:?}",
            self.backups,
            self.restores,
            self.compared,
            self.cancelled,
            self.slowest.as_secs_f64(),
            self.failures
        )
    }
}

impl Figures {
    fn failed(&mut self, what: &str, error: &Value) {
        let reason = error.as_str().unwrap_or_default();
        assert_ne!(reason, "", "a {what} failed without a reason");
        *self
            .failures
            .entry(format!("{what}: {reason}"))
            .or_default() += 1;
    }

    fn took(&mut self, begun: Instant) {
        self.slowest = self.slowest.max(begun.elapsed());
    }
}

/// Backups and restores of a server that is attacked.
pub(super) struct Campaign<'a> {
    world: &'a World,
    server: &'a Server,
    attacker: Attacker,
    dice: Dice,
    backups: Vec<String>,
    figures: Figures,
}

impl<'a> Campaign<'a> {
    pub(super) fn new(
        world: &'a World,
        server: &'a Server,
        attacker: Attacker,
        dice: Dice,
    ) -> Self {
        Self {
            world,
            server,
            attacker,
            dice,
            backups: Vec::new(),
            figures: Figures::default(),
        }
    }

    /// Backs up and restores until a time; the attacker's record is checked.
    pub(super) async fn run(mut self, until: Instant) -> Figures {
        while Instant::now() < until || self.figures.backups == 0 {
            if self.backups.is_empty() || self.dice.percent(45) {
                self.back_up().await;
            } else {
                self.put_back().await;
            }
            if self.backups.len() > KEPT_MAX {
                let index = self.dice.below(KEPT_MAX as u64);
                let oldest = self.backups.remove(usize::try_from(index).unwrap());
                let (disk, secret) = (self.world.archives(), &self.world.secret);
                self.figures.searched += check_secret(&disk, &oldest, secret);
                let answer = self.server.owner.delete(&oldest).await;
                assert_eq!(answer.status, 204, "{}", answer.json());
            }
        }
        super::check_record(&self.attacker.end());
        self.figures
    }

    async fn back_up(&mut self) {
        let mode = *self.dice.pick(&[Mode::Wild, Mode::Wild, Mode::Spare]);
        self.attacker.become_(mode);
        let begun = Instant::now();
        let uuid = self.server.owner.create(json!({})).await.uuid();
        self.cancel_sometimes(&uuid).await;
        let backup = ended(self.server, &uuid).await;
        self.figures.took(begun);
        if backup["status"] == "completed" {
            self.figures.backups += 1;
            self.backups.push(uuid);
        } else {
            self.figures.failed("backup", &backup["error"]);
        }
    }

    async fn put_back(&mut self) {
        let uuid = self.dice.pick(&self.backups).clone();
        let truncate = self.dice.percent(60);
        self.attacker.become_(Mode::Frozen);
        let before = server_files(&self.server.directory);
        // An attacker that changes the server's own files could have made any difference.
        let is_wild = self.dice.percent(25);
        self.attacker
            .become_(if is_wild { Mode::Wild } else { Mode::Spare });
        let begun = Instant::now();
        let answer = self
            .server
            .owner
            .restore(&uuid, json!({ "truncate": truncate }))
            .await;
        assert_eq!(answer.status, 202, "{}", answer.json());
        self.cancel_sometimes(&uuid).await;
        let outcome = restored(self.server, &uuid).await;
        self.figures.took(begun);
        self.attacker.become_(Mode::Frozen);
        if let Err(error) = &outcome {
            self.figures.failed("restore", &json!(error));
        } else {
            self.figures.restores += 1;
        }
        if is_wild {
            return;
        }
        self.figures.compared += 1;
        let mut found = server_files(&self.server.directory);
        if outcome.is_err() {
            assert_eq!(found, before, "a restore that failed changed the server");
            return;
        }
        let mut archived = self.archived(&uuid);
        // A folder that the attacker had moved away when its entry was due has none. Then its time
        // is that of the restore.
        let entries = folder_entries(&archive(self.world, &uuid));
        for files in [&mut found, &mut archived] {
            for (path, about) in files.iter_mut() {
                if about.starts_with("folder ") && !entries.contains(path) {
                    about.clear();
                }
            }
        }
        if truncate {
            assert_eq!(found, archived, "not the files of {uuid}");
        } else {
            for (path, about) in &archived {
                assert_eq!(found.get(path), Some(about), "{}", path.display());
            }
        }
    }

    async fn cancel_sometimes(&mut self, uuid: &str) {
        if !self.dice.percent(12) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(self.dice.below(250))).await;
        let path = format!("/{uuid}/cancel");
        let answer = send(self.server.owner.request(Method::POST, &path)).await;
        // It may have ended before, and a restore in its last step cannot be cancelled.
        self.figures.cancelled += u64::from(answer.status == 204);
    }

    fn archived(&self, uuid: &str) -> BTreeMap<PathBuf, String> {
        let name = format!("unpacked-{}", self.server.uuid);
        let scratch = self.world.folder.path().join(name);
        archived_files(&archive(self.world, uuid), &scratch)
    }
}

/// The archive of a completed backup.
fn archive(world: &World, uuid: &str) -> PathBuf {
    let mut names = files::files_below(&world.archives());
    names.retain(|name| name.contains(uuid) && name.ends_with(".tar.gz"));
    assert_eq!(names.len(), 1, "{names:?}");
    world.archives().join(&names[0])
}

async fn ended(server: &Server, uuid: &str) -> Value {
    eventually("the backup has ended", async || {
        let backup = server.owner.show(uuid).await.attributes();
        (backup["status"] != "creating").then_some(backup)
    })
    .await
}

/// Waits until a restore has ended.
async fn restored(server: &Server, uuid: &str) -> Result<(), String> {
    let restore = eventually("the restore has ended", async || {
        let restore = server.owner.show(uuid).await.attributes()["restore"].clone();
        let ended = restore["status"] == "completed" || restore["status"] == "failed";
        ended.then_some(restore)
    })
    .await;
    match restore["status"] == "completed" {
        true => Ok(()),
        false => Err(restore["error"].as_str().unwrap_or_default().to_owned()),
    }
}

/// Creates a backup of a server, which must succeed.
pub(super) async fn completed_backup(server: &Server) -> String {
    let uuid = server.owner.create(json!({})).await.uuid();
    let backup = ended(server, &uuid).await;
    assert_eq!(backup["status"], "completed", "{backup}");
    uuid
}

/// Restores a server and waits for the outcome.
pub(super) async fn restore(server: &Server, uuid: &str, truncate: bool) -> Result<(), String> {
    let answer = server
        .owner
        .restore(uuid, json!({ "truncate": truncate }))
        .await;
    assert_eq!(answer.status, 202, "{}", answer.json());
    restored(server, uuid).await
}

/// Backs up and restores the server that is not attacked. Everything must succeed.
pub(super) async fn undisturbed(world: &World, until: Instant, mut dice: Dice) -> Figures {
    let mut figures = Figures::default();
    let server = &world.bystander;
    let mut known: Vec<(String, BTreeMap<PathBuf, String>)> = Vec::new();
    while Instant::now() < until || figures.restores == 0 {
        let changed = server.directory.join("world/region/r.0.0.mca");
        files::write(&changed, &files::noise(400_000, dice.number()));
        let tree = files::tree(&server.directory);
        let begun = Instant::now();
        let uuid = completed_backup(server).await;
        figures.took(begun);
        figures.backups += 1;
        known.push((uuid, tree));
        let (uuid, tree) = dice.pick(&known);
        let begun = Instant::now();
        restore(server, uuid, true).await.unwrap();
        figures.took(begun);
        figures.restores += 1;
        assert_eq!(
            &files::tree(&server.directory),
            tree,
            "not the files of {uuid}"
        );
        figures.compared += 1;
        if known.len() > KEPT_MAX {
            let (oldest, _) = known.remove(0);
            assert_eq!(server.owner.delete(&oldest).await.status, 204);
        }
    }
    figures
}
