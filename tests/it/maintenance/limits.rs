//! Limits: at their value, one below and one above it, and with many requests at once.

use futures_util::future::join_all;
use serde_json::json;

use crate::support::app::App;
use crate::support::{eventually, files};

#[tokio::test(flavor = "multi_thread")]
async fn the_size_limit_of_an_archive_is_exact_to_the_byte() {
    let mut app = App::start().await;
    files::make_server(&app.directory);
    let uuid = app.backup().await;
    let shown = app.as_owner().show(&uuid).await.attributes();
    // Same files, same bytes.
    let bytes = shown["bytes"].as_u64().unwrap();
    for (limit, status) in [
        (bytes + 1, "completed"),
        (bytes, "completed"),
        (bytes - 1, "failed"),
    ] {
        app.server.limits.max_backup_bytes = Some(limit);
        app.save_server().await;
        let uuid = app.as_owner().create(json!({})).await.uuid();
        let backup = app.ended(&uuid).await;
        assert_eq!(backup["status"], status, "{limit} for {bytes}: {backup}");
        assert_eq!(app.archive(&uuid).exists(), status == "completed");
        if status == "failed" {
            let sentence =
                format!("The backup grew larger than the {limit} bytes that are allowed.");
            assert_eq!(backup["error"], sentence);
        }
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn simultaneous_requests_never_exceed_the_throttle() {
    let app = App::start_with(&[
        ("limits.create_throttle_count", "3"),
        ("limits.backups_per_server", "100"),
    ])
    .await;
    files::make_server(&app.directory);
    let owner = app.as_owner();
    let mut accepted = Vec::new();
    loop {
        let answers = join_all((0..10).map(|_| owner.create(json!({})))).await;
        let created = answers.iter().filter(|answer| answer.status == 200);
        accepted.extend(created.map(|answer| answer.uuid()));
        assert!(accepted.len() <= 3, "{accepted:?}");
        for uuid in &accepted {
            app.ended(uuid).await;
        }
        if answers.iter().any(|answer| answer.status == 429) {
            break;
        }
    }
    assert_eq!(accepted.len(), 3);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_simultaneous_requests_gets_the_rest_of_a_quota() {
    let mut app = App::start().await;
    files::make_server(&app.directory);
    let first = app.backup().await;
    let bytes = app.as_owner().show(&first).await.attributes()["bytes"].as_u64();
    app.server.limits.quota_bytes = Some(2 * bytes.unwrap());
    app.save_server().await;
    let owner = app.as_owner();
    let mut created = 0;
    // A server has one job at a time, so the next is requested when the previous one has completed.
    eventually("the quota is used up", async || {
        let answers = join_all((0..10).map(|_| owner.create(json!({})))).await;
        created += answers.iter().filter(|answer| answer.status == 200).count();
        answers
            .iter()
            .any(|answer| answer.status == 507)
            .then_some(())
    })
    .await;
    assert_eq!(created, 1);
    app.stop().await;
}

/// Has several workers make backups of several servers, one each, and returns how many ran at once
/// at most.
async fn at_once(per_node: &str, per_disk: &str, servers: u32) -> i64 {
    let settings = [
        ("limits.jobs_per_node", per_node),
        ("limits.jobs_per_disk", per_disk),
        ("worker.concurrency", "4"),
        ("maintenance.interval_seconds", "604800"),
    ];
    let mut app = App::without_worker(&settings).await;
    // The database itself records what ran at once: an outside observer would miss moments.
    app.sql()
        .query(
            "CREATE TABLE at_once (running bigint);
             CREATE FUNCTION at_once() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 INSERT INTO at_once SELECT count(*) FROM jobs WHERE state = 'running' \
                 AND kind = 'create_backup';
                 RETURN NULL;
             END $$;
             CREATE TRIGGER at_once AFTER UPDATE ON jobs FOR EACH STATEMENT \
             EXECUTE FUNCTION at_once()",
        )
        .await;
    let mut backups = Vec::new();
    for n in 0..servers {
        let server = app.another_server(&format!("server-{n}")).await;
        files::make_server(&server.directory);
        let owner = app.as_owner().about(&server.id.to_string());
        let uuid = owner.create(json!({})).await.uuid();
        backups.push((owner, uuid));
    }
    for _ in 0..3 {
        app.add_worker(&[]);
    }
    for (owner, uuid) in &backups {
        eventually("the backup has completed", async || {
            let backup = owner.show(uuid).await.attributes();
            (backup["status"] == "completed").then_some(())
        })
        .await;
    }
    let most = app.sql().number("SELECT max(running) FROM at_once").await;
    app.stop().await;
    most
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_together_keep_the_limit_of_a_node() {
    // Fewer servers than the limit, as many, and more.
    for (servers, expected) in [(2, 2), (3, 3), (8, 3)] {
        assert_eq!(at_once("3", "0", servers).await, expected, "of {servers}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_together_keep_the_limit_of_a_disk() {
    for (servers, expected) in [(1, 1), (2, 2), (8, 2)] {
        assert_eq!(at_once("4", "2", servers).await, expected, "of {servers}");
    }
}
