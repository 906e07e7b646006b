//! Permissions: every route with every kind of caller, as one table.

use std::fmt::Write as _;

use reqwest::{Method, RequestBuilder};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use uuid::Uuid;

use holdfast_domain::key::KeyKind;
use holdfast_domain::{Permission, Profile};

use crate::support::app::App;
use crate::support::client::{Client, send};
use crate::support::fixtures;

/// A backup that the API considers completed.
const BACKUP: &str = "a4962fe6-90c8-4b89-ba62-a5d3b06426c0";

pub(crate) const ROUTES: [(&str, &str); 16] = [
    ("GET", ""),
    ("POST", ""),
    ("GET", "/{backup}"),
    ("DELETE", "/{backup}"),
    ("GET", "/{backup}/download"),
    ("POST", "/{backup}/download"),
    ("POST", "/{backup}/restore"),
    ("POST", "/{backup}/lock"),
    ("POST", "/{backup}/unlock"),
    ("PUT", "/{backup}/rename"),
    ("POST", "/{backup}/cancel"),
    ("POST", "/{backup}/verify"),
    ("GET", "/{backup}/contents"),
    ("GET", "/{backup}/contents/file"),
    ("GET", "/events"),
    ("PUT", "/{backup}/lock"),
];

/// The routes of schedules, below `…/schedules`.
pub(crate) const SCHEDULE_ROUTES: [(&str, &str); 11] = [
    ("GET", ""),
    ("POST", ""),
    ("GET", "/{schedule}"),
    ("POST", "/{schedule}"),
    ("PATCH", "/{schedule}"),
    ("DELETE", "/{schedule}"),
    ("POST", "/{schedule}/execute"),
    ("POST", "/{schedule}/tasks"),
    ("POST", "/{schedule}/tasks/{task}"),
    ("DELETE", "/{schedule}/tasks/{task}"),
    ("PUT", "/{schedule}"),
];

/// Undoes everything that a request may have changed. The backup is locked, so that a permitted
/// deletion is refused (400) and it stays. It has ended, so that a permitted cancellation is
/// refused (409). It has no archive, so that a permitted look at its contents gets 404, or 422 for
/// a missing path.
pub(crate) async fn reset(app: &App) {
    let server = app.server.id;
    let statements = format!(
        "DELETE FROM jobs; DELETE FROM backups; DELETE FROM schedules; DELETE FROM schedule_runs;
         INSERT INTO backups (id, server_id, name, disk, state, is_locked, completed_at, sha256,
                              size_bytes, archive_attempt)
         VALUES ('{BACKUP}', '{server}', 'kept', 'local', 'completed', true, now(),
                 decode(repeat('00', 32), 'hex'), 1, 1);
         INSERT INTO schedules (id, server_id, name, minute, hour, day_of_month, month, day_of_week)
         OVERRIDING SYSTEM VALUE VALUES (1000000, '{server}', 'kept', '0', '4', '*', '*', '*');
         INSERT INTO schedule_tasks (id, schedule_id, sequence, action)
         OVERRIDING SYSTEM VALUE VALUES (1000000, 1000000, 1, 'backup')"
    );
    app.sql().query(&statements).await;
}

pub(crate) fn request(client: &Client, method: &str, path: &str) -> RequestBuilder {
    let path = path.replace("{backup}", BACKUP);
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let body = json!({ "is_locked": true, "name": "Renamed" });
    client.request(method, &path).json(&body)
}

pub(crate) fn schedule_request(client: &Client, method: &str, path: &str) -> RequestBuilder {
    let path = path
        .replace("{schedule}", "1000000")
        .replace("{task}", "1000000");
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    // Valid for schedules and for tasks.
    let body = json!({
        "name": "Renamed", "minute": "0", "hour": "4", "day_of_month": "*", "month": "*",
        "day_of_week": "*", "action": "backup", "time_offset": 0,
    });
    client.schedules(method, &path).json(&body)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_answers_every_caller_as_in_the_table() {
    let app = App::without_worker(&[]).await;
    let owner = app.owner_id();
    let application = app
        .key(owner, KeyKind::Application, Profile::Documented)
        .await;
    let mut callers = vec![
        ("nobody".to_owned(), app.as_anonymous()),
        ("stranger".to_owned(), app.as_stranger()),
    ];
    for permission in Permission::ALL {
        let name = permission.as_str().replace("backup.", "");
        let name = name.replace("schedule.", "s-");
        callers.push((name, app.as_subuser(&[permission]).await));
    }
    callers.push(("owner".to_owned(), app.as_owner()));
    callers.push(("admin".to_owned(), app.as_admin()));
    let application = app.as_owner().with_token(&application);
    callers.push(("app-key".to_owned(), application));

    let mut table = format!("{:34}", "");
    for (name, _) in &callers {
        write!(table, "{name:>9}").unwrap();
    }
    for (method, path) in ROUTES {
        write!(table, "\n{:34}", format!("{method} …{path}")).unwrap();
        for (_, client) in &callers {
            reset(&app).await;
            // A stream of events does not end, so its body is not awaited.
            let answer = request(client, method, path).send().await.unwrap();
            write!(table, "{:>9}", answer.status().as_u16()).unwrap();
        }
    }
    for (method, path) in SCHEDULE_ROUTES {
        write!(table, "\n{:34}", format!("{method} s…{path}")).unwrap();
        for (_, client) in &callers {
            reset(&app).await;
            let answer = schedule_request(client, method, path).send().await.unwrap();
            write!(table, "{:>9}", answer.status().as_u16()).unwrap();
        }
    }
    insta::assert_snapshot!("table", table);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_users_server_is_not_found_rather_than_forbidden() {
    let app = App::without_worker(&[]).await;
    let other = app.another_server("other").await.id.to_string();
    let subuser = app.as_subuser(&Permission::ALL).await;
    for (client, server) in [
        (app.as_stranger(), app.server.id.to_string()),
        (app.as_stranger(), app.server.id.short()),
        (subuser.clone(), other),
        (app.as_owner(), Uuid::new_v4().to_string()),
        (app.as_admin(), Uuid::new_v4().to_string()),
    ] {
        for (method, path) in &ROUTES[..15] {
            reset(&app).await;
            let client = client.about(&server);
            let answer = send(request(&client, method, path)).await;
            assert_eq!(answer.status, 404, "{method} {path} of {server}");
        }
        for (method, path) in &SCHEDULE_ROUTES[..10] {
            reset(&app).await;
            let client = client.about(&server);
            let answer = send(schedule_request(&client, method, path)).await;
            assert_eq!(answer.status, 404, "{method} schedules{path} of {server}");
        }
    }
    // Within its own server, every object exists.
    assert_eq!(subuser.show(BACKUP).await.status, 200);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subuser_without_permissions_no_longer_finds_the_server() {
    let app = App::without_worker(&[]).await;
    let subuser = app.as_subuser(&[Permission::Read]).await;
    assert_eq!(subuser.list("").await.status, 200);
    let subusers = holdfast_db::subusers::list(&app.database, app.server.id)
        .await
        .unwrap();
    let user = subusers[0].user;
    fixtures::subuser(&app.database, app.server.id, user, &[])
        .await
        .unwrap();
    assert_eq!(subuser.list("").await.status, 404);
    app.stop().await;
}

/// Sends the head of a request, does something, and then sends its body. Returns the status.
async fn with_a_late_body(
    app: &App,
    client: &Client,
    (path, body): (&str, &str),
    meanwhile: impl Future<Output = ()>,
) -> u16 {
    let address = app.base_url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let key = client.token().unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Authorization: Bearer {key}\r\nContent-Length: {}\r\n\r\n{}",
        body.len(),
        &body[..1],
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // Nothing shows that the head was read. Were it read later, the request would be refused as
    // well.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    meanwhile.await;
    stream.write_all(&body.as_bytes()[1..]).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap_or_default();
    status.parse().unwrap_or_else(|_| panic!("{answer}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_lost_before_the_body_has_arrived_is_lost() {
    let app = App::start().await;
    let uuid = app.backup().await;
    app.sql().query("DELETE FROM activity").await;
    let server = format!("/api/client/servers/{}/backups", app.server.id);
    let rights = [
        Permission::Read,
        Permission::Create,
        Permission::Restore,
        Permission::Delete,
    ];
    for path in [
        server.clone(),
        format!("{server}/{uuid}/restore"),
        format!("{server}/{uuid}/lock"),
    ] {
        for (change, expected) in [
            ("DELETE FROM subusers", 404),
            ("UPDATE subusers SET permissions = '{backup.read}'", 403),
            ("DELETE FROM api_keys WHERE identifier = ", 401),
        ] {
            let client = app.as_subuser(&rights).await;
            let mut change = change.to_owned();
            if change.ends_with("= ") {
                change.push_str(&format!("'{}'", &client.token().unwrap()[..16]));
            }
            let meanwhile = async {
                app.sql().query(&change).await;
            };
            let status = with_a_late_body(&app, &client, (&path, "{}"), meanwhile).await;
            assert_eq!(status, expected, "{path}: {change}");
        }
    }
    assert_eq!(app.sql().number("SELECT count(*) FROM backups").await, 1);
    assert_eq!(app.sql().number("SELECT count(*) FROM activity").await, 0);

    // An administrator who is demoted meanwhile changes nothing.
    let admin = holdfast_db::users::find_by_email(&app.database, "admin@example.com").await;
    let admin = admin.unwrap().unwrap();
    let token = app
        .key(admin.id, KeyKind::Application, Profile::Documented)
        .await;
    let panel = app.as_admin().with_token(&token);
    let meanwhile = async {
        app.sql().query("UPDATE users SET is_admin = false").await;
    };
    let create = ("/api/application/users", "{\"email\": \"new@example.com\"}");
    let status = with_a_late_body(&app, &panel, create, meanwhile).await;
    assert_eq!(status, 403);
    let new = "SELECT count(*) FROM users WHERE email = 'new@example.com'";
    assert_eq!(app.sql().number(new).await, 0);
    app.stop().await;
}
