//! The whole life of a backup, the same on every kind of disk: create, show, download by a link
//! that needs no header, restore, delete.

use reqwest::Method;
use reqwest::header::RANGE;
use serde_json::json;

use holdfast_domain::DiskName;
use holdfast_storage::{Disk, Encryption, GcsOptions, Manifest, StorageKey};

use super::{Bucket, make_server, objects, partials, parts, read, stored};
use crate::support::app::App;
use crate::support::client::send;
use crate::support::files;
use crate::support::google::Google;
use crate::support::proxy::Proxy;
use crate::support::s3::S3Server;
use crate::support::tls::Tls;
use crate::support::{eventually, skipped};

/// Runs the life of a backup on the service's default disk. `disk` shows that disk past the
/// service.
async fn live(app: &App, name: &str, disk: &Disk) {
    make_server(app);
    files::write(&app.directory.join("logs/old.log"), b"left out");
    let body = json!({ "name": "Before the update", "ignored": "logs/old.log", "is_locked": true });
    let owner = app.as_owner();
    let uuid = owner.create(body).await.uuid();
    let backup = app.ended(&uuid).await;
    assert_eq!(backup["status"], "completed", "{backup}");
    assert_eq!(backup["disk"], name);

    let all = stored(disk).await;
    assert_eq!(all.len(), 3, "{all:?}");
    let [manifest, archive, _] = StorageKey::all(all[0].archive());
    let archive = read(disk, archive).await;
    assert!(archive.len() > 16_000_000);
    assert_eq!(backup["sha256_hash"], files::sha256(&archive));
    let manifest = Manifest::from_json(&read(disk, manifest).await).unwrap();
    assert_eq!(manifest.server, app.server.id);
    assert_eq!(manifest.server_name, app.server.name);
    assert_eq!(manifest.backup.to_string(), uuid);
    assert_eq!(manifest.name, "Before the update");
    assert_eq!(manifest.size_bytes, archive.len() as u64);
    assert_eq!(backup["sha256_hash"], manifest.sha256.as_str());
    assert_eq!(manifest.ignored_files, ["logs/old.log"]);
    assert!(manifest.is_locked && manifest.entries > manifest.files);
    assert_eq!((manifest.attempt, manifest.format), (1, Manifest::FORMAT));

    let path = format!("/{uuid}/verify");
    assert_eq!(send(owner.request(Method::POST, &path)).await.status, 202);
    eventually("the archive is verified", async || {
        let backup = owner.show(&uuid).await.attributes();
        let verification = &backup["verification"];
        assert_eq!(verification["error"], serde_json::Value::Null, "{backup}");
        assert_eq!(verification["note"], serde_json::Value::Null, "{backup}");
        (verification["status"] == "passed").then_some(())
    })
    .await;

    let region = format!("/{uuid}/contents?path=world/region");
    let region = send(owner.request(Method::GET, &region)).await.json();
    assert_eq!(region["meta"]["pagination"]["total"], 2, "{region}");
    for path in ["world/region/r.1.1.mca", "zz-level.dat", "start.sh"] {
        let file = format!("/{uuid}/contents/file?path={path}");
        let file = send(owner.request(Method::GET, &file)).await;
        assert_eq!(file.status, 200, "{path}");
        let expected = fs_err::read(app.directory.join(path)).unwrap();
        assert!(file.bytes == expected, "other bytes for {path}");
    }

    let link = owner.download(&uuid).await.link();
    let whole = send(reqwest::Client::new().get(&link)).await;
    assert_eq!(whole.status, 200);
    assert!(whole.bytes == archive);
    assert_eq!(whole.header("content-type"), "application/gzip");
    assert_eq!(
        whole.header("content-disposition"),
        format!("attachment; filename=\"{uuid}.tar.gz\"")
    );
    let part = send(
        reqwest::Client::new()
            .get(&link)
            .header(RANGE, "bytes=5-1000004"),
    )
    .await;
    assert_eq!(part.status, 206);
    assert!(part.bytes == archive[5..1_000_005]);

    let mut before = files::tree(&app.directory);
    before.remove(std::path::Path::new("logs/old.log"));
    fs_err::remove_dir_all(app.directory.join("world")).unwrap();
    files::write(&app.directory.join("server.properties"), b"motd=Broken");
    assert_eq!(owner.restore(&uuid, json!({})).await.status, 202);
    let restore = app.restored(&uuid).await;
    assert_eq!(restore["status"], "completed", "{restore}");
    assert_eq!(files::tree(&app.directory), before);
    let beside = fs_err::read_dir(app.directory.parent().unwrap()).unwrap();
    for entry in beside {
        let found = entry.unwrap().file_name();
        assert!(
            !found.to_string_lossy().starts_with(".holdfast"),
            "{found:?}"
        );
    }

    let ready = send(
        app.as_anonymous()
            .plain(Method::GET, &app.base_url_of("/readyz")),
    )
    .await;
    assert_eq!(ready.json()["checks"][format!("disk:{name}")], "ok");

    assert_eq!(owner.unlock(&uuid).await.status, 204);
    assert_eq!(owner.delete(&uuid).await.status, 204);
    assert_eq!(stored(disk).await, []);
    assert_eq!(partials(disk).await, []);
    let gone = send(reqwest::Client::new().get(&link)).await;
    assert_eq!(gone.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_folder() {
    let app = App::start().await;
    let disk = Disk::local(DiskName::parse("local").unwrap(), &app.disk).unwrap();
    live(&app, "local", &disk).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_an_encrypted_folder() {
    let app = App::start_with(&ENCRYPTED_FOLDER).await;
    let disk = Disk::local(DiskName::parse("local").unwrap(), &app.disk).unwrap();
    live(&app, "local", &disk.with_encryption(keys())).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_an_encrypted_bucket_of_s3s() {
    let server = S3Server::start().await;
    let bucket = Bucket::at(server.endpoint());
    let mut settings = bucket.settings().to_vec();
    settings.push(("storage.disks.offsite.encryption", "age"));
    settings.push(("storage.disks.offsite.age_identity", IDENTITY));
    let app = App::start_with(&settings).await;
    live(&app, "offsite", &bucket.disk().with_encryption(keys())).await;
    app.stop().await;
}

/// A private key that protects nothing, since it is published here.
pub(super) const IDENTITY: &str =
    "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
pub(super) const ENCRYPTED_FOLDER: [(&str, &str); 2] = [
    ("storage.disks.local.encryption", "age"),
    ("storage.disks.local.age_identity", IDENTITY),
];

pub(super) fn keys() -> Encryption {
    Encryption::new(true, &[], Some(IDENTITY)).unwrap()
}

/// A bucket of an emulator that the environment names, in a folder of this test, behind a gate that
/// accepts only a service account and its links.
pub(super) struct AtGoogle {
    _google: Google,
    _gate: Proxy,
    _folder: tempfile::TempDir,
    settings: Vec<(&'static str, String)>,
    /// The disk, past the service and the gate.
    pub(super) disk: Disk,
}

impl AtGoogle {
    pub(super) async fn start() -> Option<Self> {
        let variable = |name: &str| std::env::var(format!("HOLDFAST_TEST_GCS_{name}")).ok();
        let Some(emulator) = variable("ENDPOINT") else {
            skipped("HOLDFAST_TEST_GCS_ENDPOINT is not set; scripts/with-gcs sets it");
            return None;
        };
        let google = Google::start().await;
        let gate = google.before(&emulator).await;
        let folder = files::scratch();
        let key_file = folder.path().join("key.json");
        files::write(&key_file, google.key_file().as_bytes());
        let bucket = variable("BUCKET").unwrap();
        let prefix = format!("panel-{:08x}", rand::random::<u32>());
        let own = |field| match field {
            "driver" => ("storage.disks.offsite.driver", "gcs".to_owned()),
            "endpoint" => ("storage.disks.offsite.endpoint", gate.endpoint()),
            "bucket" => ("storage.disks.offsite.bucket", bucket.clone()),
            "prefix" => ("storage.disks.offsite.prefix", prefix.clone()),
            _ => (
                "storage.disks.offsite.service_account_file",
                key_file.to_string_lossy().into_owned(),
            ),
        };
        let mut settings = vec![("storage.default", "offsite".to_owned())];
        settings.extend(["driver", "endpoint", "bucket", "prefix", "account"].map(own));
        let options = GcsOptions {
            bucket,
            prefix: format!("{prefix}/"),
            endpoint: Some(emulator),
            ca_bundle: None,
            account: None,
            chunk_bytes: GcsOptions::CHUNK_BYTES,
        };
        Some(Self {
            _google: google,
            _gate: gate,
            _folder: folder,
            settings,
            disk: Disk::gcs(DiskName::parse("past").unwrap(), options).unwrap(),
        })
    }

    pub(super) fn settings(&self) -> Vec<(&str, &str)> {
        let settings = self.settings.iter();
        settings
            .map(|(key, value)| (*key, value.as_str()))
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_bucket_of_google() {
    let Some(at) = AtGoogle::start().await else {
        return;
    };
    let app = App::start_with(&at.settings()).await;
    live(&app, "offsite", &at.disk).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_an_encrypted_bucket_of_google() {
    let Some(at) = AtGoogle::start().await else {
        return;
    };
    let mut settings = at.settings();
    settings.push(("storage.disks.offsite.encryption", "age"));
    settings.push(("storage.disks.offsite.age_identity", IDENTITY));
    let app = App::start_with(&settings).await;
    live(&app, "offsite", &at.disk.clone().with_encryption(keys())).await;
    app.stop().await;
}

/// A server whose certificate is signed by a private authority. The links are plain HTTP here: with
/// TLS, clients that download would need to trust the authority as well.
#[tokio::test(flavor = "multi_thread")]
async fn in_a_bucket_behind_tls() {
    let server = S3Server::start().await;
    let tls = Tls::start(server.address).await;
    let folder = files::scratch();
    let ca_file = folder.path().join("ca.pem");
    files::write(&ca_file, tls.authority.as_bytes());
    let (bucket, past) = (Bucket::at(tls.endpoint()), Bucket::at(server.endpoint()));
    let ca_file = ca_file.to_string_lossy().into_owned();
    let plain = server.endpoint();
    let mut settings = bucket.settings().to_vec();
    settings.push(("storage.disks.offsite.ca_file", &ca_file));
    settings.push(("storage.disks.offsite.public_endpoint", &plain));
    let app = App::start_with(&settings).await;
    live(&app, "offsite", &past.disk()).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_bucket_of_s3s() {
    let server = S3Server::start().await;
    let bucket = Bucket::at(server.endpoint());
    let mut app = bucket.service().await;
    app.add_worker(&[]);
    live(&app, "offsite", &bucket.disk()).await;
    assert_eq!(parts(&server), 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_bucket_of_a_server_outside() {
    let Some(bucket) = Bucket::outside() else {
        return;
    };
    let mut app = bucket.service().await;
    app.add_worker(&[]);
    live(&app, "offsite", &bucket.disk()).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_stays_on_its_disk_whatever_the_default_becomes() {
    let server = S3Server::start().await;
    let mut app = Bucket::at(server.endpoint()).service().await;
    app.add_worker(&[]);
    files::make_server(&app.directory);
    let far = app.backup().await;
    // The server gets another disk for its new backups.
    app.server.disk = Some(DiskName::parse("local").unwrap());
    app.save_server().await;
    let near = app.backup().await;
    assert!(app.archive(&near).exists());
    let owner = app.as_owner();
    for (uuid, disk) in [(&far, "offsite"), (&near, "local")] {
        assert_eq!(owner.show(uuid).await.attributes()["disk"], disk);
        let link = owner.download(uuid).await.link();
        assert_eq!(send(reqwest::Client::new().get(&link)).await.status, 200);
        assert_eq!(owner.restore(uuid, json!({})).await.status, 202);
        let restore = app.restored(uuid).await;
        assert_eq!(restore["status"], "completed", "{restore}");
        assert_eq!(owner.delete(uuid).await.status, 204);
    }
    assert_eq!(objects(&server), [""; 0]);
    app.stop().await;
}
