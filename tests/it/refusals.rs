//! The refusals that the reference document gives for each endpoint, to the letter, as one table.

use std::fmt::Write as _;

use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use holdfast_domain::{NodeName, Permission, ServerState};

use crate::support::app::App;
use crate::support::client::{Answer, Client, send};
use crate::support::{eventually, files, fixtures};

/// The endpoints of the reference document, with the permission that each needs.
const ENDPOINTS: [(&str, &str, &str, Permission); 8] = [
    ("list", "GET", "", Permission::Read),
    ("details", "GET", "/{backup}", Permission::Read),
    ("create", "POST", "", Permission::Create),
    (
        "download",
        "GET",
        "/{backup}/download",
        Permission::Download,
    ),
    ("delete", "DELETE", "/{backup}", Permission::Delete),
    ("restore", "POST", "/{backup}/restore", Permission::Restore),
    ("lock", "POST", "/{backup}/lock", Permission::Delete),
    ("unlock", "POST", "/{backup}/unlock", Permission::Delete),
];

async fn ask(client: &Client, method: &str, path: &str, backup: &str) -> Answer {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    send(client.request(method, &path.replace("{backup}", backup))).await
}

/// Formats a refusal as a line of the table.
fn tell(table: &mut String, endpoint: &str, when: &str, answer: &Answer) {
    let (status, code, text) = answer.refusal();
    writeln!(table, "{endpoint:9} {when:34} {status} {code}: {text}").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_of_the_reference_has_its_status_code_and_text() {
    let mut app = App::start_with(&[("limits.backups_per_server", "2")]).await;
    let owner = app.as_owner();
    let failed = app.failed_backup().await;
    let completed = app.backup().await;
    let locked = app.backup().await;
    owner.lock(&locked, json!({})).await;
    let mut table = String::new();

    tell(
        &mut table,
        "create",
        "at the limit",
        &owner.create(json!({})).await,
    );
    tell(
        &mut table,
        "download",
        "failed",
        &owner.download(&failed).await,
    );
    tell(
        &mut table,
        "restore",
        "failed",
        &owner.restore(&failed, json!({})).await,
    );
    tell(
        &mut table,
        "lock",
        "failed",
        &owner.lock(&failed, json!({})).await,
    );
    tell(&mut table, "unlock", "failed", &owner.unlock(&failed).await);
    tell(&mut table, "delete", "locked", &owner.delete(&locked).await);

    for (state, when) in [
        (ServerState::Installing, "server installing"),
        (ServerState::Suspended, "server suspended"),
        (ServerState::Restoring, "server restoring"),
    ] {
        app.server.state = state;
        app.save_server().await;
        tell(&mut table, "create", when, &owner.create(json!({})).await);
        let restore = owner.restore(&completed, json!({})).await;
        tell(&mut table, "restore", when, &restore);
    }

    // From here on, no worker runs.
    app.server.state = ServerState::Normal;
    app.server.node = NodeName::parse("elsewhere").unwrap();
    app.server.limits.backups = Some(9);
    app.save_server().await;
    assert_eq!(owner.restore(&completed, json!({})).await.status, 202);
    let when = "while it is restored";
    tell(&mut table, "create", when, &owner.create(json!({})).await);
    tell(
        &mut table,
        "restore",
        when,
        &owner.restore(&locked, json!({})).await,
    );
    tell(&mut table, "delete", when, &owner.delete(&completed).await);
    app.sql()
        .query("DELETE FROM jobs WHERE kind = 'restore_backup'")
        .await;

    let creating = owner.create(json!({})).await.uuid();
    let when = "while another backup is created";
    tell(&mut table, "create", when, &owner.create(json!({})).await);
    tell(
        &mut table,
        "restore",
        when,
        &owner.restore(&completed, json!({})).await,
    );
    assert_eq!(owner.show(&creating).await.status, 200, "it can be viewed");
    let when = "while it is created";
    tell(
        &mut table,
        "download",
        when,
        &owner.download(&creating).await,
    );
    tell(
        &mut table,
        "restore",
        when,
        &owner.restore(&creating, json!({})).await,
    );
    tell(&mut table, "delete", when, &owner.delete(&creating).await);
    tell(
        &mut table,
        "lock",
        when,
        &owner.lock(&creating, json!({})).await,
    );
    tell(&mut table, "unlock", when, &owner.unlock(&creating).await);
    insta::assert_snapshot!("refusals", table);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_endpoint_refuses_missing_keys_permissions_and_objects_alike() {
    let app = App::start().await;
    let uuid = app.backup().await;
    let expected = |status, code: &str, text: &str| (status, code.to_owned(), text.to_owned());
    let unauthorized = expected(
        401,
        "InvalidCredentialsException",
        "The credentials provided were invalid.",
    );
    let forbidden = expected(
        403,
        "InsufficientPermissionsException",
        "This action requires additional permissions.",
    );
    let not_found = expected(
        404,
        "NotFoundHttpException",
        "The requested resource could not be found.",
    );
    for (endpoint, method, path, needed) in ENDPOINTS {
        let answer = ask(&app.as_anonymous(), method, path, &uuid).await;
        assert_eq!(answer.refusal(), unauthorized, "{endpoint}");
        let others: Vec<Permission> = Permission::ALL
            .into_iter()
            .filter(|permission| *permission != needed)
            .collect();
        let answer = ask(&app.as_subuser(&others).await, method, path, &uuid).await;
        assert_eq!(answer.refusal(), forbidden, "{endpoint}");
        let answer = ask(&app.as_stranger(), method, path, &uuid).await;
        assert_eq!(answer.refusal(), not_found, "{endpoint}");
        if path.contains("{backup}") {
            let unknown = Uuid::new_v4().to_string();
            let answer = ask(&app.as_owner(), method, path, &unknown).await;
            assert_eq!(answer.refusal(), not_found, "{endpoint}");
        }
    }
    let shown = app.as_owner().show(&uuid).await.attributes();
    assert_eq!(shown["is_locked"], false, "nothing was done");
    assert_eq!(app.sql().number("SELECT count(*) FROM jobs").await, 1);
    app.stop().await;
}

/// The statuses and codes of refusals, by request.
async fn refused(request: reqwest::RequestBuilder) -> (u16, String) {
    let (status, code, _) = send(request).await.refusal();
    (status, code)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_earlier_of_two_reasons_to_refuse_is_reported() {
    let mut app = App::start_with(&[
        ("http.rate_limit_per_minute", "60"),
        ("limits.create_throttle_count", "1"),
        ("http.max_body_bytes", "1024"),
    ])
    .await;
    let failed = app.failed_backup().await;
    app.backup().await;
    let (owner, anonymous) = (app.as_owner(), app.as_anonymous());
    let reader = app.as_subuser(&[Permission::Read]).await;
    let unknown = Uuid::new_v4().to_string();
    let create =
        |client: &Client, body: &str| client.request(Method::POST, "").body(body.to_owned());
    let restore = |backup: &str, body: &str| {
        let path = format!("/{backup}/restore");
        owner.request(Method::POST, &path).body(body.to_owned())
    };
    let told = |status, code: &str| (status, format!("{code}Exception"));

    let route = anonymous.about(&unknown).request(Method::PUT, "");
    assert_eq!(refused(route).await, told(405, "MethodNotAllowedHttp"));
    let key = anonymous.about(&unknown).request(Method::GET, "");
    assert_eq!(refused(key).await, told(401, "InvalidCredentials"));
    let backup = reader.request(Method::DELETE, &format!("/{unknown}"));
    assert_eq!(refused(backup).await, told(404, "NotFoundHttp"));
    let server = create(&owner.about(&unknown), "{");
    assert_eq!(refused(server).await, told(404, "NotFoundHttp"));
    for body in ["{", &"x".repeat(1025), r#"{"name": 1}"#] {
        let may = refused(create(&reader, body)).await;
        assert_eq!(may, told(403, "InsufficientPermissions"), "{body}");
    }

    app.server.state = ServerState::Suspended;
    app.server.limits.backups = Some(0);
    app.save_server().await;
    for (body, expected) in [
        ("{", told(400, "BadRequestHttp")),
        (&"x".repeat(1025), told(413, "PayloadTooLarge")),
        (r#"{"truncate": "no"}"#, told(422, "Validation")),
        ("", told(400, "BackupFailed")),
    ] {
        assert_eq!(refused(restore(&failed, body)).await, expected, "{body}");
    }
    let malformed = refused(create(&owner, r#"{"name": 1}"#)).await;
    assert_eq!(malformed, told(422, "Validation"));
    let state = refused(create(&owner, "")).await;
    assert_eq!(state, told(409, "ConflictingServerState"));
    app.server.state = ServerState::Normal;
    app.save_server().await;
    let throttle = refused(create(&owner, "")).await;
    assert_eq!(throttle, told(429, "TooManyRequestsHttp"));

    // No backup of this server exists yet, so the throttle does not apply.
    let mut other = app.another_server("other").await;
    files::make_server(&other.directory);
    other.limits.backups = Some(0);
    other.limits.quota_bytes = Some(1);
    fixtures::server(app.database(), &other).await.unwrap();
    let of_other = owner.about(&other.id.to_string());
    let limit = refused(create(&of_other, "")).await;
    assert_eq!(limit, told(400, "TooManyBackups"));
    other.limits.backups = Some(1);
    fixtures::server(app.database(), &other).await.unwrap();
    let space = refused(create(&of_other, "")).await;
    assert_eq!(space, told(507, "InsufficientStorage"));

    // The count restarts with each minute, perhaps in between.
    eventually("the rate is told before what is not there", async || {
        while reader.list("").await.status != 429 {}
        let unknown = reader.about(&unknown).request(Method::GET, "");
        let both = [refused(unknown).await, refused(create(&reader, "{")).await];
        (both == [(); 2].map(|()| told(429, "TooManyRequestsHttp"))).then_some(())
    })
    .await;
    let route = refused(reader.request(Method::PUT, "")).await;
    assert_eq!(route, told(405, "MethodNotAllowedHttp"));
    app.stop().await;
}
