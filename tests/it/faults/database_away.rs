//! The database is away for longer than leases last, its connections are cut, or it accepts no
//! writes.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use super::{SLOWLY, assert_kept, finished, make_server, under_way};
use crate::support::app::App;
use crate::support::client::send;
use crate::support::{eventually, files};

const LEASE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_archive_is_kept_although_its_lease_expired_during_a_database_outage() {
    let mut app = App::without_worker(&[("worker.lease_seconds", "5")]).await;
    make_server(&app);
    // Three workers that look for expired leases. One of them has the job.
    for _ in 0..3 {
        app.add_worker(&[SLOWLY]);
    }
    let uuid = app.as_owner().create(json!({})).await.uuid();
    under_way(&app).await;
    let begun = Instant::now();
    app.sql().take_away().await;
    finished(&app).await;
    eventually("the lease has run out", async || {
        (begun.elapsed() > LEASE + Duration::from_secs(2)).then_some(())
    })
    .await;
    app.sql().bring_back().await;
    let backup = app.ended(&uuid).await;
    assert_kept(&app, &backup);
    let tries = "SELECT attempt + jsonb_array_length(errors) FROM jobs";
    assert_eq!(app.sql().number(tries).await, 1, "no other worker took it");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_archive_is_removed_if_its_backup_was_deleted_during_a_database_outage() {
    let mut app = App::without_worker(&[]).await;
    make_server(&app);
    app.add_worker(&[SLOWLY]);
    app.as_owner().create(json!({})).await.uuid();
    under_way(&app).await;
    app.sql().take_away().await;
    finished(&app).await;
    // As if, while this worker was cut off, another had finished the backup and a user had deleted
    // it.
    let deleted = "DELETE FROM jobs; DELETE FROM backups";
    app.sql().query_away(deleted).await;
    app.sql().bring_back().await;
    eventually("nothing is left", async || {
        (files::files_below(&app.disk) == [".holdfast-disk"]).then_some(())
    })
    .await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeatedly_cut_connections_cost_no_attempt() {
    let mut app = App::without_worker(&[]).await;
    make_server(&app);
    app.add_worker(&[SLOWLY]);
    let uuid = app.as_owner().create(json!({})).await.uuid();
    under_way(&app).await;
    eventually("the archive is finished in spite of it", async || {
        app.sql().cut().await;
        let archive = app.archive(&uuid);
        archive.exists().then_some(())
    })
    .await;
    app.sql().cut().await;
    let backup = eventually("the backup has ended", async || {
        let shown = app.as_owner().show(&uuid).await;
        let backup = &shown.json()["attributes"];
        (shown.status == 200 && backup["status"] != "creating").then(|| backup.clone())
    })
    .await;
    assert_kept(&app, &backup);
    let tries = "SELECT attempt + jsonb_array_length(errors) FROM jobs";
    assert_eq!(app.sql().number(tries).await, 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_database_is_reported_with_503_and_waited_for() {
    let mut app = App::without_worker(&[]).await;
    make_server(&app);
    app.add_worker(&[SLOWLY]);
    let done = app.backup().await;
    let owner = app.as_owner();
    let before = owner.show(&done).await.attributes();
    let uuid = owner.create(json!({})).await.uuid();
    under_way(&app).await;
    app.sql().forbid_writes(true).await;

    for (method, path) in [
        (Method::POST, String::new()),
        (Method::DELETE, format!("/{done}")),
        (Method::POST, format!("/{done}/lock")),
        (Method::POST, format!("/{done}/unlock")),
        (Method::POST, format!("/{done}/restore")),
        (Method::POST, format!("/{uuid}/cancel")),
        (Method::PUT, format!("/{done}/rename")),
        // Downloads write to the audit log.
        (Method::GET, format!("/{done}/download")),
    ] {
        let request = owner.request(method.clone(), &path);
        let answer = send(request.json(&json!({"name": "Another"}))).await;
        let (status, code, _) = answer.refusal();
        let expected = (503, "ServiceUnavailableHttpException");
        assert_eq!((status, code.as_str()), expected, "{method} {path}");
        assert_eq!(answer.header("retry-after"), "5", "{method} {path}");
    }
    // Requests that only read still work.
    assert_eq!(owner.show(&done).await.attributes(), before);
    assert_eq!(owner.list("").await.status, 200);
    let archive = app.archive(&uuid);
    eventually("the archive is finished", async || {
        archive.exists().then_some(())
    })
    .await;
    let shown = owner.show(&uuid).await.attributes();
    assert_eq!(shown["status"], "creating", "it could not be recorded");

    app.sql().forbid_writes(false).await;
    assert_eq!(app.ended(&uuid).await["status"], "completed");
    assert_eq!(owner.show(&done).await.attributes(), before);
    let jobs = "SELECT count(*) FROM jobs WHERE attempt = 1 AND state = 'completed'";
    assert_eq!(app.sql().number(jobs).await, 2);
    assert_eq!(app.sql().number("SELECT count(*) FROM jobs").await, 2);
    assert_eq!(owner.delete(&done).await.status, 204);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_do_not_notice_idle_connections_that_were_cut() {
    let app = App::start().await;
    files::make_server(&app.directory);
    let uuid = app.backup().await;
    let owner = app.as_owner();
    for _ in 0..20 {
        // Some connections of the pool were used a moment ago.
        let asked = (0..8).map(|_| owner.show(&uuid));
        futures_util::future::join_all(asked).await;
        app.sql().cut().await;
        assert_eq!(owner.show(&uuid).await.status, 200);
        assert_eq!(owner.list("").await.status, 200);
    }
    app.stop().await;
}
