//! `POST /api/servers/{server}/backup`.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use holdfast_db::users::find_by_email;
use holdfast_domain::Profile;
use holdfast_domain::key::KeyKind;

use super::{Node, TOKEN, refusal};
use crate::maintenance::admin;
use crate::support::app::App;
use crate::support::client::{Client, send};
use crate::support::{eventually, files};

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_the_panel_is_made_under_its_uuid_and_reported_as_it_is() {
    let node = Node::start().await;
    let (server, directory, backup) = node.completed().await;
    let archive = fs_err::read(node.archive(&server, &backup)).unwrap();
    assert_eq!(
        node.reports(&backup, 1).await,
        [(
            "backup".to_owned(),
            json!({
                "checksum": files::sha256(&archive), "checksum_type": "sha256",
                "size": archive.len(), "successful": true, "parts": [],
            })
        )]
    );
    let unpacked = files::scratch();
    files::unpack(&node.archive(&server, &backup), unpacked.path());
    assert_eq!(files::tree(unpacked.path()), files::tree(&directory));

    // The same request again is the same backup.
    let again = node.create_as(&server, &backup).await;
    assert_eq!((again.status, again.bytes.len()), (202, 0));
    let of_server = format!("SELECT count(*) FROM backups WHERE server_id = '{server}'");
    assert_eq!(node.app.sql().number(&of_server).await, 1);
    assert_eq!(node.app.sql().number("SELECT count(*) FROM jobs").await, 1);
    // But it is not a backup of another server.
    let (other, _) = node.new_server();
    let answer = node.create_as(&other, &backup).await;
    let text = "There is already another backup with this UUID.";
    assert_eq!(refusal(&answer), (409, text.to_owned()));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn patterns_of_the_panel_leave_files_out() {
    let node = Node::start().await;
    let (server, directory) = node.new_server();
    files::write(&directory.join("left.log"), b"log");
    files::write(&directory.join("cache/left"), b"cache");
    files::write(&directory.join("taken"), b"taken");
    let backup = Uuid::new_v4().to_string();
    let body = json!({ "adapter": "wings", "uuid": backup, "ignore": "*.log\r\ncache/\n" });
    let path = format!("{server}/backup");
    assert_eq!(node.send(Method::POST, &path, body).await.status, 202);
    node.reports(&backup, 1).await;
    let listed = files::list(&node.archive(&server, &backup));
    assert!(
        listed.iter().any(|name| name.ends_with("taken")),
        "{listed:?}"
    );
    assert!(
        !listed.iter().any(|name| name.contains("left")),
        "{listed:?}"
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_of_a_server_wait_for_each_other_and_no_limit_refuses_them() {
    let limits = [
        ("limits.backups_per_server", "1"),
        ("limits.create_throttle_count", "1"),
    ];
    let mut node = Node::without_worker(&limits).await;
    let (server, _) = node.new_server();
    let mut backups = Vec::new();
    for _ in 0..4 {
        backups.push(node.create(&server).await);
    }
    // Only one is in the job table.
    let unfinished = "SELECT count(*) FROM jobs WHERE state = 'available'";
    assert_eq!(node.app.sql().number(unfinished).await, 1);
    assert_eq!(
        node.app
            .sql()
            .number("SELECT count(*) FROM waiting_jobs")
            .await,
        3
    );
    node.app.add_worker(&[]);
    for backup in &backups {
        let reports = node.reports(backup, 1).await;
        assert_eq!(reports[0].1["successful"], true, "{reports:?}");
    }
    let in_order = "SELECT string_agg(backup_id::text, ' ' ORDER BY id) FROM panel_callbacks";
    let rows = node.app.sql().query(in_order).await;
    assert_eq!(rows[0][0].as_deref().unwrap(), backups.join(" "));
    assert_eq!(
        node.app
            .sql()
            .number("SELECT count(*) FROM waiting_jobs")
            .await,
        0
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_fails_is_reported_as_failed() {
    let node = Node::start().await;
    // Its directory does not exist.
    let server = Uuid::new_v4().to_string();
    let backup = node.create(&server).await;
    let failed = json!({
        "checksum": "", "checksum_type": "sha256", "size": 0, "successful": false, "parts": [],
    });
    assert_eq!(
        node.reports(&backup, 1).await,
        [("backup".to_owned(), failed)]
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_without_the_node_s_token_are_refused_as_wings_does() {
    let node = Node::without_worker(&[("http.rate_limit_per_minute", "5")]).await;
    let (server, _) = node.new_server();
    let path = format!("{server}/backup");
    let url = format!("{}/api/servers/{path}", node.url);
    let body = json!({ "adapter": "wings", "uuid": Uuid::new_v4(), "ignore": "" });
    let missing = "The required authorization heads were not present in the request.";
    let refused = "You are not authorized to access this endpoint.";
    let anonymous = Client::new(&node.url, "", None);
    let request = || anonymous.plain(Method::POST, &url).json(&body);
    for header in [
        None,
        Some(TOKEN.to_owned()),
        Some(format!("Basic {TOKEN}")),
        Some("Bearer".into()),
    ] {
        let request = match &header {
            Some(header) => request().header("authorization", header),
            None => request(),
        };
        let answer = send(request).await;
        assert_eq!(refusal(&answer), (401, missing.to_owned()), "{header:?}");
    }
    let twice = request()
        .header("authorization", "Bearer other")
        .header("authorization", format!("Bearer {TOKEN}"));
    assert_eq!(refusal(&send(twice).await), (401, missing.to_owned()));
    // The identifier belongs to requests in the other direction.
    let with_id = format!("abcdefghijklmnop.{TOKEN}");
    let longer = format!("{TOKEN}x");
    let upper = TOKEN.to_uppercase();
    for token in [&with_id, &longer, &upper, &TOKEN[1..].to_owned()] {
        let answer = node
            .send_with(token, Method::POST, &path, body.clone())
            .await;
        assert_eq!(refusal(&answer), (403, refused.to_owned()), "{token}");
    }
    // A key of this service opens nothing here, nor the node's token anything elsewhere.
    let admin = node.app.as_admin();
    let answer = send(admin.plain(Method::POST, &url).json(&body)).await;
    assert_eq!(refusal(&answer), (403, refused.to_owned()));
    let refusals = node
        .send_with("wrong", Method::POST, &path, body.clone())
        .await;
    assert_eq!(
        refusals.status, 429,
        "wrong tokens are counted by their address"
    );
    let servers = "SELECT count(*) FROM servers WHERE managed_by IS NOT NULL";
    assert_eq!(node.app.sql().number(servers).await, 0);
    // Requests of the panel come from one address too, and are not counted.
    for _ in 0..8 {
        node.create(&server).await;
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_make_no_sense_are_refused_in_the_form_of_wings() {
    let node = Node::without_worker(&[]).await;
    let (server, _) = node.new_server();
    let path = format!("{server}/backup");
    let uuid = Uuid::new_v4();
    let unknown = "The requested backup was not found on this server.";
    for (body, expected) in [
        // The panel itself stores these; a proxy passes them on to Wings.
        (
            json!({ "adapter": "s3", "uuid": uuid, "ignore": "" }),
            (404, unknown),
        ),
        (json!({ "uuid": uuid }), (404, unknown)),
        (
            json!({ "adapter": "wings" }),
            (422, "The uuid field is required."),
        ),
        (
            json!({ "adapter": "wings", "uuid": "../../etc" }),
            (422, "The uuid must be a valid UUID."),
        ),
        (
            json!({ "adapter": "wings", "uuid": uuid, "ignore": "\0" }),
            (
                422,
                "The ignore is invalid: a pattern holds a NUL character.",
            ),
        ),
    ] {
        let answer = node.send(Method::POST, &path, body.clone()).await;
        let expected = (expected.0, expected.1.to_owned());
        assert_eq!(refusal(&answer), expected, "{body}");
    }
    let gone = "The requested resource could not be found.";
    for (method, path, status, text) in [
        (Method::POST, "not-a-uuid/backup".to_owned(), 404, gone),
        (
            Method::DELETE,
            format!("{server}/backup/not-a-uuid"),
            404,
            unknown,
        ),
        (
            Method::DELETE,
            format!("{server}/backup/{uuid}"),
            404,
            unknown,
        ),
        (
            Method::DELETE,
            format!("{server}/deleteAllBackups"),
            404,
            gone,
        ),
        (Method::GET, format!("{server}/files/list"), 404, gone),
        (
            Method::GET,
            format!("{server}/backup"),
            405,
            "The GET method is not supported for this route.",
        ),
    ] {
        let body = json!({ "adapter": "wings", "uuid": uuid });
        let body = if method == Method::POST {
            body
        } else {
            Value::Null
        };
        let answer = node.send(method, &path, body).await;
        assert_eq!(refusal(&answer), (status, text.to_owned()), "{path}");
    }
    let malformed = Client::new(&node.url, "", Some(TOKEN.to_owned()))
        .plain(Method::POST, &format!("{}/api/servers/{path}", node.url))
        .body("{");
    let answer = send(malformed).await;
    let text = "The JSON data passed in the request appears to be malformed.";
    assert_eq!(refusal(&answer), (400, text.to_owned()));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_of_the_panel_have_no_owner_and_only_operators_see_them() {
    let node = Node::start().await;
    let (server, directory, backup) = node.completed().await;
    let app = &node.app;
    let shown = app.as_admin().about(&server).show(&backup).await;
    assert_eq!(shown.attributes()["is_successful"], true);
    assert_eq!(
        app.as_owner().about(&server).show(&backup).await.status,
        404
    );

    let owner = find_by_email(&app.database, "admin@example.com").await;
    let owner = owner.unwrap().unwrap().id;
    let key = app
        .key(owner, KeyKind::Application, Profile::Documented)
        .await;
    let panel = app.as_admin().with_token(&key);
    let url = format!("{}/api/application/servers/{server}", app.base_url);
    let attributes = send(panel.plain(Method::GET, &url)).await.attributes();
    for (field, expected) in [
        ("owner", Value::Null),
        ("managed_by", json!("wings")),
        ("absent_since", Value::Null),
        ("dir", json!(directory)),
        ("default_schedule", json!(false)),
    ] {
        assert_eq!(attributes[field], expected, "{field}");
    }
    // What the panel decides can't be changed here. The rest can.
    let change = async |body: Value| send(panel.plain(Method::PATCH, &url).json(&body)).await;
    for (field, value) in [
        ("owner", json!("owner@example.com")),
        ("name", json!("other")),
        ("dir", json!("/srv/other")),
        ("node", json!("other")),
        ("state", json!("suspended")),
        ("default_schedule", json!(true)),
    ] {
        let answer = change(json!({ field: value })).await;
        assert_eq!(answer.status, 422, "{field}");
    }
    assert_eq!(change(json!({ "quota_bytes": 5 })).await.status, 200);
    // The user behind them is in no list, and can't be used.
    let users = format!("{}/api/application/users", app.base_url);
    let listed = send(panel.plain(Method::GET, &users)).await.json();
    let emails: Vec<&str> = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|user| user["attributes"]["email"].as_str().unwrap())
        .collect();
    assert!(
        !emails.iter().any(|email| email.contains("no-owner")),
        "{emails:?}"
    );
    for user in [
        Uuid::nil().to_string(),
        "no-owner@holdfast.invalid".to_owned(),
    ] {
        let url = format!("{users}/{user}");
        for method in [Method::GET, Method::DELETE] {
            assert_eq!(send(panel.plain(method, &url)).await.status, 404, "{user}");
        }
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_and_the_default_schedule_leave_servers_of_the_panel_alone() {
    let mut node = Node::start().await;
    let (server, _, first) = node.completed().await;
    let second = node.create(&server).await;
    node.reports(&second, 1).await;
    // As a check, another server loses one of two backups.
    let own = [node.app.backup().await, node.app.backup().await];
    let age = "UPDATE backups SET created_at = created_at - interval '100 days'";
    node.app.sql().query(age).await;
    admin(&node.app, &[], &["retention"]).json();
    eventually(
        "retention has deleted a backup of the other server",
        async || {
            let select = "SELECT count(*) FROM backups";
            (node.app.sql().number(select).await == 3).then_some(())
        },
    )
    .await;
    for (backup, expected) in [(&first, 1), (&second, 1), (&own[0], 0), (&own[1], 1)] {
        let select = format!("SELECT count(*) FROM backups WHERE id = '{backup}'");
        assert_eq!(node.app.sql().number(&select).await, expected);
    }
    node.app.stop_workers().await;
    node.app
        .add_worker(&[("schedules.default.cron", "0 4 * * *")]);
    eventually("the other server has its schedule", async || {
        let select = "SELECT count(*) FROM schedules WHERE is_default";
        (node.app.sql().number(select).await == 1).then_some(())
    })
    .await;
    let select = format!("SELECT count(*) FROM schedules WHERE server_id = '{server}'");
    assert_eq!(node.app.sql().number(&select).await, 0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_routes_of_a_node_do_not_exist_without_its_settings() {
    let app = App::without_worker(&[]).await;
    let url = format!("{}/api/servers/{}/backup", app.base_url, Uuid::new_v4());
    let client = Client::new(&app.base_url, "", Some(TOKEN.to_owned()));
    let answer = send(client.plain(Method::POST, &url).body("{}")).await;
    let text = "The requested resource could not be found.";
    assert_eq!(answer.refusal().2, text);
    assert_eq!(answer.status, 404);
    app.stop().await;
}
