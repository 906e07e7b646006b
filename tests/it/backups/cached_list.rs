//! No answer from a cached list is older than its request, whatever process made the change.

mod schedules;

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use holdfast_db::jobs::{self, Claim, ClaimRequest, ConcurrencyLimits, JobFailure, NewJob};
use holdfast_db::{Database, backups, servers};
use holdfast_domain::backup::{BackupNotes, CompletedBackup};
use holdfast_domain::job::{DeleteServerArgs, Phase, ServerBackupsAction, WorkerSlot};
use holdfast_domain::{BackupId, BackupName, JobKind, JobProgress, NodeName};

use crate::support::app::App;
use crate::support::client::{Client, send};
use crate::support::fixtures;

const LEASE: Duration = Duration::from_secs(60);

/// A service of two API processes. The test plays the workers and writes past both.
struct Polled {
    app: App,
    one: Client,
    other: Client,
    /// The last answers of both.
    last: Value,
}

impl Polled {
    async fn new() -> Self {
        let mut app = App::without_worker(&[]).await;
        let one = app.as_owner();
        let other = app.as_owner().at(&app.add_api(&[]).await);
        let mut polled = Self {
            app,
            one,
            other,
            last: Value::Null,
        };
        polled.sees("a new server").await;
        polled
    }

    /// Checks that both processes list the current state, twice, and that it differs from their
    /// previous lists.
    async fn sees(&mut self, what: &str) {
        let rows = format!(
            "SELECT count(*) FROM backups WHERE server_id = '{}'",
            self.app.server.id
        );
        let total = self.app.sql().number(&rows).await;
        let mut seen = Vec::new();
        for client in [&self.one, &self.other, &self.one, &self.other] {
            let list = client.list("").await.json();
            let entries = list["data"].as_array().unwrap();
            assert_eq!(list["meta"]["pagination"]["total"], total, "{what}");
            assert_eq!(entries.len(), usize::try_from(total).unwrap(), "{what}");
            let mut kept = 0;
            for entry in entries {
                // Details are read again each time.
                let uuid = entry["attributes"]["uuid"].as_str().unwrap();
                let shown = client.show(uuid).await.attributes();
                assert_eq!(entry["attributes"], shown, "{what}");
                kept += u32::from(shown["status"] != "failed");
            }
            assert_eq!(list["meta"]["backup_count"], kept, "{what}");
            seen.push(list["data"].clone());
        }
        assert!(seen.iter().all(|list| *list == seen[0]), "{what}");
        assert_ne!(seen[0], self.last, "{what} changes something");
        self.last = seen.remove(0);
    }

    fn database(&self) -> &Database {
        &self.app.database
    }

    async fn claim(&self) -> Claim {
        let node = NodeName::parse("local").unwrap();
        let request = ClaimRequest {
            node: &node,
            worker: "w",
            lease: LEASE,
            slot: WorkerSlot::Normal,
            count: 9,
            limits: &ConcurrencyLimits::default(),
        };
        let claims = jobs::claim(self.database(), &request).await;
        let mut claims = claims.unwrap();
        assert_eq!(claims.len(), 1);
        claims.remove(0)
    }

    async fn progress(&self, claim: &Claim, phase: Phase) {
        let progress = JobProgress {
            bytes_done: 1,
            bytes_total: 4,
            ..JobProgress::begin(phase)
        };
        let hold = jobs::heartbeat(self.database(), claim, LEASE, Some(&progress)).await;
        assert_eq!(hold.unwrap(), jobs::HeartbeatReply::Held);
    }

    async fn complete(&self, claim: &Claim) {
        let mut transaction = self.database().begin().await.unwrap();
        assert!(jobs::complete(&mut transaction, claim).await.unwrap());
        if claim.kind == JobKind::CreateBackup {
            let completed = CompletedBackup {
                at: chrono::Utc::now(),
                sha256: [7; 32],
                size_bytes: 5,
                attempt: claim.attempt,
                notes: BackupNotes::default(),
                work: None,
            };
            let done = backups::complete(&mut transaction, claim.backup, &completed).await;
            assert!(done.unwrap());
        }
        transaction.commit().await.unwrap();
    }

    async fn discard(&self, claim: &Claim) {
        let mut transaction = self.database().begin().await.unwrap();
        let done = jobs::discard(&mut transaction, claim, &failure()).await;
        assert!(done.unwrap());
        if claim.kind == JobKind::CreateBackup {
            let failed = backups::fail(&mut transaction, claim.backup, "It rained.").await;
            failed.unwrap();
        }
        transaction.commit().await.unwrap();
    }
}

fn failure() -> JobFailure {
    JobFailure {
        sentence: "It rained.".to_owned(),
        detail: "water in the disk".to_owned(),
    }
}

async fn rename(client: &Client, uuid: &str, name: &str) {
    let request = client.request(Method::PUT, &format!("/{uuid}/rename"));
    let answer = send(request.json(&json!({ "name": name }))).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_shows_every_step_of_a_creation_at_once() {
    let mut polled = Polled::new().await;
    let uuid = polled.one.create(json!({})).await.uuid();
    let backup = BackupId::parse(&uuid).unwrap();
    polled.sees("a creation").await;
    let claim = polled.claim().await;
    polled.progress(&claim, Phase::Scanning).await;
    polled.sees("its progress").await;
    polled.progress(&claim, Phase::Archiving).await;
    polled.sees("its further progress").await;
    let patterns = ["*.log".to_owned()];
    let set = backups::set_ignored_files(polled.database(), backup, &patterns).await;
    set.unwrap();
    polled.sees("the server's own patterns").await;
    assert!(jobs::release(polled.database(), &claim).await.unwrap());
    polled.sees("a worker that goes").await;
    let claim = polled.claim().await;
    polled.progress(&claim, Phase::Archiving).await;
    polled.sees("the next worker").await;
    let wait = Duration::ZERO;
    let retried = jobs::retry(polled.database(), &claim, &failure(), wait).await;
    assert!(retried.unwrap());
    polled.sees("an attempt that failed").await;
    jobs::promote(polled.database()).await.unwrap();
    let claim = polled.claim().await;
    polled.progress(&claim, Phase::Uploading).await;
    polled.sees("the second attempt").await;
    let lost =
        "UPDATE jobs SET lease_expires_at = now() - interval '1 second' WHERE state = 'running'";
    polled.app.sql().query(lost).await;
    assert_eq!(jobs::rescue(polled.database()).await.unwrap().len(), 1);
    polled.sees("a worker that died").await;
    let claim = polled.claim().await;
    polled.complete(&claim).await;
    polled.sees("its completion").await;
    polled.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_shows_every_final_state_at_once() {
    let mut polled = Polled::new().await;
    polled.one.create(json!({})).await.uuid();
    polled.sees("a creation").await;
    let claim = polled.claim().await;
    polled.discard(&claim).await;
    polled.sees("a failure").await;

    let uuid = polled.other.create(json!({})).await.uuid();
    polled.sees("a second creation").await;
    let cancel = polled.one.request(Method::POST, &format!("/{uuid}/cancel"));
    assert_eq!(send(cancel).await.status, 204);
    polled.sees("a backup that was called off").await;

    polled.one.create(json!({})).await.uuid();
    polled.sees("a third creation").await;
    let lost =
        "UPDATE jobs SET lease_expires_at = now() - interval '1 second', attempt = max_attempts
                WHERE state = 'running'";
    polled.claim().await;
    polled.app.sql().query(lost).await;
    assert_eq!(jobs::rescue(polled.database()).await.unwrap().len(), 1);
    polled.sees("a worker that died for the last time").await;

    let uuid = polled.one.create(json!({})).await.uuid();
    polled.sees("a fourth creation").await;
    let job = "SELECT id FROM jobs WHERE state = 'available'";
    let job = holdfast_domain::JobId(polled.app.sql().number(job).await);
    let called_off = fixtures::changed(polled.database(), async |change| {
        jobs::cancel_for_operator(change, job, "An operator said so.").await
    })
    .await;
    assert!(called_off.unwrap());
    polled.sees("a job that an operator called off").await;
    let (backup, server) = (BackupId::parse(&uuid).unwrap(), &polled.app.server);
    let job = NewJob {
        kind: JobKind::DeleteBackup,
        server: server.id,
        backup,
        node: &server.node,
        args: json!({}),
        max_attempts: 3,
        run: None,
    };
    let mut transaction = polled.database().begin().await.unwrap();
    jobs::enqueue(&mut transaction, &job).await.unwrap();
    transaction.commit().await.unwrap();
    polled.sees("a deletion that waits").await;
    let claim = polled.claim().await;
    let mut transaction = polled.database().begin().await.unwrap();
    assert!(jobs::complete(&mut transaction, &claim).await.unwrap());
    backups::delete(&mut transaction, backup).await.unwrap();
    transaction.commit().await.unwrap();
    polled.sees("a deletion").await;

    // Deletes the server itself, which is then registered again with its old UUID.
    let server = polled.app.server.clone();
    let keep = DeleteServerArgs {
        backups: ServerBackupsAction::Keep,
    };
    let begun = fixtures::changed(polled.database(), async |change| {
        servers::begin_deletion(change, &server, keep).await
    });
    begun.await.unwrap();
    for client in [&polled.one, &polled.other] {
        assert_eq!(client.list("").await.status, 404);
    }
    let claim = polled.claim().await;
    let mut transaction = polled.database().begin().await.unwrap();
    servers::end_deletion(&mut transaction, server.id)
        .await
        .unwrap();
    assert!(jobs::complete(&mut transaction, &claim).await.unwrap());
    transaction.commit().await.unwrap();
    let marks = "SELECT count(*) FROM list_versions";
    assert_eq!(polled.app.sql().number(marks).await, 0);
    polled.app.save_server().await;
    polled.sees("a server that was registered again").await;
    polled.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_shows_locks_names_and_restores_at_once() {
    let mut polled = Polled::new().await;
    let uuid = polled.one.create(json!({})).await.uuid();
    let claim = polled.claim().await;
    polled.complete(&claim).await;
    polled.sees("a completed backup").await;
    rename(&polled.other, &uuid, "Renamed").await;
    polled.sees("a new name").await;
    assert_eq!(polled.one.lock(&uuid, json!({})).await.status, 204);
    polled.sees("a lock").await;
    assert_eq!(polled.other.unlock(&uuid).await.status, 204);
    polled.sees("an unlock").await;
    assert_eq!(polled.other.restore(&uuid, json!({})).await.status, 202);
    polled.sees("a restore").await;
    let claim = polled.claim().await;
    polled.sees("a restore that began").await;
    polled.progress(&claim, Phase::Verifying).await;
    polled.sees("its progress").await;
    polled.discard(&claim).await;
    polled.sees("its failure").await;
    assert_eq!(polled.one.restore(&uuid, json!({})).await.status, 202);
    polled.sees("a second restore").await;
    let claim = polled.claim().await;
    polled.complete(&claim).await;
    polled.sees("its completion").await;
    polled.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_page_size_and_profile_is_cached_separately() {
    let app = App::without_worker(&[]).await;
    let (owner, pterodactyl) = (app.as_owner(), app.as_pterodactyl().await);
    owner.create(json!({})).await.uuid();
    let insert = format!(
        "INSERT INTO backups (id, server_id, name, disk, state, failed_at, error, created_at)
         SELECT gen_random_uuid(), '{}', 'b' || n, 'local', 'failed', now(), 'It was a test.', \
         timestamptz '2026-01-01'
         FROM generate_series(1, 3) n",
        app.server.id
    );
    app.sql().query(&insert).await;
    for _ in 0..2 {
        for (client, query, count, successful) in [
            (&owner, "", 4, json!(null)),
            (&pterodactyl, "", 4, json!(false)),
            (&owner, "?per_page=1", 1, json!(null)),
            (&owner, "?per_page=2", 2, json!(null)),
            (&owner, "?per_page=2&page=2", 2, json!(false)),
            (&pterodactyl, "?per_page=3&page=2", 1, json!(false)),
        ] {
            let list = client.list(query).await.json();
            let first = &list["data"][0]["attributes"]["is_successful"];
            let found = (&list["meta"]["pagination"]["count"], first);
            assert_eq!(found, (&json!(count), &successful), "{query}");
        }
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_list_is_answered_until_its_version_changes() {
    let mut polled = Polled::new().await;
    let uuid = polled.one.create(json!({ "name": "First" })).await.uuid();
    polled.sees("a creation").await;
    // A write without a new version, which is possible only past the schema, shows that the cache
    // is used.
    let unseen = "ALTER TABLE backups DISABLE TRIGGER USER; UPDATE backups SET name = 'Unseen';
                  ALTER TABLE backups ENABLE TRIGGER USER";
    polled.app.sql().query(unseen).await;
    let name = |list: &Value| list["data"][0]["attributes"]["name"].clone();
    assert_eq!(name(&polled.one.list("").await.json()), "First");
    assert_eq!(polled.one.show(&uuid).await.attributes()["name"], "Unseen");
    polled.app.sql().query("UPDATE jobs SET priority = 1").await;
    assert_eq!(name(&polled.one.list("").await.json()), "Unseen");
    polled.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_sees_its_change_in_every_process_while_others_write() {
    let polled = Polled::new().await;
    let insert = format!(
        "INSERT INTO backups (id, server_id, name, disk, state, failed_at, error)
         SELECT gen_random_uuid(), '{}', 'b' || n, 'local', 'failed', now(), 'It was a test.'
         FROM generate_series(1, 6) n",
        polled.app.server.id
    );
    polled.app.sql().query(&insert).await;
    let list = polled.one.list("").await.json();
    let entries = list["data"].as_array().unwrap();
    let writers = entries.iter().enumerate().map(|(writer, entry)| {
        let uuid = entry["attributes"]["uuid"].as_str().unwrap().to_owned();
        let (one, other) = (polled.one.clone(), polled.other.clone());
        let database = polled.app.database.clone();
        async move {
            for round in 0..12 {
                let name = format!("{writer} {round}");
                if round % 2 == 0 {
                    rename(if writer % 2 == 0 { &one } else { &other }, &uuid, &name).await;
                } else {
                    let mut transaction = database.begin().await.unwrap();
                    let parsed = BackupName::parse(&name).unwrap().unwrap();
                    let backup = BackupId::parse(&uuid).unwrap();
                    let renamed = backups::rename(&mut transaction, backup, &parsed).await;
                    renamed.unwrap();
                    // Other transactions commit in between.
                    tokio::task::yield_now().await;
                    transaction.commit().await.unwrap();
                }
                for client in [&one, &other, &one] {
                    let list = client.list("").await.json();
                    let entries = list["data"].as_array().unwrap();
                    let own = entries.iter().find(|e| e["attributes"]["uuid"] == *uuid);
                    assert_eq!(own.unwrap()["attributes"]["name"], *name);
                }
            }
        }
    });
    join_all(writers.map(tokio::spawn))
        .await
        .into_iter()
        .for_each(|ended| ended.unwrap());
    let marks = polled
        .app
        .sql()
        .number("SELECT count(*) FROM list_versions")
        .await;
    assert!((1..=6).contains(&marks), "{marks} marks of 6 writers");
    polled.app.stop().await;
}
