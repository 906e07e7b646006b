//! A stranger learns nothing about other users' servers, neither from an answer nor from the work
//! that it takes. The test does not measure time, but the work as PostgreSQL counts it.

use std::collections::BTreeMap;

use reqwest::{Method, RequestBuilder};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::support::app::App;
use crate::support::client::{Answer, Client, send};
use crate::support::files;
use crate::support::process::Process;

/// A request for a server: method, path, and a body if there is one.
const REQUESTS: [(&str, &str, &str); 24] = [
    ("GET", "", ""),
    ("GET", "?page=2&per_page=1", ""),
    ("GET", "/events", ""),
    ("GET", "/{backup}", ""),
    ("GET", "/{backup}", "not read"),
    ("GET", "/{backup}/download", ""),
    ("POST", "/{backup}/download", ""),
    ("GET", "/{backup}/contents", ""),
    ("GET", "/{backup}/contents/file", ""),
    ("GET", "/{backup}/contents/file?path=level.dat", ""),
    ("DELETE", "/{backup}", ""),
    ("DELETE", "/{backup}", "{ malformed"),
    ("POST", "", r#"{"name": "valid"}"#),
    ("POST", "", r#"{"name": 1, "ignored": 2}"#),
    ("POST", "", "{ malformed"),
    ("POST", "", HUGE),
    ("POST", "/{backup}/restore", r#"{"truncate": true}"#),
    ("POST", "/{backup}/restore", r#"{"truncate": "perhaps"}"#),
    ("POST", "/{backup}/lock", HUGE),
    ("POST", "/{backup}/unlock", ""),
    ("POST", "/{backup}/cancel", ""),
    ("POST", "/{backup}/verify", ""),
    ("PUT", "/{backup}/rename", r#"{"name": "valid"}"#),
    ("PUT", "/{backup}/rename", r#"{"name": ""}"#),
];

/// A placeholder for a body above `http.max_body_bytes`.
const HUGE: &str = "huge";
const BODY_MAX: usize = 1024;

/// The work of PostgreSQL: scans and rows of each table.
type Work = BTreeMap<String, (i64, i64)>;

fn request(
    client: &Client,
    (method, path, body): (&str, &str, &str),
    backup: &str,
) -> RequestBuilder {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let request = client.request(method, &path.replace("{backup}", backup));
    match body {
        "" => request,
        HUGE => request.body("x".repeat(2 * BODY_MAX)),
        body => request.body(body.to_owned()),
    }
}

/// All of an answer except its request ID and its date.
fn whole(answer: Answer) -> (u16, BTreeMap<String, String>, String) {
    let mut headers = BTreeMap::new();
    for (name, value) in &answer.headers {
        // This header shows whether the whole request had arrived.
        if name == "connection" {
            continue;
        }
        let value = match name.as_str() {
            "x-request-id" | "date" | "x-ratelimit-remaining" | "x-ratelimit-reset" => "differs",
            _ => value.to_str().unwrap(),
        };
        headers.insert(name.to_string(), value.to_owned());
    }
    let body = String::from_utf8(answer.bytes).unwrap();
    (answer.status, headers, body)
}

/// The work in the tables that hold permissions. A session reports its counts when it ends, so all
/// sessions are ended first.
async fn work(app: &App) -> Work {
    let sql = app.sql();
    let end = "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    sql.query(end).await;
    let counted = "SELECT relname, seq_scan + coalesce(idx_scan, 0), \
        seq_tup_read + coalesce(idx_tup_fetch, 0)
                   FROM pg_stat_user_tables
                   WHERE relname IN ('api_keys', 'users', 'servers', 'subusers', 'backups', \
                   'jobs', 'activity',
                                     'list_versions')";
    let number = |text: &Option<String>| text.as_deref().unwrap().parse::<i64>().unwrap();
    let rows = sql.query(counted).await;
    assert_eq!(rows.len(), 8);
    rows.iter()
        .map(|row| (row[0].clone().unwrap(), (number(&row[1]), number(&row[2]))))
        .collect()
}

/// Every answer, and the work for all of them.
async fn asked(
    app: &App,
    client: &Client,
    backup: &str,
) -> (Vec<(u16, BTreeMap<String, String>, String)>, Work) {
    let before = work(app).await;
    let mut answers = Vec::new();
    for what in REQUESTS {
        answers.push(whole(send(request(client, what, backup)).await));
    }
    let mut after = work(app).await;
    for (table, (scans, rows)) in &mut after {
        let (scans_before, rows_before) = before[table];
        *scans -= scans_before;
        *rows -= rows_before;
    }
    (answers, after)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_learns_nothing_about_a_server_from_answers_or_work() {
    let limits = [
        ("http.rate_limit_per_minute", "100000"),
        ("http.max_body_bytes", "1024"),
    ];
    let mut app = App::start_with(&limits).await;
    let backup = app.backup().await;
    app.stop_workers().await;
    let (stranger, server) = (app.as_stranger(), app.server.id);
    let unknown = || Uuid::new_v4().to_string();

    let nothing = asked(&app, &stranger.about(&unknown()), &unknown()).await;
    for (answer, (method, path, _)) in nothing.0.iter().zip(REQUESTS) {
        assert_eq!(answer.0, 404, "{method} {path}");
    }
    let count = i64::try_from(REQUESTS.len()).unwrap();
    assert_eq!(nothing.1["api_keys"], (count, count));
    for (what, server, backup) in [
        (
            "an unknown server by its short name",
            unknown()[..8].to_owned(),
            unknown(),
        ),
        (
            "a server, and its backup",
            server.to_string(),
            backup.clone(),
        ),
        (
            "a server by its short name, and its backup",
            server.short(),
            backup.clone(),
        ),
        ("a server, and no backup", server.to_string(), unknown()),
        (
            "an unknown server, and a backup of another",
            unknown(),
            backup.clone(),
        ),
    ] {
        let (answers, mut work) = asked(&app, &stranger.about(&server), &backup).await;
        for ((answer, of_nothing), what_was_asked) in answers.iter().zip(&nothing.0).zip(REQUESTS) {
            assert_eq!(answer, of_nothing, "{what}: {what_was_asked:?}");
        }
        // The unavoidable difference: for an existing server, its row is read, and the look-up of
        // the stranger as a subuser.
        for table in ["servers", "subusers"] {
            let of_nothing = nothing.1[table];
            let (scans, rows) = work.insert(table.to_owned(), of_nothing).unwrap();
            let (scans, rows) = (scans - of_nothing.0, rows - of_nothing.1);
            assert!(
                scans <= count && rows <= count,
                "{what}: {table} {scans} {rows}"
            );
        }
        assert_eq!(work, nothing.1, "{what}");
    }
    // A check of the counts themselves: the owner causes more work.
    for table in ["backups", "jobs", "list_versions"] {
        assert_eq!(nothing.1[table].1, 0, "{table}");
    }
    let before = work(&app).await;
    assert_eq!(app.as_owner().show(&backup).await.status, 200);
    let after = work(&app).await;
    assert!(after["backups"].1 > before["backups"].1, "{after:?}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_are_refused_alike_whatever_part_is_right() {
    let app = App::without_worker(&[]).await;
    let owner = app.as_owner();
    let right = owner.token().unwrap().to_owned();
    let (identifier, secret) = right.split_at(16);
    let other: String = secret.chars().rev().collect();
    assert_ne!(other, secret);
    let unknown_key = |kind: &str| format!("{kind}_{}{other}", "a".repeat(11));
    let almost = format!(
        "{}{}",
        &right[..47],
        if right.ends_with('a') { 'b' } else { 'a' }
    );
    let mut refusals = Vec::new();
    for token in [
        format!("{identifier}{other}"),
        almost,
        unknown_key("ptlc"),
        unknown_key("ptla"),
        right[..47].to_owned(),
        format!("{right}a"),
        right.to_uppercase(),
        "garbage".to_owned(),
        String::new(),
    ] {
        for server in [app.server.id.to_string(), Uuid::new_v4().to_string()] {
            let client = owner.with_token(&token).about(&server);
            refusals.push(whole(client.list("").await));
            refusals.push(whole(client.create(json!({ "name": 1 })).await));
        }
    }
    assert_eq!(refusals[0].0, 401);
    for refusal in &refusals {
        assert_eq!(refusal, &refusals[0]);
    }
    app.stop().await;
}

/// The answer of the service to some bytes, until it closes the connection.
async fn said(address: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // It may close the connection before it has read everything.
    let _late = stream.write_all(bytes).await;
    let mut said = Vec::new();
    let _reset = stream.read_to_end(&mut said).await;
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_request_are_refused_without_a_log_line() {
    let folder = files::scratch();
    let (mut up, url) = Process::up(folder.path(), &[]).await;
    let address = url.strip_prefix("http://").unwrap();
    let path = "/api/client/servers/00000000/backups";
    let get =
        |more: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\r\n");
    let post =
        |more: &str| format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}");
    let url_of = |bytes| get("").replace(path, &format!("/{}", "a".repeat(bytes)));
    let headers = |many: usize| -> String { (0..many).map(|n| format!("X-{n}: x\r\n")).collect() };
    let chunked = "Transfer-Encoding: chunked\r\n\r\n";
    for (bytes, status, is_json) in [
        ("GARBAGE\r\n\r\n".to_owned(), 400, false),
        (
            "\x16\x03\x01\x02\0\x01\0".to_owned() + "\r\n\r\n",
            400,
            false,
        ),
        (get("").replace("1.1", "9.9"), 400, false),
        (get("").replace("GET", "G{T"), 400, false),
        (get("").replace("/api", "/a b"), 400, false),
        (get("").replace("Host", "Guest"), 400, false),
        (get("No colon\r\n"), 400, false),
        (get("X: \0\r\n"), 400, false),
        (get("X: a\r\n folded\r\n"), 400, false),
        (url_of(100_000), 400, false),
        (get(&headers(200)), 431, false),
        (post("Content-Length: -1\r\n\r\n"), 400, false),
        (
            post("Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} "),
            400,
            false,
        ),
        (post("Transfer-Encoding: gzip\r\n\r\n"), 400, false),
        // All of these are requests.
        (get(""), 401, true),
        (get("").replace("GET", "FROB"), 405, true),
        (get("").replace("00000000", "%ff%zz"), 401, true),
        (get("Authorization: Bearer \u{e9}\r\n"), 401, true),
        (get(&headers(90)), 401, true),
        (get(&format!("X: {}\r\n", "a".repeat(100_000))), 401, true),
        (url_of(60_000), 404, true),
        (post(&format!("{chunked}zz\r\n")), 401, true),
        (post(&format!("{chunked}2\r\n{{}}XX0\r\n\r\n")), 401, true),
        (post("Content-Length: 9999999999\r\n\r\n"), 401, true),
    ] {
        let said = said(address, bytes.as_bytes()).await;
        let what = &bytes[..bytes.len().min(100)];
        assert!(
            said.starts_with(&format!("HTTP/1.1 {status} ")),
            "{what}: {said}"
        );
        let (_, body) = said.split_once("\r\n\r\n").unwrap();
        let code = body.starts_with(r#"{"errors":[{"code":""#);
        assert_eq!(
            (code, body.is_empty()),
            (is_json, !is_json),
            "{what}: {said}"
        );
    }
    let log = up.log();
    assert!(!log.contains("ERROR") && !log.contains("WARN"), "{log}");
    up.signal(rustix::process::Signal::TERM);
    assert!(up.ended().await.success());
}
