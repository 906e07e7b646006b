//! The whole life of a backup, the same on every kind of disk: made, shown, downloaded by a link that
//! needs no header, restored, deleted.

use reqwest::Method;
use reqwest::header::RANGE;
use serde_json::json;

use holdfast_storage::Manifest;

use super::{objects, parts, with_bucket};
use crate::support::app::App;
use crate::support::client::send;
use crate::support::files;
use crate::support::s3::{BUCKET, S3Server};

/// Lives the life on the service's default disk. `stored` lists the disk's objects, and `read` reads one.
async fn live(
    app: &App,
    disk: &str,
    stored: impl Fn() -> Vec<String>,
    read: impl Fn(&str) -> Vec<u8>,
) {
    files::make_server(&app.directory);
    // Several parts.
    files::write(
        &app.directory.join("world/region/r.1.1.mca"),
        &files::noise(12_000_000, 7),
    );
    files::write(&app.directory.join("logs/old.log"), b"left out");
    let body = json!({ "name": "Before the update", "ignored": "logs/old.log", "is_locked": true });
    let owner = app.as_owner();
    let uuid = owner.create(body).await.uuid();
    let backup = app.ended(&uuid).await;
    assert_eq!(backup["status"], "completed", "{backup}");
    assert_eq!(backup["disk"], disk);

    let all = stored();
    let of = |extension: &str| all.iter().find(|name| name.ends_with(extension)).unwrap();
    assert_eq!(all.len(), 3, "{all:?}");
    let archive = read(of(".tar.gz"));
    assert!(archive.len() > 12_000_000);
    assert_eq!(backup["sha256_hash"], files::sha256(&archive));
    let manifest = Manifest::from_json(&read(of(".json"))).unwrap();
    assert_eq!(manifest.server, app.server.id);
    assert_eq!(manifest.server_name, app.server.name);
    assert_eq!(manifest.backup.to_string(), uuid);
    assert_eq!(manifest.name, "Before the update");
    assert_eq!(manifest.size_bytes, archive.len() as u64);
    assert_eq!(backup["sha256_hash"], manifest.sha256.as_str());
    assert_eq!(manifest.ignored_files, ["logs/old.log"]);
    assert!(manifest.is_locked && manifest.entries > manifest.files);
    assert_eq!((manifest.attempt, manifest.format), (1, Manifest::FORMAT));

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
        let name = entry.unwrap().file_name();
        assert!(!name.to_string_lossy().starts_with(".holdfast"), "{name:?}");
    }

    let ready = send(
        app.as_nobody()
            .plain(Method::GET, &app.base_url_of("/readyz")),
    )
    .await;
    assert_eq!(ready.json()["checks"][format!("disk:{disk}")], "ok");

    assert_eq!(owner.unlock(&uuid).await.status, 204);
    assert_eq!(owner.delete(&uuid).await.status, 204);
    assert_eq!(stored(), [""; 0]);
    let gone = send(reqwest::Client::new().get(&link)).await;
    assert_eq!(gone.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_folder() {
    let app = App::start().await;
    let stored = || {
        let all = files::files_below(&app.disk).into_iter();
        all.filter(|name| name != ".holdfast-disk").collect()
    };
    live(&app, "local", stored, |name| {
        fs_err::read(app.disk.join(name)).unwrap()
    })
    .await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_an_s3_bucket() {
    let server = S3Server::start().await;
    let mut app = with_bucket(&server.endpoint(), &[]).await;
    app.add_worker(&[]);
    let stored = || objects(&server);
    live(&app, "offsite", stored, |name| {
        assert!(name.starts_with("panel/"), "{name}");
        fs_err::read(server.folder().join(BUCKET).join(name)).unwrap()
    })
    .await;
    assert_eq!(parts(&server), 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_stays_on_its_disk_whatever_the_default_becomes() {
    let server = S3Server::start().await;
    let mut app = with_bucket(&server.endpoint(), &[]).await;
    app.add_worker(&[]);
    files::make_server(&app.directory);
    let far = app.backup().await;
    // The server is given another disk, which new backups go to.
    app.server.disk = Some(holdfast_domain::DiskName::parse("local").unwrap());
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
