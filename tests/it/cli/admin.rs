//! `holdfast admin …`: its output, and its effects.

use serde_json::{Value, json};

use holdfast_domain::key::KeyToken;

use super::Admin;
use crate::support::app::App;
use crate::support::client::redact;
use crate::support::database::TestDatabase;
use crate::support::process::run;

#[tokio::test(flavor = "multi_thread")]
async fn the_output_of_admin_commands_has_exactly_these_keys() {
    let database = TestDatabase::create().await;
    let admin = Admin::new(&database);
    let directory = admin.data.path().join("server");
    fs_err::create_dir(&directory).unwrap();
    let dir = directory.to_str().unwrap();
    let mut answers = Vec::new();
    let mut ask = |arguments: &[&str]| {
        let answer = admin.json(arguments);
        let command = arguments[..2].join(" ");
        answers.push(json!({ "command": command, "prints": stable(&answer, dir) }));
        answer
    };
    ask(&["user", "create", "--email", "owner@example.com"]);
    ask(&["user", "create", "--email", "root@example.com", "--admin"]);
    ask(&["user", "list"]);
    let key = ask(&["key", "create", "--user", "Owner@example.com"]);
    ask(&[
        "key",
        "create",
        "--user",
        "root@example.com",
        "--kind",
        "application",
        "--profile",
        "pterodactyl",
        "--description",
        "the panel",
        "--allowed-ip",
        "10.0.0.0/8",
        "--allowed-ip",
        "192.0.2.7",
        "--expires-in",
        "90d",
    ]);
    ask(&["key", "list"]);
    let server = ask(&[
        "server",
        "create",
        "--owner",
        "owner@example.com",
        "--name",
        "Survival",
        "--dir",
        dir,
    ]);
    let uuid = server["uuid"].as_str().unwrap();
    ask(&[
        "server",
        "set",
        uuid,
        "--name",
        "Creative",
        "--node",
        "local",
        "--disk",
        "local",
        "--backup-limit",
        "3",
        "--max-backup-bytes",
        "1000",
        "--quota-bytes",
        "2000",
        "--retention-days",
        "7",
        "--state",
        "suspended",
    ]);
    ask(&["server", "list"]);
    ask(&[
        "subuser",
        "set",
        "--server",
        &uuid[..8],
        "--user",
        "root@example.com",
        "--permission",
        "schedule.update",
        "--permission",
        "backup.restore",
        "--permission",
        "backup.read",
    ]);
    ask(&["subuser", "list", "--server", uuid]);
    ask(&[
        "subuser",
        "set",
        "--server",
        uuid,
        "--user",
        "root@example.com",
    ]);
    ask(&["subuser", "list", "--server", uuid]);
    ask(&["backup", "list"]);
    ask(&["job", "list"]);
    ask(&["key", "revoke", key["identifier"].as_str().unwrap()]);
    insta::assert_json_snapshot!("admin", answers);

    let token = key["token"].as_str().unwrap();
    assert_eq!(token.len(), 48);
    assert_eq!(&token[..16], key["identifier"]);
    assert!(KeyToken::parse(token).is_some());
    assert_eq!(server["identifier"], uuid[..8]);
    database.drop().await;
}

/// Replaces values that differ from run to run.
fn stable(answer: &Value, dir: &str) -> Value {
    let text = redact("", answer).to_string().replace(dir, "[dir]");
    let mut value: Value = serde_json::from_str(&text).unwrap();
    replace(&mut value);
    value
}

fn replace(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), &*value) {
                    ("token", Value::String(text)) => {
                        *value = format!("{}[secret]", &text[..5]).into();
                    }
                    ("identifier", Value::String(text)) if text.len() == 16 => {
                        *value = format!("{}[public]", &text[..5]).into();
                    }
                    ("identifier", Value::String(_)) => *value = "[short]".into(),
                    _ => replace(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(replace),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_and_jobs_are_listed_and_filtered() {
    let app = App::start().await;
    let uuid = app.backup().await;
    let failed = app.failed_backup().await;
    let admin = Admin::new(app.sql());
    let listed = admin.json(&["backup", "list"]);
    let ids: Vec<&Value> = [&listed[0]["uuid"], &listed[1]["uuid"]].into();
    assert_eq!(ids, [&json!(failed), &json!(uuid)]);
    let mut completed = admin.json(&["backup", "list", "--state", "completed"]);
    let shown = app.as_owner().show(&uuid).await.attributes();
    assert_eq!(completed[0]["sha256_hash"], shown["sha256_hash"]);
    completed[0]["name"] = "[name]".into();
    insta::assert_json_snapshot!("backups", redact("", &completed));
    let short = app.server.id.short();
    let mut jobs = admin.json(&["job", "list", "--server", &short, "--limit", "1"]);
    let detail = jobs[0]["errors"][0]["detail"].take();
    assert!(
        detail.as_str().unwrap().contains("server"),
        "an operator sees the path: {detail}"
    );
    let at = jobs[0]["errors"][0]["at"].take();
    assert!(at.is_string());
    insta::assert_json_snapshot!("jobs", redact("", &jobs));
    let none = admin.json(&["job", "list", "--state", "running"]);
    assert_eq!(none, json!([]));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_from_the_command_line_work_with_the_api() {
    let app = App::without_worker(&[]).await;
    let admin = Admin::new(app.sql());
    let key = |more: &[&str]| {
        let arguments = ["key", "create", "--user", "owner@example.com"];
        let key = admin.json(&[&arguments[..], more].concat());
        (
            key["token"].as_str().unwrap().to_owned(),
            key["expires_at"].clone(),
        )
    };
    let (token, never) = key(&[]);
    let client = app.as_owner().with_token(&token);
    assert_eq!(client.list("").await.status, 200);
    assert_eq!(never, Value::Null);
    admin.json(&["key", "revoke", &token[..16]]);
    assert_eq!(client.list("").await.status, 401);

    let (token, expires_at) = key(&["--allowed-ip", "192.0.2.0/24", "--expires-in", "12h"]);
    assert_eq!(app.as_owner().with_token(&token).list("").await.status, 403);
    let expires_at = chrono::DateTime::parse_from_rfc3339(expires_at.as_str().unwrap()).unwrap();
    let minutes = (expires_at.to_utc() - chrono::Utc::now()).num_minutes();
    assert!((715..=720).contains(&minutes), "{minutes} minutes");

    let (token, _) = key(&["--allowed-ip", "127.0.0.1"]);
    assert_eq!(app.as_owner().with_token(&token).list("").await.status, 200);
    let (token, _) = key(&["--profile", "pterodactyl"]);
    let created = app.as_owner().with_token(&token).create(json!({})).await;
    assert_eq!(created.attributes()["is_successful"], false);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_json_the_output_is_a_table() {
    let database = TestDatabase::create().await;
    let admin = Admin::new(&database);
    let table = |arguments: &[&str]| {
        let ended = run(admin.command().arg("admin").args(arguments));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        ended.stdout
    };
    assert_eq!(table(&["user", "list"]), "(none)\n");
    let made = table(&["user", "create", "--email", "owner@example.com"]);
    assert!(made.contains("owner@example.com"), "{made}");
    let listed = table(&["user", "list"]);
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines.len(), 2, "{listed}");
    assert!(lines[0].contains("email") && lines[1].contains("owner@example.com"));
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_by_admin_commands_are_in_the_operator_log_and_refusals_are_not() {
    let database = TestDatabase::create().await;
    let admin = Admin::new(&database);
    let directory = admin.data.path().join("server");
    fs_err::create_dir(&directory).unwrap();
    let dir = directory.to_str().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let owner = [
        "--owner",
        "a@example.com",
        "--name",
        "Survival",
        "--dir",
        dir,
    ];

    let user = text(&admin.json(&["user", "create", "--email", "a@example.com"])["uuid"]);
    let key = text(&admin.json(&["key", "create", "--user", "a@example.com"])["identifier"]);
    let server = admin.json(&[&["server", "create"][..], &owner].concat());
    let server = text(&server["uuid"]);
    admin.json(&["server", "set", &server, "--name", "Creative"]);
    let who = ["--server", &server, "--user", "a@example.com"];
    let may = ["--permission", "backup.read"];
    admin.json(&[&["subuser", "set"][..], &who, &may].concat());
    let url = ["--url", "https://panel.example.com/hooks?token=secret"];
    let webhook = text(&admin.json(&[&["webhook", "create"][..], &url].concat())["id"]);
    admin.json(&["webhook", "delete", &webhook]);
    admin.json(&["retention", "--server", &server]);
    admin.json(&["storage", "import", "--disk", "local"]);
    admin.json(&["storage", "sweep"]);
    admin.json(&["storage", "verify", "--disk", "local"]);
    admin.json(&["key", "revoke", &key]);
    // Refused commands change nothing, and neither do commands that only read.
    admin.failure(&["key", "revoke", &key]);
    admin.failure(&["user", "create", "--email", "A@example.com"]);
    admin.failure(&["webhook", "delete", &webhook]);
    admin.json(&["retention", "--dry-run"]);
    admin.json(&["storage", "sweep", "--dry-run"]);
    admin.json(&["storage", "import", "--disk", "local", "--dry-run"]);
    admin.json(&["user", "list"]);

    let lines = "SELECT command || ' ' || subject FROM operator_actions ORDER BY id";
    let lines: Vec<String> = database
        .query(lines)
        .await
        .into_iter()
        .map(|mut row| row.remove(0).unwrap())
        .collect();
    assert_eq!(
        lines,
        [
            format!("admin user create {user}"),
            format!("admin key create {key}"),
            format!("admin server create {server}"),
            format!("admin server set {server}"),
            format!("admin subuser set {server}/{user}"),
            format!("admin webhook create {webhook}"),
            format!("admin webhook delete {webhook}"),
            format!("admin retention {server}"),
            "admin storage import local".to_owned(),
            "admin storage sweep local".to_owned(),
            "admin storage verify local".to_owned(),
            format!("admin key revoke {key}"),
        ]
    );
    let odd = "SELECT count(*) FROM operator_actions
               WHERE typed_by !~ '^[^@]+@[^@]+$' OR actor_id IS NOT NULL OR status IS NOT NULL";
    assert_eq!(database.number(odd).await, 0);
    database.drop().await;
}
