//! A bucket whose server dies, refuses, is full or is slow. Each case ends in a retry that
//! succeeds, or in a failed backup with a helpful message.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Bucket, make_server, objects, open_proxy, parts};
use crate::support::app::App;
use crate::support::client::send;
use crate::support::proxy::Fault;
use crate::support::s3::S3Server;
use crate::support::{eventually, files};

/// Requests a backup, and returns its final state.
async fn backup(app: &App) -> Value {
    let uuid = app.as_owner().create(json!({})).await.uuid();
    app.ended(&uuid).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_completes_although_the_server_dies_during_its_upload() {
    let mut server = S3Server::start().await;
    let mut app = Bucket::at(server.endpoint()).service().await;
    make_server(&app);
    app.add_worker(&[("worker.read_limit_bytes_per_second", "8000000")]);
    let uuid = app.as_owner().create(json!({})).await.uuid();
    eventually("a part has arrived", async || {
        (parts(&server) > 0).then_some(())
    })
    .await;
    server.kill().await;
    // Nothing answers until an attempt has failed.
    eventually("the backup was tried", async || {
        let tried = "SELECT count(*) FROM jobs WHERE jsonb_array_length(errors) > 0";
        (app.sql().number(tried).await > 0).then_some(())
    })
    .await;
    server.come_back().await;
    let backup = app.ended(&uuid).await;
    assert_eq!(backup["status"], "completed", "{backup}");
    assert_eq!(objects(&server).len(), 3);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stays_away_fails_only_the_backup() {
    let mut server = S3Server::start().await;
    let mut app = Bucket::at(server.endpoint()).service().await;
    make_server(&app);
    server.kill().await;
    app.add_worker(&[]);
    let ready = send(
        app.as_anonymous()
            .plain(Method::GET, &app.base_url_of("/readyz")),
    )
    .await;
    assert_eq!(ready.status, 503);
    let checks = &ready.json()["checks"];
    assert_eq!(checks["disk:offsite"], "unreachable", "{checks}");
    assert_eq!(
        (&checks["disk:local"], &checks["database"]),
        (&json!("ok"), &json!("ok"))
    );

    let backup = backup(&app).await;
    assert_eq!(backup["status"], "failed");
    assert_eq!(
        backup["error"],
        "The storage `offsite` could not be reached."
    );
    // Another disk is not affected.
    app.server.disk = Some(holdfast_domain::DiskName::parse("local").unwrap());
    app.save_server().await;
    app.backup().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_refusals_are_retried_until_they_end() {
    let server = S3Server::start().await;
    let proxy = open_proxy(&server).await;
    let mut app = Bucket::at(proxy.endpoint()).service().await;
    make_server(&app);
    proxy.plan(|number, _| match number % 2 {
        0 => Fault::None,
        _ => Fault::Busy,
    });
    app.add_worker(&[]);
    let backup = backup(&app).await;
    assert_eq!(backup["status"], "completed", "{backup}");
    assert_eq!((objects(&server).len(), parts(&server)), (3, 0));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permanent_failure_fails_the_backup_with_a_helpful_message() {
    let table = [
        (
            507,
            "InsufficientStorage",
            "The storage `offsite` has no space left for this backup.",
        ),
        (
            403,
            "QuotaExceeded",
            "The storage `offsite` has no space left for this backup.",
        ),
        (
            400,
            "ExpiredToken",
            "The storage `offsite` refused access. The operator of the service has to check \
             its credentials and permissions.",
        ),
        (
            403,
            "InvalidAccessKeyId",
            "The storage `offsite` refused access. The operator of the service has to check \
             its credentials and permissions.",
        ),
        (
            404,
            "NoSuchBucket",
            "The storage `offsite` is misconfigured. The operator of the service has to check \
             its settings; the log has the details.",
        ),
    ];
    let server = S3Server::start().await;
    let proxy = open_proxy(&server).await;
    let mut app = Bucket::at(proxy.endpoint()).service().await;
    make_server(&app);
    app.add_worker(&[]);
    for (status, code, expected) in table {
        // The second part is refused, when the upload has already started.
        proxy.plan(move |_, first| match first.contains("partNumber=2") {
            true => Fault::Answer(status, code),
            false => Fault::None,
        });
        let backup = backup(&app).await;
        assert_eq!(
            (&backup["status"], &backup["error"]),
            (&json!("failed"), &json!(expected))
        );
        assert_eq!(
            (objects(&server), parts(&server)),
            (Vec::new(), 0),
            "{code}"
        );
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_or_missing_object_leaves_the_servers_files_alone() {
    let server = S3Server::start().await;
    let proxy = open_proxy(&server).await;
    let mut app = Bucket::at(proxy.endpoint()).service().await;
    make_server(&app);
    app.add_worker(&[]);
    let uuid = app.backup().await;
    let before = files::tree(&app.directory);
    // A download that is cut continues at the same position.
    proxy.plan(
        |_, first| match first.starts_with("GET") && first.contains(".tar.gz") {
            true => Fault::CutAnswer(5_000_000),
            false => Fault::None,
        },
    );
    assert_eq!(app.as_owner().restore(&uuid, json!({})).await.status, 202);
    assert_eq!(app.restored(&uuid).await["status"], "completed");
    proxy.plan(|_, _| Fault::None);

    let archive = objects(&server)
        .into_iter()
        .find(|name| name.ends_with(".tar.gz"));
    let path = server
        .folder()
        .join(crate::support::s3::BUCKET)
        .join(archive.unwrap());
    let mut bytes = fs_err::read(&path).unwrap();
    bytes[9_000_000] ^= 1;
    fs_err::write(&path, bytes).unwrap();
    assert_eq!(app.as_owner().restore(&uuid, json!({})).await.status, 202);
    let restore = eventually("the second restore has ended", async || {
        let restore = app.restored(&uuid).await;
        (restore["status"] == "failed").then_some(restore)
    })
    .await;
    let expected =
        "The stored archive is damaged: it is not what was backed up. Nothing was changed.";
    assert_eq!(restore["error"], expected);
    fs_err::remove_file(&path).unwrap();
    assert_eq!(app.as_owner().restore(&uuid, json!({})).await.status, 202);
    let restore = eventually("the third restore has ended", async || {
        let restore = app.restored(&uuid).await;
        (restore["error"] != expected).then_some(restore)
    })
    .await;
    assert_eq!(restore["error"], "The stored archive is missing.");
    assert_eq!(files::tree(&app.directory), before);
    app.stop().await;
}
