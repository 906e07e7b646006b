//! `GET …/activity`: the audit log of a server's backups.

use reqwest::Method;
use serde_json::{Value, json};

use holdfast_domain::Permission;

use crate::support::app::App;
use crate::support::client::{Answer, Client, send};
use crate::support::{eventually, files};

async fn activity(app: &App, client: &Client, query: &str) -> Answer {
    let (base_url, server) = (&app.base_url, app.server.id);
    let url = format!("{base_url}/api/client/servers/{server}/activity{query}");
    send(client.plain(Method::GET, &url)).await
}

/// The entries that the owner sees, newest first.
async fn entries(app: &App) -> Vec<Value> {
    let listed = activity(app, &app.as_owner(), "?per_page=100").await.json();
    let data = listed["data"].as_array().unwrap();
    data.iter()
        .map(|entry| entry["attributes"].clone())
        .collect()
}

/// One line for each entry, oldest first: event, backup, user, key, address.
fn story(entries: &[Value], names: &[(&str, &str)]) -> Vec<String> {
    let line = |entry: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let event = text(&entry["event"]);
        let event = event.strip_prefix("server:backup.").unwrap().to_owned();
        let uuid = text(&entry["properties"]["uuid"]);
        let backup = names.iter().find(|(known, _)| *known == uuid).unwrap().1;
        let actor = text(&entry["actor"]["email"]);
        let actor = actor.split('@').next().unwrap().to_owned();
        format!("{event} {backup}: {actor} {}", text(&entry["ip"]))
    };
    entries.iter().rev().map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_action_on_a_backup_is_logged_with_user_and_address() {
    let app = App::start().await;
    files::make_server(&app.directory);
    let (owner, admin) = (app.as_owner(), app.as_admin());
    let uuid = app.backup().await;
    assert_eq!(owner.download(&uuid).await.status, 200);
    assert_eq!(admin.lock(&uuid, json!({})).await.status, 204);
    assert_eq!(admin.unlock(&uuid).await.status, 204);
    let rename = owner.request(Method::PUT, &format!("/{uuid}/rename"));
    assert_eq!(
        send(rename.json(&json!({ "name": "New" }))).await.status,
        200
    );
    assert_eq!(admin.restore(&uuid, json!({})).await.status, 202);
    assert_eq!(app.restored(&uuid).await["status"], "completed");
    // A changed archive fails its restore.
    fs_err::write(app.archive(&uuid), "rubbish").unwrap();
    assert_eq!(owner.restore(&uuid, json!({})).await.status, 202);
    assert_eq!(app.restored(&uuid).await["status"], "failed");
    assert_eq!(admin.delete(&uuid).await.status, 204);
    let failed = app.failed_backup().await;
    app.sql()
        .query("UPDATE servers SET node = 'elsewhere'")
        .await;
    let waiting = owner.create(json!({})).await.uuid();
    let cancel = admin.request(Method::POST, &format!("/{waiting}/cancel"));
    assert_eq!(send(cancel).await.status, 204);

    let entries = entries(&app).await;
    let names = [
        (&*uuid, "first"),
        (&*failed, "second"),
        (&*waiting, "third"),
    ];
    insta::assert_json_snapshot!("story", story(&entries, &names));
    // Newest first. Each entry names the key that was used, if any.
    let ids: Vec<u64> = entries
        .iter()
        .map(|entry| entry["id"].as_str().unwrap().parse().unwrap())
        .collect();
    assert!(ids.is_sorted_by(|one, next| one > next), "{ids:?}");
    let key_of = |email: &str| {
        let entry = entries
            .iter()
            .find(|entry| entry["actor"]["email"] == email);
        let key = entry.unwrap()["key"].as_str().unwrap().to_owned();
        assert_eq!(
            (key.len(), &key[..5]),
            (16, "ptlc_"),
            "its public part alone"
        );
        key
    };
    let (owners, admins) = (key_of("owner@example.com"), key_of("admin@example.com"));
    for entry in &entries {
        let expected = match entry["actor"]["email"].as_str() {
            Some("owner@example.com") => json!(owners),
            Some(_) => json!(admins),
            None => Value::Null,
        };
        assert_eq!(entry["key"], expected, "{entry}");
        assert_eq!(entry["is_api"], json!(!expected.is_null()), "{entry}");
    }
    let deleted = entries
        .iter()
        .find(|entry| entry["event"] == "server:backup.delete");
    assert_eq!(
        deleted.unwrap()["properties"]["name"],
        "New",
        "as it was called then"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_was_cancelled_while_it_ran_has_one_log_entry() {
    let mut app = App::without_worker(&[]).await;
    app.add_worker(&[("worker.read_limit_bytes_per_second", "40000")]);
    files::write(&app.directory.join("big.dat"), &files::noise(3_000_000, 5));
    let owner = app.as_owner();
    let uuid = owner.create(json!({})).await.uuid();
    let running = "SELECT count(*) FROM jobs WHERE state = 'running'";
    eventually("the backup is under way", async || {
        (app.sql().number(running).await == 1).then_some(())
    })
    .await;
    let cancel = owner.request(Method::POST, &format!("/{uuid}/cancel"));
    assert_eq!(send(cancel).await.status, 204);
    app.ended(&uuid).await;
    let told = story(&entries(&app).await, &[(&uuid, "it")]);
    let expected = ["start it: owner 127.0.0.1", "cancel it: owner 127.0.0.1"];
    assert_eq!(told, expected);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_callers_who_may_read_see_the_audit_log() {
    let app = App::without_worker(&[]).await;
    app.as_owner().create(json!({})).await.uuid();
    let reader = app.as_subuser(&[Permission::Read]).await;
    let creator = app.as_subuser(&[Permission::Create]).await;
    for (client, status) in [
        (app.as_owner(), 200),
        (app.as_admin(), 200),
        (reader, 200),
        (creator, 403),
        (app.as_stranger(), 404),
        (app.as_anonymous(), 401),
    ] {
        let answer = activity(&app, &client, "").await;
        assert_eq!(answer.status, status);
    }
    let refused = activity(&app, &app.as_stranger(), "").await.refusal();
    let text = "The requested resource could not be found.";
    assert_eq!(refused, (404, "NotFoundHttpException".into(), text.into()));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_has_pages_and_contains_only_its_server() {
    let app = App::without_worker(&[]).await;
    let uuid = app.as_owner().create(json!({})).await.uuid();
    let other = app.another_server("other").await.id.to_string();
    app.as_owner().about(&other).create(json!({})).await.uuid();
    for name in ["one", "two", "three"] {
        let rename = app
            .as_owner()
            .request(Method::PUT, &format!("/{uuid}/rename"));
        send(rename.json(&json!({ "name": name }))).await.uuid();
    }
    let page = activity(&app, &app.as_owner(), "?per_page=3&page=2")
        .await
        .json();
    let pagination = &page["meta"]["pagination"];
    let found = (
        &pagination["total"],
        &pagination["count"],
        &pagination["total_pages"],
    );
    assert_eq!(found, (&json!(4), &json!(1), &json!(2)));
    assert_eq!(
        page["data"][0]["attributes"]["event"],
        "server:backup.start"
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forwarded_addresses_count_only_from_trusted_proxies() {
    for (trusted, expected) in [("", "127.0.0.1"), ("127.0.0.0/8", "203.0.113.9")] {
        let app = App::without_worker(&[("http.trusted_proxies", trusted)]).await;
        let request = app.as_owner().request(Method::POST, "").json(&json!({}));
        let request = request.header("x-forwarded-for", "198.51.100.1, 203.0.113.9");
        assert_eq!(send(request).await.status, 200);
        assert_eq!(entries(&app).await[0]["ip"], expected, "{trusted}");
        app.stop().await;
    }
}
