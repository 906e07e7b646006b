//! Webhooks: receivers get signed events, and get them again if a delivery fails.

use std::collections::BTreeSet;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use uuid::Uuid;

use holdfast_db::webhooks::{self, Webhook, WebhookSecret, WebhookStatus};
use holdfast_domain::{ServerId, WebhookId};

use crate::support::app::App;
use crate::support::client::{redact, send};
use crate::support::fixtures;
use crate::support::receiver::{Answer, Received, Receiver};
use crate::support::{eventually, files};

const SECRET: &[u8] = b"a secret of thirty-two bytes.....";

async fn make(app: &App, url: &str, kinds: &[&str], server: Option<ServerId>) -> WebhookId {
    let webhook = Webhook {
        id: WebhookId(Uuid::new_v4()),
        url: url.to_owned(),
        kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
        server,
        secret: WebhookSecret(SECRET.to_vec()),
    };
    fixtures::webhook(&app.database, &webhook).await.unwrap();
    webhook.id
}

async fn standing(app: &App, id: WebhookId) -> WebhookStatus {
    let all = webhooks::list(&app.database).await.unwrap();
    let mut all = all.into_iter();
    all.find(|found| found.webhook.id == id).unwrap()
}

/// Waits until a receiver has received that many events, and returns them.
async fn told(receiver: &Receiver, count: usize) -> Vec<Received> {
    eventually("the webhook was told", async || {
        let received = receiver.received();
        (received.len() >= count).then_some(received)
    })
    .await
}

fn events(received: &[Received]) -> Vec<String> {
    let body = |one: &Received| serde_json::from_str::<Value>(&one.body).unwrap();
    let mut bodies: Vec<Value> = received.iter().map(body).collect();
    bodies.sort_by_key(|body| body["sequence"].as_i64());
    let event = |body: Value| body["event"].as_str().unwrap().to_owned();
    bodies.into_iter().map(event).collect()
}

/// Checks a signature as <https://www.standardwebhooks.com> describes.
#[track_caller]
fn check(received: &Received) {
    let header = |name: &str| received.headers[name].as_str();
    let signed = format!(
        "{}.{}.{}",
        header("webhook-id"),
        header("webhook-timestamp"),
        received.body
    );
    let signature = header("webhook-signature").strip_prefix("v1,").unwrap();
    let signature = STANDARD.decode(signature).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    hmac::verify(&key, signed.as_bytes(), &signature).unwrap();
    let age = chrono::Utc::now().timestamp() - header("webhook-timestamp").parse::<i64>().unwrap();
    assert!((0..3600).contains(&age), "{age} s old");
    let body: Value = serde_json::from_str(&received.body).unwrap();
    assert_eq!(body["id"], header("webhook-id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_events_of_a_whole_life_are_delivered_signed_once_and_in_order() {
    let receiver = Receiver::start(&[]).await;
    let app = App::start().await;
    files::make_server(&app.directory);
    let id = make(&app, &receiver.url, &[], None).await;
    let owner = app.as_owner();
    let uuid = app.backup().await;
    assert_eq!(owner.lock(&uuid, json!({})).await.status, 204);
    assert_eq!(owner.unlock(&uuid).await.status, 204);
    assert_eq!(owner.restore(&uuid, json!({})).await.status, 202);
    assert_eq!(app.restored(&uuid).await["status"], "completed");
    fs_err::write(app.archive(&uuid), "rubbish").unwrap();
    assert_eq!(owner.restore(&uuid, json!({})).await.status, 202);
    assert_eq!(app.restored(&uuid).await["status"], "failed");
    assert_eq!(owner.delete(&uuid).await.status, 204);
    app.failed_backup().await;
    let expected = [
        "backup.created",
        "backup.completed",
        "backup.changed",
        "backup.changed",
        "restore.created",
        "restore.completed",
        "restore.created",
        "restore.failed",
        "backup.deleted",
        "backup.created",
        "backup.failed",
    ];
    let received = told(&receiver, expected.len()).await;
    assert_eq!(events(&received), expected);
    for one in &received {
        check(one);
    }
    let names = received.iter().map(|one| &one.headers["webhook-id"]);
    assert_eq!(names.collect::<BTreeSet<_>>().len(), expected.len());
    let bodies: Vec<Value> = received
        .iter()
        .map(|one| {
            let mut body = redact("", &serde_json::from_str(&one.body).unwrap());
            body["server"]["identifier"] = "[identifier]".into();
            body["sequence"] = "[sequence]".into();
            body["backup"]["name"] = "[name]".into();
            body
        })
        .filter(|body| {
            let event = body["event"].as_str().unwrap();
            ["backup.completed", "backup.failed", "restore.failed"].contains(&event)
        })
        .collect();
    insta::assert_json_snapshot!("bodies", bodies);
    let after = standing(&app, id).await;
    assert_eq!((after.waiting, after.delivered, after.given_up), (0, 11, 0));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_gets_the_events_that_it_selected() {
    let (failures, other) = (Receiver::start(&[]).await, Receiver::start(&[]).await);
    let app = App::start().await;
    let elsewhere = app.another_server("elsewhere").await.id;
    make(&app, &failures.url, &["backup.failed"], None).await;
    make(&app, &other.url, &[], Some(elsewhere)).await;
    app.failed_backup().await;
    app.as_owner()
        .about(&elsewhere.to_string())
        .create(json!({}))
        .await
        .uuid();
    let received = told(&failures, 2).await;
    assert_eq!(events(&received), ["backup.failed", "backup.failed"]);
    let received = told(&other, 2).await;
    assert_eq!(events(&received), ["backup.created", "backup.failed"]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_delivery_is_retried_and_a_hanging_receiver_delays_no_other() {
    use Answer::{Hang, HangUp, Redirect, Status};
    let flaky = Receiver::start(&[Status(500), Redirect, HangUp, Status(503), Status(200)]).await;
    let dead = Receiver::start(&[Hang]).await;
    let well = Receiver::start(&[]).await;
    let app = App::start().await;
    let hangs = make(&app, &dead.url, &["backup.created"], None).await;
    let fails = make(&app, &flaky.url, &["backup.completed"], None).await;
    make(&app, &well.url, &[], None).await;
    files::make_server(&app.directory);
    app.backup().await;
    assert_eq!(told(&well, 2).await.len(), 2);
    let received = told(&flaky, 5).await;
    let names: BTreeSet<&str> = received
        .iter()
        .map(|one| one.headers["webhook-id"].as_str())
        .collect();
    assert_eq!(names.len(), 1, "one event, told five times");
    assert!(received.iter().all(|one| one.path == "/hook"));
    eventually("the delivery is done", async || {
        (standing(&app, fails).await.waiting == 0).then_some(())
    })
    .await;
    let after = standing(&app, fails).await;
    assert_eq!((after.delivered, after.given_up), (1, 0));
    assert_eq!(after.last_error.as_deref(), Some("it answered 503"));
    assert_eq!(
        standing(&app, hangs).await.waiting,
        1,
        "it was not forgotten"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_that_are_never_accepted_are_abandoned() {
    let receiver = Receiver::start(&[Answer::Status(400)]).await;
    let mut app = App::start().await;
    let id = make(&app, &receiver.url, &["backup.failed"], None).await;
    app.failed_backup().await;
    told(&receiver, 1).await;
    let last_try = "UPDATE deliveries SET attempt = 19, next_at = now()";
    eventually("it is given up", async || {
        app.sql().query(last_try).await;
        (standing(&app, id).await.given_up == 1).then_some(())
    })
    .await;
    assert_eq!(standing(&app, id).await.waiting, 0);
    // Deliveries that are a day old are dropped, even if none could be attempted.
    app.stop_workers().await;
    app.as_owner().create(json!({})).await.uuid();
    app.sql()
        .query(
            "INSERT INTO deliveries (webhook_id, event_id, created_at)
             SELECT w.id, n.id, now() - interval '25 hours' FROM webhooks w, events n",
        )
        .await;
    let day = std::time::Duration::from_secs(24 * 3600);
    let given_up = webhooks::expire(&app.database, day).await.unwrap();
    assert!(given_up > 0);
    let after = standing(&app, id).await;
    assert_eq!((after.waiting, after.given_up), (0, 1 + given_up));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_job_whose_worker_died_is_an_event_like_any_other() {
    let receiver = Receiver::start(&[]).await;
    let mut app = App::without_worker(&[]).await;
    make(
        &app,
        &receiver.url,
        &["backup.failed", "restore.failed"],
        None,
    )
    .await;
    app.as_owner().create(json!({})).await.uuid();
    app.sql()
        .query(
            "UPDATE jobs SET state = 'running', attempt = 3, claimed_by = 'gone',
                    lease_expires_at = now() - interval '1 minute'",
        )
        .await;
    app.add_worker(&[]);
    let received = told(&receiver, 1).await;
    let body: Value = serde_json::from_str(&received[0].body).unwrap();
    let error = body["error"].as_str().unwrap();
    assert!(error.contains("stopped responding"), "{error}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rolled_back_changes_are_no_events_and_deleted_servers_lose_their_webhooks() {
    let app = App::without_worker(&[]).await;
    let id = make(&app, "http://127.0.0.1:1/", &[], Some(app.server.id)).await;
    let uuid = app.as_owner().create(json!({})).await.uuid();
    assert_eq!(standing(&app, id).await.waiting, 1);
    let undone = format!("BEGIN; DELETE FROM backups WHERE id = '{uuid}'; ROLLBACK");
    app.sql().query(&undone).await;
    assert_eq!(standing(&app, id).await.waiting, 1);
    app.sql()
        .query("BEGIN; DELETE FROM jobs; DELETE FROM backups; DELETE FROM servers; COMMIT")
        .await;
    let told = app.sql().number("SELECT count(*) FROM events").await;
    assert_eq!(told, 1, "no webhook is left");
    assert_eq!(webhooks::list(&app.database).await.unwrap().len(), 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_numbered_in_the_order_in_which_they_become_visible() {
    let app = App::without_worker(&[]).await;
    // Many writers at once: no reader sees a number before a lower one appears.
    let names: Vec<String> = (0..8).map(|number| format!("at-{number}")).collect();
    let mut servers = Vec::new();
    for name in &names {
        servers.push(app.another_server(name).await.id.to_string());
    }
    let writers = servers.iter().map(|server| {
        let client = app.as_owner().about(server);
        async move {
            for round in 0..6 {
                let request = client.request(reqwest::Method::POST, "");
                let uuid = send(request.json(&json!({ "name": round.to_string() })))
                    .await
                    .uuid();
                let cancel = client.request(reqwest::Method::POST, &format!("/{uuid}/cancel"));
                assert_eq!(send(cancel).await.status, 204);
            }
        }
    });
    let total = 8 * 6 * 2;
    let reader = async {
        let mut seen: Vec<i64> = Vec::new();
        eventually("all is told", async || {
            let rows = app.sql().query("SELECT id FROM events ORDER BY id").await;
            let now: Vec<i64> = rows
                .iter()
                .map(|row| row[0].as_deref().unwrap().parse().unwrap())
                .collect();
            assert!(now.starts_with(&seen), "{seen:?} became {now:?}");
            seen = now;
            (seen.len() == total).then_some(())
        })
        .await;
    };
    tokio::join!(futures_util::future::join_all(writers), reader);
    app.stop().await;
}
