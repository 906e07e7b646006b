//! The archive that a running backup reuses is deleted: by its owner, by the retention rules, and
//! by rotation.

use serde_json::{Value, json};

use holdfast_domain::DiskName;

use super::{AHEAD, assert_reused, assert_whole, back_up, change, make_server};
use crate::disks::{Bucket, objects, parts};
use crate::faults::under_way;
use crate::maintenance::admin;
use crate::support::app::{App, Setting};
use crate::support::s3::S3Server;
use crate::support::{eventually, files};

/// How fast a backup is read that must still run when the other one is gone.
const SLOWLY: Setting<'static> = ("worker.read_limit_bytes_per_second", "300000");

fn add_worker(app: &mut App, changed: &[Setting<'_>]) {
    app.add_worker_with(changed, |options| options.scans_ahead = AHEAD);
}

/// Starts a backup that reuses the archive of an earlier one, and returns its UUID while it runs.
async fn begin(app: &mut App, limit: Setting<'_>) -> String {
    app.stop_workers().await;
    change(&app.directory, 1);
    let uuid = app.as_owner().create(json!({})).await.uuid();
    add_worker(app, &[limit]);
    uuid
}

/// Waits until a backup is gone, while another one runs.
async fn gone_meanwhile(app: &App, backup: &Value, running: &str) {
    let archive = app.archive(backup["uuid"].as_str().unwrap());
    eventually("the earlier archive is deleted", async || {
        (!archive.exists()).then_some(())
    })
    .await;
    let status = app.as_owner().show(running).await.attributes()["status"].clone();
    assert_eq!(status, "creating", "it was deleted too late");
}

/// Waits for a backup whose previous archive was deleted meanwhile, and checks it and the next one.
async fn assert_right(app: &mut App, uuid: &str) -> Value {
    let backup = app.ended(uuid).await;
    assert_whole(app, &backup, &files::tree(&app.directory)).await;
    app.stop_workers().await;
    add_worker(app, &[]);
    change(&app.directory, 2);
    let next = back_up(app).await;
    assert_reused(&next, &backup);
    assert_whole(app, &next, &files::tree(&app.directory)).await;
    backup
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_whose_previous_archive_is_deleted_meanwhile_still_reuses_it() {
    let mut app = App::without_worker(&[]).await;
    make_server(&app.directory);
    add_worker(&mut app, &[]);
    let first = back_up(&app).await;
    let uuid = begin(&mut app, SLOWLY).await;
    under_way(&app).await;
    let deleted = app.as_owner().delete(first["uuid"].as_str().unwrap()).await;
    assert_eq!(deleted.status, 204);
    gone_meanwhile(&app, &first, &uuid).await;
    let backup = assert_right(&mut app, &uuid).await;
    assert_reused(&backup, &first);
    assert_eq!(backup["notes"], first["notes"]);
    app.stop().await;
}

/// Makes the oldest backup the previous one of a backup that runs: the newest one is on another
/// disk. Returns the oldest and the UUID of the running one.
async fn with_a_newer_one_elsewhere(limit: Option<u32>) -> (App, Value, String) {
    let folder = files::scratch();
    let other = folder.path().join("other");
    let other = [
        ("storage.disks.other.driver", "local"),
        ("storage.disks.other.root", other.to_str().unwrap()),
    ];
    let mut app = App::without_worker(&other).await;
    make_server(&app.directory);
    app.server.limits.backups = limit;
    app.server.limits.rotate = true;
    add_worker(&mut app, &[]);
    let first = back_up(&app).await;
    app.server.disk = Some(DiskName::parse("other").unwrap());
    app.save_server().await;
    let second = back_up(&app).await;
    assert_eq!(second["reused_from"], Value::Null, "{second}");
    app.server.disk = None;
    app.save_server().await;
    let uuid = begin(&mut app, SLOWLY).await;
    under_way(&app).await;
    (app, first, uuid)
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_may_delete_the_archive_that_a_running_backup_reuses() {
    let (mut app, first, uuid) = with_a_newer_one_elsewhere(None).await;
    let keep_one = [("retention.keep_last", "1")];
    let run = admin(&app, &keep_one, &["retention"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    gone_meanwhile(&app, &first, &uuid).await;
    let backup = assert_right(&mut app, &uuid).await;
    assert_reused(&backup, &first);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rotation_may_delete_the_archive_that_a_running_backup_reuses() {
    let (mut app, first, uuid) = with_a_newer_one_elsewhere(Some(2)).await;
    app.server.limits.backups = Some(1);
    app.save_server().await;
    let run = admin(&app, &[], &["retention"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    gone_meanwhile(&app, &first, &uuid).await;
    app.server.limits.backups = None;
    app.save_server().await;
    let backup = assert_right(&mut app, &uuid).await;
    assert_reused(&backup, &first);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_limit_of_one_each_backup_reuses_the_one_that_it_replaces() {
    let mut app = App::without_worker(&[]).await;
    make_server(&app.directory);
    app.server.limits.backups = Some(1);
    app.server.limits.rotate = true;
    app.save_server().await;
    add_worker(&mut app, &[]);
    let mut previous = back_up(&app).await;
    for seed in 1..4 {
        change(&app.directory, seed);
        let next = back_up(&app).await;
        assert_reused(&next, &previous);
        let archive = app.archive(previous["uuid"].as_str().unwrap());
        eventually("the one before is deleted", async || {
            (!archive.exists()).then_some(())
        })
        .await;
        assert_whole(&app, &next, &files::tree(&app.directory)).await;
        previous = next;
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_whose_previous_object_is_deleted_meanwhile_is_right() {
    let server = S3Server::start().await;
    let mut app = Bucket::at(server.endpoint()).service().await;
    make_server(&app.directory);
    // More than a part, so that the server copies one.
    let part = app.directory.join("world/part.mca");
    files::write(&part, &files::noise(5_600_000, 19));
    add_worker(&mut app, &[]);
    let first = back_up(&app).await;
    let first_uuid = first["uuid"].as_str().unwrap();
    let uuid = begin(&mut app, ("worker.read_limit_bytes_per_second", "1500000")).await;
    eventually("the backup is under way", async || {
        (parts(&server) > 0).then_some(())
    })
    .await;
    assert_eq!(app.as_owner().delete(first_uuid).await.status, 204);
    eventually("the earlier archive is deleted", async || {
        let left = objects(&server);
        (!left.iter().any(|name| name.contains(first_uuid))).then_some(())
    })
    .await;
    let status = app.as_owner().show(&uuid).await.attributes()["status"].clone();
    assert_eq!(status, "creating", "it was deleted too late");
    assert_right(&mut app, &uuid).await;
    eventually("nothing else is in the bucket", async || {
        (objects(&server).len() == 6 && parts(&server) == 0).then_some(())
    })
    .await;
    app.stop().await;
}
