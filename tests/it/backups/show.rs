//! `GET …/backups/{backup}`, and the forms of server and backup IDs in paths.

use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use holdfast_domain::key::KeyKind;
use holdfast_domain::{Permission, Profile};

use crate::free_space::insert_last_backup;
use crate::support::app::App;
use crate::support::client::send;

fn not_found() -> (u16, String, String) {
    let text = "The requested resource could not be found.";
    (404, "NotFoundHttpException".into(), text.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_identified_by_its_uuid_or_its_first_eight_digits() {
    let app = App::without_worker(&[]).await;
    let backup = app.as_owner().create(json!({})).await.uuid();
    let full = app.server.id.to_string();
    let short = app.server.id.short();
    for server in [&full, &short, &full.to_uppercase(), &short.to_uppercase()] {
        let shown = app.as_owner().about(server).show(&backup).await;
        assert_eq!(shown.uuid(), backup, "{server}");
    }
    for server in [
        "",
        "x",
        &full[..7],
        &full[..9],
        &full.replace('-', ""),
        &Uuid::new_v4().to_string(),
        "00000000",
        "%2e%2e",
        &format!("%7B{full}%7D"),
    ] {
        let refused = app.as_owner().about(server).show(&backup).await.refusal();
        assert_eq!(refused, not_found(), "{server}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_another_server_is_not_found() {
    let app = App::without_worker(&[]).await;
    let backup = app.as_owner().create(json!({})).await.uuid();
    let other = app.another_server("other").await.id.to_string();
    for (server, id) in [
        (&other, backup.clone()),
        (&app.server.id.to_string(), Uuid::new_v4().to_string()),
        (&app.server.id.to_string(), backup.replace('-', "")),
        (&app.server.id.to_string(), backup[..8].to_owned()),
        (&app.server.id.to_string(), "not-an-id".to_owned()),
        (&app.server.id.to_string(), "%00".to_owned()),
    ] {
        let owner = app.as_owner().about(server);
        for answer in [
            owner.show(&id).await,
            owner.download(&id).await,
            owner.delete(&id).await,
            owner.restore(&id, json!({})).await,
            owner.lock(&id, json!({})).await,
            owner.unlock(&id).await,
        ] {
            assert_eq!(answer.refusal(), not_found(), "{server} {id}");
        }
    }
    let jobs = app.sql().number("SELECT count(*) FROM jobs").await;
    assert_eq!(jobs, 1, "only the creation");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn not_found_comes_before_a_missing_permission_and_that_before_the_body() {
    let app = App::without_worker(&[]).await;
    let backup = app.as_owner().create(json!({})).await.uuid();
    let reader = app.as_subuser(&[Permission::Read]).await;
    let gone = Uuid::new_v4().to_string();
    assert_eq!(
        reader.restore(&gone, json!({})).await.refusal(),
        not_found()
    );
    let forbidden = "This action requires additional permissions.";
    let refused = reader.create_raw(None, "{").await.refusal();
    let expected = (
        403,
        "InsufficientPermissionsException".into(),
        forbidden.into(),
    );
    assert_eq!(refused, expected);
    // The body is checked before the state of the backup.
    let owner = app.as_owner();
    let bad = json!({ "truncate": "maybe" });
    assert_eq!(owner.restore(&backup, bad).await.status, 422);
    assert_eq!(owner.restore(&backup, json!({})).await.status, 400);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_credentials_are_all_refused_alike() {
    let app = App::without_worker(&[]).await;
    let owner = app.owner_id();
    let key = app.key(owner, KeyKind::Client, Profile::Documented).await;
    let mut wrong = key.clone();
    wrong.pop();
    wrong.push(if key.ends_with('a') { 'b' } else { 'a' });
    let invalid = "The credentials provided were invalid.";
    let expected = (401, "InvalidCredentialsException".into(), invalid.into());
    let anonymous = app.as_anonymous();
    for authorization in [
        None,
        Some(String::new()),
        Some("Bearer".to_owned()),
        Some("Bearer x".to_owned()),
        Some(format!("Bearer {wrong}")),
        Some(format!("Basic {key}")),
        Some(format!("Bearer {}", &key[..16])),
        Some(format!("Bearer ptlc_{}", "a".repeat(43))),
    ] {
        let mut request = anonymous.request(Method::GET, "");
        if let Some(value) = &authorization {
            request = request.header("authorization", value);
        }
        assert_eq!(send(request).await.refusal(), expected, "{authorization:?}");
    }
    for good in [format!("bearer {key}"), format!("BEARER  {key} ")] {
        let request = anonymous
            .request(Method::GET, "")
            .header("authorization", &good);
        assert_eq!(send(request).await.status, 200, "{good}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_works_until_it_expires_and_only_from_allowed_addresses() {
    let app = App::without_worker(&[]).await;
    let owner = app.owner_id();
    let key = app.key(owner, KeyKind::Client, Profile::Documented).await;
    let client = app.as_owner().with_token(&key);
    let set = async |what: &str| {
        let sql = format!(
            "UPDATE api_keys SET {what} WHERE identifier = '{}'",
            &key[..16]
        );
        app.sql().query(&sql).await;
        client.list("").await
    };
    assert_eq!(set("allowed_ips = '{127.0.0.0/8}'").await.status, 200);
    let text = "This IP address (127.0.0.1) does not have permission to access the API using these \
        credentials.";
    let expected = (403, "AccessDeniedHttpException".into(), text.into());
    assert_eq!(
        set("allowed_ips = '{10.0.0.0/8}'").await.refusal(),
        expected
    );
    let later = "allowed_ips = '{}', expires_at = now() + interval '1 hour'";
    assert_eq!(set(later).await.status, 200);
    assert_eq!(
        set("expires_at = now() - interval '1 second'").await.status,
        401
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_key_does_not_open_the_client_api() {
    let app = App::without_worker(&[]).await;
    let owner = app.owner_id();
    let key = app
        .key(owner, KeyKind::Application, Profile::Documented)
        .await;
    let refused = app.as_owner().with_token(&key).list("").await.refusal();
    let text = "You are attempting to use an application API key on an endpoint that requires a \
        client API key.";
    assert_eq!(
        refused,
        (403, "AccessDeniedHttpException".into(), text.into())
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_and_method_is_answered_in_the_one_error_format() {
    let app = App::without_worker(&[]).await;
    let anonymous = app.as_anonymous();
    let base = format!(
        "{}/api/client/servers/{}/backups",
        app.base_url, app.server.id
    );
    let id = Uuid::new_v4();
    for (method, url, status) in [
        (Method::PUT, base.clone(), 405),
        (Method::PATCH, format!("{base}/{id}"), 405),
        (Method::POST, format!("{base}/{id}"), 405),
        (Method::GET, format!("{base}/{id}/restore"), 405),
        (Method::DELETE, format!("{base}/{id}/lock"), 405),
        (Method::GET, format!("{base}/{id}/nonsense"), 404),
        (
            Method::GET,
            format!("{}/api/client/nonsense", app.base_url),
            404,
        ),
        (Method::GET, format!("{}/", app.base_url), 404),
        (
            Method::POST,
            format!("{}/download/backup", app.base_url),
            405,
        ),
        (
            Method::GET,
            format!("{}/download/backup", app.base_url),
            403,
        ),
    ] {
        let request = anonymous
            .plain(method.clone(), &url)
            .header("accept", "text/html");
        let answer = send(request).await;
        let (found, code, text) = answer.refusal();
        assert_eq!(found, status, "{method} {url}");
        if status == 405 {
            assert_eq!(code, "MethodNotAllowedHttpException");
            assert_eq!(
                text,
                format!("The {method} method is not supported for this route.")
            );
        }
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_readiness_need_no_key() {
    let app = App::without_worker(&[]).await;
    let anonymous = app.as_anonymous();
    let get = async |path: &str| {
        let request = anonymous.plain(Method::GET, &format!("{}{path}", app.base_url));
        let answer = send(request).await;
        (answer.status, answer.json())
    };
    assert_eq!(get("/healthz").await, (200, json!({ "status": "ok" })));
    let all = json!({ "status": "ok", "checks": { "database": "ok", "disk:local": "ok" } });
    assert_eq!(get("/readyz").await, (200, all));
    fs_err::rename(&app.disk, app.beside("away")).unwrap();
    let without = json!({
        "status": "unavailable",
        "checks": { "database": "ok", "disk:local": "unreachable" },
    });
    assert_eq!(get("/readyz").await, (503, without));
    assert_eq!(get("/healthz").await.0, 200);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pterodactyl_profile_differs_where_the_contract_says_so() {
    let app = App::start().await;
    let client = app.as_pterodactyl().await;
    let creating = client.create(json!({ "name": "a" })).await;
    assert_eq!(creating.attributes()["is_successful"], false);
    let uuid = creating.uuid();
    app.ended(&uuid).await;

    insta::assert_json_snapshot!(
        "pterodactyl_lock",
        client.lock(&uuid, json!({})).await.redacted()
    );
    let locked = client.delete(&uuid).await.refusal();
    assert_eq!(locked.1, "BackupLockedException");
    insta::assert_json_snapshot!("pterodactyl_unlock", client.unlock(&uuid).await.redacted());

    insta::assert_json_snapshot!(
        "pterodactyl_truncate_is_required",
        client.restore(&uuid, json!({})).await.redacted()
    );
    let restore = client.restore(&uuid, json!({ "truncate": false })).await;
    assert_eq!((restore.status, restore.bytes.len()), (204, 0));
    app.restored(&uuid).await;

    let failed = app.failed_backup().await;
    let shown = client.show(&failed).await.attributes();
    assert_eq!(shown["completed_at"], shown["failed_at"]);
    assert!(shown["completed_at"].is_string(), "{shown}");
    let listed = client.list("").await.json()["data"][0]["attributes"].clone();
    assert_eq!(listed, shown);

    app.sql()
        .query("UPDATE servers SET state = 'suspended'")
        .await;
    let refused = client.create(json!({})).await.refusal();
    assert_eq!(
        (refused.0, refused.1.as_str()),
        (409, "ServerStateConflictException")
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_permission_has_pterodactyls_code_in_its_profile() {
    let app = App::without_worker(&[]).await;
    let reader = app.as_subuser(&[Permission::Read]).await;
    app.sql()
        .query("UPDATE api_keys SET profile = 'pterodactyl'")
        .await;
    let refused = reader.create(json!({})).await.refusal();
    let text = "This action requires additional permissions.";
    assert_eq!(
        refused,
        (403, "AccessDeniedHttpException".into(), text.into())
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_is_reported_without_internals() {
    let mut app = App::without_worker(&[]).await;
    app.raw.take().unwrap().drop().await;
    let answer = app.as_owner().list("").await;
    insta::assert_json_snapshot!("database_away", answer.redacted());
    assert_eq!(answer.header("retry-after"), "5");
    let url = format!("{}/readyz", app.base_url);
    let ready = send(app.as_anonymous().plain(Method::GET, &url)).await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["checks"]["database"], "unreachable");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completed_backup_shows_its_work_in_every_list() {
    let app = App::without_worker(&[]).await;
    insert_last_backup(&app).await;
    let from = Uuid::new_v4();
    app.sql()
        .query(&format!("UPDATE backups SET reused_from = '{from}'"))
        .await;
    let known = json!({
        "reused_from": from, "reused_bytes": 999_000, "read_bytes": 1000, "stored_bytes": 1000,
    });
    let unknown = json!({
        "reused_from": null, "reused_bytes": null, "read_bytes": null, "stored_bytes": null,
    });
    let pterodactyl = app.as_pterodactyl().await;
    for (change, expected) in [
        ("stored_bytes = 1000", &known),
        // A backup of an earlier version.
        (
            "reused_from = NULL, reused_bytes = NULL, read_bytes = NULL, stored_bytes = NULL,
             unread_backups = NULL",
            &unknown,
        ),
    ] {
        app.sql()
            .query(&format!("UPDATE backups SET {change}"))
            .await;
        let uuid = &app.sql().query("SELECT id FROM backups").await[0][0];
        let uuid = uuid.as_deref().unwrap();
        let owner = app.as_owner();
        for shown in [
            owner.show(uuid).await.attributes(),
            owner.list("").await.json()["data"][0]["attributes"].clone(),
            pterodactyl.show(uuid).await.attributes(),
        ] {
            for (field, value) in expected.as_object().unwrap() {
                assert_eq!(shown[field], *value, "{field} after {change}");
            }
        }
    }
    app.stop().await;
}
