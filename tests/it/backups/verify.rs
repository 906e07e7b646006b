//! `POST …/backups/{backup}/verify`, and the schedule of verifications.

use std::path::Path;

use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use holdfast_domain::{NodeName, Permission};

use crate::support::app::App;
use crate::support::client::{Answer, Client, redact, send};
use crate::support::process::{Process, holdfast};
use crate::support::{eventually, files};

async fn verify(client: &Client, backup: &str) -> Answer {
    send(client.request(Method::POST, &format!("/{backup}/verify"))).await
}

/// Waits until the latest verification of a backup has ended, and returns the backup.
async fn verified(app: &App, backup: &str) -> Value {
    let owner = app.as_owner();
    eventually("the verification has ended", async || {
        let backup = owner.show(backup).await.attributes();
        let status = backup["verification"]["status"].as_str().unwrap_or("none");
        matches!(status, "passed" | "failed" | "inconclusive").then_some(backup)
    })
    .await
}

async fn verified_anew(app: &App, backup: &str) -> Value {
    assert_eq!(verify(&app.as_owner(), backup).await.status, 202);
    verified(app, backup).await
}

async fn events(app: &App) -> Vec<String> {
    let rows = app
        .sql()
        .query("SELECT event FROM activity WHERE event LIKE '%verify%' ORDER BY id")
        .await;
    rows.into_iter()
        .map(|row| row[0].clone().unwrap())
        .collect()
}

async fn jobs(app: &App) -> i64 {
    app.sql()
        .number("SELECT count(*) FROM jobs WHERE kind = 'verify_backup'")
        .await
}

fn damage(archive: &Path) {
    let mut bytes = fs_err::read(archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs_err::write(archive, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_archive_is_marked_until_it_passes_again() {
    let app = App::start().await;
    files::make_server(&app.directory);
    let uuid = app.backup().await;
    let before = app.as_owner().show(&uuid).await.attributes();
    assert_eq!(before["verification"], Value::Null);
    assert_eq!(before["is_damaged"], false);

    let answer = verify(&app.as_owner(), &uuid).await;
    assert_eq!(answer.status, 202);
    let status = &answer.json()["attributes"]["verification"]["status"];
    assert!(status == "queued" || status == "running" || status == "passed");
    let backup = verified(&app, &uuid).await;
    insta::assert_json_snapshot!("passed", redact("", &backup["verification"]));
    assert_eq!(backup["is_damaged"], false);
    assert_eq!(backup["progress"], Value::Null);

    let archive = app.archive(&uuid);
    let whole = fs_err::read(&archive).unwrap();
    damage(&archive);
    let backup = verified_anew(&app, &uuid).await;
    insta::assert_json_snapshot!("failed", redact("", &backup["verification"]));
    assert_eq!(backup["is_damaged"], true);
    // The result says that the disk was away, and the previous result stays.
    assert_eq!(backup["status"], "completed");
    let listed = app.as_owner().list("").await.json();
    assert_eq!(listed["data"][0]["attributes"]["is_damaged"], true);

    fs_err::write(&archive, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(verified_anew(&app, &uuid).await["is_damaged"], true);
    fs_err::remove_file(&archive).unwrap();
    let backup = verified_anew(&app, &uuid).await;
    assert_eq!(
        backup["verification"]["error"],
        "The stored archive is missing."
    );

    fs_err::write(&archive, whole).unwrap();
    let backup = verified_anew(&app, &uuid).await;
    assert_eq!(backup["verification"]["status"], "passed");
    assert_eq!(backup["is_damaged"], false);
    let asked = "server:backup.verify";
    let (passed, failed) = (format!("{asked}-complete"), format!("{asked}-failed"));
    let expected = [
        asked, &passed, asked, &failed, asked, &failed, asked, &failed, asked, &passed,
    ];
    assert_eq!(events(&app).await, expected);
    // Webhooks and streams receive the event.
    let told = "SELECT kind, error FROM events WHERE kind LIKE 'verification.%' ORDER BY id";
    let told = app.sql().query(told).await;
    let kinds: Vec<_> = told.iter().map(|row| row[0].as_deref().unwrap()).collect();
    let [passed, failed] = ["verification.passed", "verification.failed"];
    assert_eq!(kinds, [passed, failed, failed, failed, passed]);
    assert_eq!(
        told[3][1].as_deref(),
        Some("The stored archive is missing.")
    );
    assert_eq!(told[4][1], None);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_index_or_manifest_is_noted_and_the_archive_stays_good() {
    let app = App::start().await;
    files::make_server(&app.directory);
    let (uuid, other) = (app.backup().await, app.backup().await);
    let beside = |uuid: &str, extension: &str| {
        let archive = app.archive(uuid);
        archive.with_file_name(format!("{uuid}.{extension}"))
    };
    damage(&beside(&uuid, "index"));
    fs_err::remove_file(beside(&uuid, "json")).unwrap();
    let backup = verified_anew(&app, &uuid).await;
    insta::assert_json_snapshot!("with_a_note", redact("", &backup["verification"]));
    assert_eq!(backup["is_damaged"], false);
    for extension in ["index", "json"] {
        fs_err::copy(beside(&other, extension), beside(&uuid, extension)).unwrap();
    }
    let backup = verified_anew(&app, &uuid).await;
    assert_eq!(
        backup["verification"]["note"],
        "The archive is whole, but its manifest is that of another archive."
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_away_changes_no_result() {
    let mut app = App::start().await;
    files::make_server(&app.directory);
    let uuid = app.backup().await;
    let away = app.beside("away");
    for is_damaged in [false, true] {
        if is_damaged {
            damage(&app.archive(&uuid));
            assert_eq!(verified_anew(&app, &uuid).await["is_damaged"], true);
        }
        app.stop_workers().await;
        assert_eq!(verify(&app.as_owner(), &uuid).await.status, 202);
        // The number of retries does not matter here. A worker needs its disk to start.
        let hide = "UPDATE jobs SET max_attempts = 1, node = 'later' WHERE state = 'available'";
        app.sql().query(hide).await;
        app.add_worker(&[]);
        fs_err::rename(&app.disk, &away).unwrap();
        let show = "UPDATE jobs SET node = 'local' WHERE state = 'available'";
        app.sql().query(show).await;
        let backup = verified(&app, &uuid).await;
        fs_err::rename(&away, &app.disk).unwrap();
        let verification = &backup["verification"];
        assert_eq!(verification["status"], "inconclusive", "{backup}");
        assert_eq!(
            verification["error"],
            "The storage `local` could not be reached."
        );
        assert_eq!(backup["is_damaged"], is_damaged);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_completed_backups_can_be_verified_with_the_download_permission() {
    let mut app = App::start().await;
    let failed = app.failed_backup().await;
    let completed = app.backup().await;
    app.server.node = NodeName::parse("elsewhere").unwrap();
    app.save_server().await;
    let owner = app.as_owner();
    let creating = owner.create(json!({})).await.uuid();
    let refused = verify(&owner, &creating).await.refusal();
    let text = "This backup has not completed yet and cannot be verified.";
    assert_eq!(
        refused,
        (400, "BackupNotCompletedException".into(), text.into())
    );
    let refused = verify(&owner, &failed).await.refusal();
    let text = "This backup failed and cannot be verified.";
    assert_eq!(refused, (400, "BackupFailedException".into(), text.into()));
    let reader = app
        .as_subuser(&[Permission::Read, Permission::Restore])
        .await;
    assert_eq!(verify(&reader, &completed).await.status, 403);
    let downloader = app.as_subuser(&[Permission::Download]).await;
    assert_eq!(verify(&downloader, &completed).await.status, 202);
    // The server is on another node now, but the archive is in the folder of this one.
    assert_eq!(verified(&app, &completed).await["is_damaged"], false);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_has_one_verification_at_a_time() {
    let mut app = App::start().await;
    let uuid = app.backup().await;
    app.stop_workers().await;
    let owner = app.as_owner();
    let (one, other) = tokio::join!(verify(&owner, &uuid), verify(&owner, &uuid));
    for answer in [one, other, verify(&owner, &uuid).await] {
        assert_eq!(answer.status, 202);
        let backup = &answer.json()["attributes"];
        assert_eq!(backup["verification"]["status"], "queued", "{backup}");
        // Nothing is verified yet.
        assert_eq!(backup["progress"], Value::Null);
    }
    assert_eq!(jobs(&app).await, 1);
    app.add_worker(&[]);
    verified(&app, &uuid).await;
    assert_eq!(verify(&owner, &uuid).await.status, 202);
    assert_eq!(jobs(&app).await, 2);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schedule_verifies_the_oldest_verifications_first() {
    let mut app = App::start().await;
    let (old, new) = (app.backup().await, app.backup().await);
    app.stop_workers().await;
    let backdate =
        format!("UPDATE backups SET completed_at = now() - interval '8 days' WHERE id = '{old}'");
    app.sql().query(&backdate).await;
    let rounds = "UPDATE verification_schedules SET next_at = now()";
    for (settings, expected) in [
        ([("verify.every_days", "0"), ("verify.except_disks", "")], 0),
        (
            [("verify.every_days", "7"), ("verify.except_disks", "local")],
            0,
        ),
        ([("verify.every_days", "9"), ("verify.except_disks", "")], 0),
        ([("verify.every_days", "7"), ("verify.except_disks", "")], 1),
        ([("verify.every_days", "7"), ("verify.except_disks", "")], 1),
    ] {
        app.sql().query(rounds).await;
        app.add_worker(&settings);
        // The start-up tasks of a worker come before its next check of leases.
        app.backup().await;
        if expected == 1 {
            assert_eq!(
                verified(&app, &old).await["verification"]["status"],
                "passed"
            );
        }
        app.stop_workers().await;
        assert_eq!(jobs(&app).await, expected, "{settings:?}");
    }
    let backup = app.as_owner().show(&new).await.attributes();
    assert_eq!(backup["verification"], Value::Null);
    // No caller requested it.
    assert_eq!(events(&app).await, [""; 0]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_verifies_archives_after_the_configured_days() {
    let mut app = App::without_worker(&[]).await;
    app.add_worker(&[("verify.every_days", "0")]);
    let (old, new) = (app.backup().await, app.backup().await);
    app.stop_workers().await;
    let backdate =
        format!("UPDATE backups SET completed_at = now() - interval '25 hours' WHERE id = '{old}'");
    app.sql().query(&backdate).await;
    // A separate process, which receives no notifications.
    let url = app.sql().url();
    let data = app.disk.parent().unwrap();
    let mut command = holdfast(&[("database.url", &url), ("verify.every_days", "1")]);
    let mut worker = Process::start(command.args(["worker", "--data"]).arg(data), data);
    let backup = verified(&app, &old).await;
    assert_eq!(backup["verification"]["status"], "passed");
    worker.signal(Signal::TERM);
    assert!(worker.ended().await.success(), "{}", worker.log());
    let other = app.as_owner().show(&new).await.attributes();
    assert_eq!(other["verification"], Value::Null);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_verification_blocks_neither_jobs_nor_deletions() {
    let mut app = App::without_worker(&[("worker.concurrency", "1")]).await;
    app.add_worker(&[]);
    let large = app.directory.join("large");
    files::write(&large, &files::noise(3_000_000, 1));
    let held = app.backup().await;
    fs_err::remove_file(&large).unwrap();
    files::write(&app.directory.join("small"), b"small");
    let other = app.backup().await;
    app.stop_workers().await;
    // It verifies the large archive for half a minute.
    app.add_worker(&[("worker.read_limit_bytes_per_second", "100000")]);
    let owner = app.as_owner();
    for uuid in [&held, &other] {
        assert_eq!(verify(&owner, uuid).await.status, 202);
    }
    eventually("the verification runs", async || {
        let backup = owner.show(&held).await.attributes();
        (backup["verification"]["status"] == "running").then_some(())
    })
    .await;
    app.backup().await;
    assert_eq!(owner.restore(&other, json!({})).await.status, 202);
    assert_eq!(app.restored(&other).await["status"], "completed");
    // One after the other.
    let waits = owner.show(&other).await.attributes();
    assert_eq!(waits["verification"]["status"], "queued");
    assert_eq!(owner.delete(&held).await.status, 204);
    assert_eq!(verified(&app, &other).await["is_damaged"], false);
    let failed = events(&app)
        .await
        .contains(&"server:backup.verify-failed".to_owned());
    assert!(!failed, "what was deleted is not bad");
    app.stop().await;
}
