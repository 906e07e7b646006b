//! Workers that are killed, stopped and paused in the middle of a backup: real processes, real
//! signals. In each case the backup is completed once, and nothing else is left.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use holdfast_domain::{BackupId, ServerId};
use holdfast_storage::{ArchiveKey, StorageKey};

use crate::support::app::{App, Setting};
use crate::support::client::Client;
use crate::support::process::{Process, holdfast, run};
use crate::support::{eventually, files};

/// Slow enough that a backup takes longer than a test waits, unless the worker is replaced.
const SLOW: [Setting<'static>; 2] = [
    ("worker.lease_seconds", "5"),
    ("worker.read_limit_bytes_per_second", "40000"),
];
const QUICK: [Setting<'static>; 1] = [("worker.lease_seconds", "5")];

/// `holdfast up` on a separate data folder, with a server registered through `holdfast admin`.
struct Service {
    folder: tempfile::TempDir,
    process: Process,
    server: ServerId,
    token: String,
    owner: Client,
}

impl Service {
    async fn start(settings: &[Setting<'_>]) -> Self {
        let folder = files::scratch();
        let data = folder.path().join("data");
        let directory = folder.path().join("server");
        files::make_server(&directory);
        files::write(
            &directory.join("world/big.mca"),
            &files::noise(3_000_000, 7),
        );
        let (process, url) = Process::up(&data, settings).await;
        let admin = |arguments: &[&str]| {
            let mut command = holdfast(&[]);
            command.args(["admin", "--json", "--data"]).arg(&data);
            run(command.args(arguments)).json()
        };
        admin(&["user", "create", "--email", "owner@example.com"]);
        let key = admin(&["key", "create", "--user", "owner@example.com"]);
        let directory = directory.to_str().unwrap();
        let server = admin(&[
            "server",
            "create",
            "--owner",
            "owner@example.com",
            "--name",
            "Survival",
            "--dir",
            directory,
        ]);
        let uuid = server["uuid"].as_str().unwrap();
        let token = key["token"].as_str().unwrap().to_owned();
        Self {
            folder,
            process,
            server: ServerId::parse(uuid).unwrap(),
            owner: Client::new(&url, uuid, Some(token.clone())),
            token,
        }
    }

    /// Starts it again on the same data, once it has ended.
    async fn start_again(&mut self) {
        let (process, url) = Process::up(&self.data(), &QUICK).await;
        self.process = process;
        let token = Some(self.token.clone());
        self.owner = Client::new(&url, &self.server.to_string(), token);
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn directory(&self) -> PathBuf {
        self.folder.path().join("server")
    }

    /// The first job in the table, as `holdfast admin job list` shows it.
    fn job(&self) -> Value {
        let mut command = holdfast(&[]);
        command.args(["admin", "--json", "job", "list", "--data"]);
        run(command.arg(self.data())).json()[0].clone()
    }
}

/// Waits until a backup is being archived: bytes were read, and some are on the disk.
async fn under_way(owner: &Client, disk: &Path, uuid: &str) {
    eventually("the backup is under way", async || {
        let backup = owner.show(uuid).await.attributes();
        let progress = &backup["progress"];
        assert_eq!(backup["status"], "creating", "too quick: {backup}");
        let begun = progress["phase"] == "archiving" && progress["bytes_done"].as_u64() > Some(0);
        let on_disk = files::files_below(disk)
            .iter()
            .any(|name| name.contains(uuid) && name.ends_with(".partial"));
        (begun && on_disk).then_some(())
    })
    .await;
}

async fn completed(owner: &Client, uuid: &str) -> Value {
    eventually("the backup is completed", async || {
        let backup = owner.show(uuid).await.attributes();
        assert_ne!(backup["status"], "failed", "{backup}");
        (backup["status"] == "completed").then_some(backup)
    })
    .await
}

/// Checks that the server's folder holds exactly the three objects of an attempt, and that the
/// archive is the recorded one.
fn check_disk(disk: &Path, server: ServerId, backup: &Value, attempt: u32) {
    let key = ArchiveKey {
        server,
        backup: BackupId::parse(backup["uuid"].as_str().unwrap()).unwrap(),
        attempt,
    };
    let archive = StorageKey::Archive(key).path();
    let mut expected = vec![".holdfast-disk".to_owned()];
    expected.extend(StorageKey::all(key).map(|key| key.path()));
    expected.sort();
    assert_eq!(files::files_below(disk), expected);
    let bytes = fs_err::read(disk.join(archive)).unwrap();
    assert_eq!(backup["sha256_hash"], files::sha256(&bytes));
    assert_eq!(backup["bytes"], bytes.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn row_11_a_backup_whose_process_was_killed_is_completed_after_the_next_start() {
    let mut service = Service::start(&SLOW).await;
    let disk = service.data().join("backups");
    let before = files::tree(&service.directory());
    let uuid = service.owner.create(json!({})).await.uuid();
    under_way(&service.owner, &disk, &uuid).await;
    service.process.signal(Signal::KILL);
    service.process.ended().await;

    service.start_again().await;
    let backup = completed(&service.owner, &uuid).await;
    let job = service.job();
    assert_eq!(job["attempt"], 2, "{job}");
    let error = &job["errors"][0]["sentence"];
    assert_eq!(error, "The process that worked on it stopped responding.");
    check_disk(&disk, service.server, &backup, 2);

    fs_err::remove_dir_all(service.directory().join("world")).unwrap();
    let restore = service.owner.restore(&uuid, json!({})).await;
    assert_eq!(restore.status, 202);
    let restored = eventually("the restore has ended", async || {
        let restore = service.owner.show(&uuid).await.attributes()["restore"].clone();
        restore["finished_at"].is_string().then_some(restore)
    })
    .await;
    assert_eq!(restored["status"], "completed", "{restored}");
    assert_eq!(files::tree(&service.directory()), before);
    service.process.signal(Signal::TERM);
    assert!(service.process.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_stops_returns_its_backup_and_the_next_one_completes_it() {
    let mut service = Service::start(&SLOW).await;
    let disk = service.data().join("backups");
    let uuid = service.owner.create(json!({})).await.uuid();
    under_way(&service.owner, &disk, &uuid).await;
    let begun = Instant::now();
    service.process.signal(Signal::TERM);
    let status = service.process.ended().await;
    let seconds = begun.elapsed();
    assert!(status.success(), "{status}: {}", service.process.log());
    assert!(seconds < Duration::from_secs(10), "it took {seconds:?}");
    assert_eq!(
        files::files_below(&disk),
        [".holdfast-disk"],
        "what was begun is removed"
    );

    service.start_again().await;
    let backup = completed(&service.owner, &uuid).await;
    let job = service.job();
    assert_eq!((&job["attempt"], &job["errors"]), (&json!(1), &json!([])));
    check_disk(&disk, service.server, &backup, 1);
    service.process.signal(Signal::INT);
    assert!(service.process.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_resumes_after_its_lease_expired_changes_nothing() {
    let app = App::without_worker(&[]).await;
    files::make_server(&app.directory);
    files::write(
        &app.directory.join("world/big.mca"),
        &files::noise(3_000_000, 7),
    );
    let url = app.sql().url();
    let database: Setting<'_> = ("database.url", &url);
    let data = app.disk.parent().unwrap();
    let start = |settings: &[Setting<'_>]| {
        let mut command = holdfast(settings);
        command.env(crate::support::app::variable(&database).0, database.1);
        Process::start(command.args(["worker", "--data"]).arg(data), data)
    };
    let owner = app.as_owner();
    let uuid = owner.create(json!({})).await.uuid();
    let mut paused = start(&SLOW);
    under_way(&owner, &app.disk, &uuid).await;
    let below = |path: &PathBuf| path.starts_with(&app.disk);
    assert!(paused.open_files().iter().any(below), "it writes");
    paused.signal(Signal::STOP);

    let mut quick = start(&QUICK);
    let backup = completed(&owner, &uuid).await;
    check_disk(&app.disk, app.server.id, &backup, 2);

    paused.signal(Signal::CONT);
    eventually("the paused worker has noticed", async || {
        paused.log().contains("the lease is lost").then_some(())
    })
    .await;
    // It stops the work, which is no longer needed and would take a minute.
    eventually("the paused worker lets go of its files", async || {
        let open = paused.open_files();
        assert!(!open.is_empty(), "nothing can be seen of the process");
        (!open.iter().any(below)).then_some(())
    })
    .await;
    // Once it has ended, it can write nothing more.
    paused.signal(Signal::TERM);
    assert!(paused.ended().await.success(), "{}", paused.log());
    check_disk(&app.disk, app.server.id, &backup, 2);
    let after = owner.show(&uuid).await.attributes();
    assert_eq!(after, backup, "the row is as the second worker left it");
    let attempts = app.sql().number("SELECT attempt FROM jobs").await;
    assert_eq!(attempts, 2);

    quick.signal(Signal::TERM);
    assert!(quick.ended().await.success());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_removes_no_objects_of_later_ones() {
    let mut app = App::without_worker(&[]).await;
    files::make_server(&app.directory);
    let uuid = app.as_owner().create(json!({})).await.uuid();
    // A worker that is paused right after its claim continues when a later attempt is complete.
    let key = |attempt| ArchiveKey {
        server: app.server.id,
        backup: BackupId::parse(&uuid).unwrap(),
        attempt,
    };
    let later = StorageKey::all(key(2)).map(|key| app.disk.join(key.path()));
    for path in &later {
        files::write(path, b"of a later attempt");
    }
    app.add_worker(&[]);
    completed(&app.as_owner(), &uuid).await;
    for path in &later {
        assert!(path.exists(), "{}", path.display());
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_another_node_leaves_the_job_alone() {
    let mut app = App::without_worker(&[]).await;
    app.add_worker(&[("worker.node", "elsewhere")]);
    let uuid = app.as_owner().create(json!({})).await.uuid();
    // It claims the jobs of its own node, which proves that it runs.
    let other = app.another_server("other").await;
    fs_err::create_dir(&other.directory).unwrap();
    let move_other = format!(
        "UPDATE servers SET node = 'elsewhere' WHERE id = '{}'",
        other.id
    );
    app.sql().query(&move_other).await;
    let others = app.as_owner().about(&other.id.to_string());
    let done = others.create(json!({})).await.uuid();
    completed(&others, &done).await;
    let waiting = app.as_owner().show(&uuid).await.attributes();
    assert_eq!(waiting["progress"]["phase"], "queued");
    app.add_worker(&[]);
    completed(&app.as_owner(), &uuid).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_links_stay_valid_after_a_restart() {
    let mut service = Service::start(&QUICK).await;
    let uuid = service.owner.create(json!({})).await.uuid();
    completed(&service.owner, &uuid).await;
    let link = service.owner.download(&uuid).await.link();
    service.process.signal(Signal::TERM);
    assert!(service.process.ended().await.success());
    service.start_again().await;
    let (_, query) = link.split_once("/download/").unwrap();
    let request = service.owner.request(reqwest::Method::GET, "");
    let url = request.build().unwrap().url().clone();
    let origin = url.origin().ascii_serialization();
    let link = format!("{origin}/download/{query}");
    let request = service.owner.plain(reqwest::Method::GET, &link);
    let archive = crate::support::client::send(request).await;
    let backup = service.owner.show(&uuid).await.attributes();
    assert_eq!(backup["sha256_hash"], files::sha256(&archive.bytes));
    service.process.signal(Signal::TERM);
    assert!(service.process.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_stops_in_time_although_clients_stay_connected() {
    let mut service = Service::start(&QUICK).await;
    let big = service.directory().join("world/bigger.mca");
    files::write(&big, &files::noise(30_000_000, 9));
    let uuid = service.owner.create(json!({})).await.uuid();
    completed(&service.owner, &uuid).await;
    let link = service.owner.download(&uuid).await.link();
    // One client is in the middle of a download. Another has sent a request and keeps its
    // connection.
    let request = service.owner.plain(reqwest::Method::GET, &link);
    let mut download = request.send().await.unwrap();
    download.chunk().await.unwrap().unwrap();
    let (_, address) = link.split_once("//").unwrap();
    let address = address.split('/').next().unwrap();
    let mut idle = tokio::net::TcpStream::connect(address).await.unwrap();
    let ask = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut idle, ask)
        .await
        .unwrap();
    let mut answered = [0; 12];
    tokio::io::AsyncReadExt::read_exact(&mut idle, &mut answered)
        .await
        .unwrap();
    assert_eq!(&answered, b"HTTP/1.1 200");

    let begun = Instant::now();
    service.process.signal(Signal::TERM);
    let status = service.process.ended().await;
    let took = begun.elapsed();
    assert!(status.success(), "{}", service.process.log());
    assert!(took < Duration::from_secs(10), "it took {took:?}");
    drop((download, idle));
}
