//! Every command of the binary, from outside.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};

use holdfast_domain::key::KeyToken;

use crate::support::app::{App, Setting, variable};
use crate::support::client::redact;
use crate::support::database::TestDatabase;
use crate::support::process::{Ended, Process, holdfast, run};
use crate::support::{files, is_root, skipped};

/// `holdfast admin --json …` on a database.
struct Admin {
    url: String,
    data: tempfile::TempDir,
}

impl Admin {
    fn new(database: &TestDatabase) -> Self {
        Self {
            url: database.url(),
            data: files::scratch(),
        }
    }

    fn command(&self) -> Command {
        let mut command = holdfast(&[("database.url", &self.url)]);
        command.env("HOLDFAST_DATA", self.data.path().join("data"));
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        run(self.command().args(["admin", "--json"]).args(arguments))
    }

    fn json(&self, arguments: &[&str]) -> Value {
        self.run(arguments).json()
    }

    fn failure(&self, arguments: &[&str]) -> String {
        self.run(arguments).failure().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn up_says_where_it_answers_and_other_commands_work_beside_it() {
    let folder = files::scratch();
    let data = folder.path().join("data");
    let (mut up, url) = Process::up(&data, &[]).await;
    assert_eq!(up.stdout(), format!("Holdfast answers at {url}\n"));
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");

    let mut health = holdfast(&[]);
    let healthy = run(health.args(["healthcheck", "--url", &url]));
    assert_eq!((healthy.code, healthy.stdout.as_str()), (Some(0), "ok\n"));
    let listen = url.strip_prefix("http://").unwrap();
    let by_setting = run(holdfast(&[("http.listen", listen)]).arg("healthcheck"));
    assert_eq!(by_setting.code, Some(0), "{by_setting:?}");

    let admin = |arguments: &[&str]| {
        let mut command = holdfast(&[]);
        command.args(arguments).arg("--data").arg(&data);
        run(&mut command)
    };
    let made = admin(&[
        "admin",
        "--json",
        "user",
        "create",
        "--email",
        "a@example.com",
    ]);
    assert_eq!(made.json()["email"], "a@example.com");
    assert_eq!(admin(&["migrate"]).code, Some(0));

    let second = admin(&["up", "--listen", "127.0.0.1:0"]);
    let refused = second.failure();
    let holder = format!("process {} already runs on", up.id());
    assert!(refused.contains(&holder), "{refused}");

    up.signal(Signal::TERM);
    assert!(up.ended().await.success(), "{}", up.log());
    assert_eq!(up.stdout(), format!("Holdfast answers at {url}\n"));
    let gone = run(holdfast(&[]).args(["healthcheck", "--url", &url]));
    assert!(gone.failure().contains("does not answer"), "{gone:?}");
    let gone = admin(&["admin", "user", "list"]);
    assert!(gone.failure().starts_with("no database: start"), "{gone:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_and_worker_make_a_service_together() {
    let app = App::without_worker(&[]).await;
    let url = app.sql().url();
    let folder = files::scratch();
    let start = |arguments: &[&str]| {
        let mut command = holdfast(&[("database.url", &url)]);
        command.args(arguments).arg("--data");
        command.arg(folder.path().join("data"));
        Process::start(&mut command, folder.path())
    };
    let mut serve = start(&["serve", "--listen", "127.0.0.1:0"]);
    let base_url = serve.url().await;
    let mut worker = start(&["worker"]);
    let owner = app.as_owner().at(&base_url);
    let uuid = owner.create(json!({})).await.uuid();
    assert_eq!(app.ended(&uuid).await["status"], "completed");
    let link = owner.download(&uuid).await.link();
    assert!(link.starts_with(&base_url), "{link}");
    for process in [&mut serve, &mut worker] {
        process.signal(Signal::TERM);
        assert!(process.ended().await.success(), "{}", process.log());
    }
    assert_eq!(worker.stdout(), "", "a worker has nothing to say");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_shows_the_main_job_and_leaves_nothing() {
    let folder = files::scratch();
    // Postgres may run as somebody else, who has to pass.
    files::set_mode(folder.path(), 0o711);
    let mut command = holdfast(&[]);
    command.arg("demo").env("TMPDIR", folder.path());
    let demo = run(command.current_dir(folder.path()));
    assert_eq!(demo.code, Some(0), "{demo:?}");
    for part in ["POST", "/restore", "/download", "200", "202", "SHA-256"] {
        assert!(demo.stdout.contains(part), "{part}: {}", demo.stdout);
    }
    assert_eq!(files::files_below(folder.path()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_told_before_anything_is_made() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = files::scratch();
    let data = folder.path().join("data");
    for arguments in [["up", "--listen"], ["serve", "--listen"]] {
        let mut command = holdfast(&[]);
        command.args(arguments).arg(&address).arg("--data");
        let ended = run(command.arg(&data));
        let failure = ended.failure();
        assert!(
            failure.contains(&address) && failure.contains("--listen"),
            "{failure}"
        );
    }
    assert!(!data.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_that_can_not_be_written_to_is_told() {
    let folder = files::scratch();
    files::set_mode(folder.path(), 0o755);
    let closed = folder.path().join("closed");
    fs_err::create_dir(&closed).unwrap();
    files::set_mode(&closed, 0o555);
    for (data, text) in [
        (closed.clone(), "can't be written to"),
        (closed.join("data"), "can't be made"),
    ] {
        let binary = env!("CARGO_BIN_EXE_holdfast");
        let mut command = as_ordinary_user(Path::new(binary));
        let Some(command) = &mut command else { return };
        command.args(["up", "--listen", "127.0.0.1:0", "--data"]);
        let ended = run(command.arg(&data));
        let failure = ended.failure();
        let path = data.to_str().unwrap();
        assert!(
            failure.contains(text) && failure.contains(path),
            "{failure}"
        );
    }
    assert_eq!(files::files_below(&closed), [""; 0]);
    // A file is no folder for anybody.
    let file = folder.path().join("file");
    fs_err::write(&file, "x").unwrap();
    let mut command = holdfast(&[]);
    command.args(["up", "--listen", "127.0.0.1:0", "--data"]);
    let ended = run(command.arg(&file));
    assert!(ended.failure().contains("can't be made"), "{ended:?}");
}

/// A program as a user whom modes bind; none, with a word on why, where that can't be.
fn as_ordinary_user(program: &Path) -> Option<Command> {
    if !is_root() {
        return Some(Command::new(program));
    }
    let as_nobody = |program: &Path| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
        command.arg(program).current_dir("/");
        command
    };
    let passes = as_nobody(Path::new("test")).arg("-x").arg(program).status();
    if passes.is_ok_and(|status| status.success()) {
        return Some(as_nobody(program));
    }
    skipped("root is not bound by modes, and setpriv is missing or the binary is closed to others");
    None
}

#[test]
fn settings_that_are_wrong_are_all_told_at_once() {
    let folder = files::scratch();
    let file = folder.path().join("holdfast.toml");
    let text = "[worker]\nlease_seconds = 1\n[limits]\nbackups_per_sever = 3\n";
    fs_err::write(&file, text).unwrap();
    let wrong: [Setting<'_>; 3] = [
        ("http.listen", "nowhere"),
        ("worker.concurrency", "0"),
        ("auth.signing_key", "too-short-a-secret"),
    ];
    let mut command = holdfast(&wrong);
    command.arg("check-config").arg("--config").arg(&file);
    let checked = run(&mut command);
    assert_eq!((checked.code, checked.stdout.as_str()), (Some(1), ""));
    let told = checked.stderr.replace(file.to_str().unwrap(), "[file]");
    insta::assert_snapshot!("several_problems", told);
    assert!(!told.contains("too-short"), "a secret was shown");

    // Other commands tell the same, on their one line, and make nothing.
    let data = folder.path().join("data");
    let mut command = holdfast(&wrong);
    let ended = run(command.arg("up").arg("--data").arg(&data));
    let failure = ended.failure();
    for (key, value) in wrong {
        let (name, _) = variable(&(key, value));
        assert!(failure.contains(&name), "{name}: {failure}");
    }
    assert!(!data.exists());

    let fine = run(holdfast(&[]).arg("check-config"));
    let text = "the settings are fine\n";
    assert_eq!((fine.code, fine.stdout.as_str()), (Some(0), text));
}

#[test]
fn a_command_line_that_is_none_ends_with_2() {
    for arguments in [
        &[][..],
        &["dance"],
        &["up", "--listen", "nowhere"],
        &["up", "--unknown"],
        &["admin"],
        &["admin", "user", "create"],
        &[
            "admin",
            "key",
            "create",
            "--user",
            "a",
            "--expires-in",
            "90",
        ],
        &["admin", "key", "create", "--user", "a", "--allowed-ip", "x"],
        &["admin", "key", "create", "--user", "a", "--kind", "x"],
        &["admin", "server", "set", "x", "--state", "asleep"],
        &["admin", "server", "create", "--max-backup-bytes", "0"],
        &[
            "admin",
            "subuser",
            "set",
            "--server",
            "x",
            "--user",
            "a",
            "--permission",
            "x",
        ],
        &["admin", "job", "list", "--state", "x"],
    ] {
        let ended = run(holdfast(&[]).args(arguments));
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert_eq!(ended.stdout, "", "{arguments:?}");
        assert_ne!(ended.stderr, "", "{arguments:?}");
    }
}

#[test]
fn every_command_explains_itself() {
    for command in [
        &[][..],
        &["demo"],
        &["up"],
        &["serve"],
        &["worker"],
        &["migrate"],
        &["healthcheck"],
        &["check-config"],
        &["admin"],
        &["admin", "user"],
        &["admin", "key", "create"],
        &["admin", "server", "create"],
        &["admin", "subuser", "set"],
        &["admin", "backup", "list"],
        &["admin", "job", "list"],
    ] {
        let ended = run(holdfast(&[]).args(command).arg("--help"));
        assert_eq!(ended.code, Some(0), "{command:?}");
        assert!(ended.stdout.contains("Usage: holdfast"), "{command:?}");
    }
    let version = run(holdfast(&[]).arg("--version"));
    let expected = format!("holdfast {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(version.stdout, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_admin_commands_print_has_exactly_these_keys() {
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

/// Replaces what differs from run to run.
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
async fn what_can_not_be_done_is_told_in_one_line_with_advice() {
    let database = TestDatabase::create().await;
    let admin = Admin::new(&database);
    let directory = admin.data.path().join("server");
    fs_err::create_dir(&directory).unwrap();
    let file = admin.data.path().join("file");
    fs_err::write(&file, "x").unwrap();
    let (dir, file) = (directory.to_str().unwrap(), file.to_str().unwrap());
    let backups = admin.data.path().join("data/backups");
    fs_err::create_dir_all(&backups).unwrap();
    let backups = backups.to_str().unwrap();
    let owner = "owner@example.com";
    admin.json(&["user", "create", "--email", owner]);
    let server = ["server", "create", "--owner", owner, "--name", "S"];
    let made = admin.json(&[&server[..], &["--dir", dir]].concat());
    let uuid = made["uuid"].as_str().unwrap();
    let twin = format!("{}-0000-4000-8000-000000000000", &uuid[..8]);

    for (arguments, text) in [
        (
            &["user", "create", "--email", "OWNER@example.com"][..],
            "already",
        ),
        (
            &["user", "create", "--email", "nobody"],
            "no e-mail address",
        ),
        (
            &["key", "create", "--user", "x@example.com"],
            "admin user list",
        ),
        (&["key", "revoke", "ptlc_abcdefghijk"], "there is no key"),
        (&["key", "revoke", "nonsense"], "there is no key"),
        (&server, "needs --dir"),
        (
            &["server", "create", "--name", "S", "--dir", dir],
            "needs --owner",
        ),
        (
            &["server", "create", "--owner", owner, "--dir", dir],
            "needs --name",
        ),
        (
            &[&server[..], &["--dir", "/nowhere/at/all"]].concat(),
            "does not exist",
        ),
        (&[&server[..], &["--dir", file]].concat(), "not a directory"),
        (
            &[&server[..], &["--dir", "/"]].concat(),
            "root of the file system",
        ),
        (
            &[&server[..], &["--dir", backups]].concat(),
            "shares its place",
        ),
        (
            &[&server[..], &["--dir", "relative", "--node", "other"]].concat(),
            "absolute",
        ),
        (
            &[&server[..], &["--dir", dir, "--uuid", uuid]].concat(),
            "there already",
        ),
        (
            &[&server[..], &["--dir", dir, "--uuid", &twin]].concat(),
            "there already",
        ),
        (
            &["server", "set", "ffffffff", "--name", "x"],
            "admin server list",
        ),
        (&["server", "set", uuid, "--name", "  "], "blank"),
        (
            &[
                "subuser",
                "set",
                "--server",
                uuid,
                "--user",
                "x@example.com",
            ],
            "admin user list",
        ),
    ] {
        let failure = admin.failure(arguments);
        assert!(failure.contains(text), "{arguments:?}: {failure}");
    }
    let servers = database.number("SELECT count(*) FROM servers").await;
    assert_eq!(servers, 1, "nothing was half made");
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_lie_below_the_roots_that_are_set() {
    let database = TestDatabase::create().await;
    let admin = Admin::new(&database);
    let roots = admin.data.path().join("servers");
    for folder in [roots.join("one"), admin.data.path().join("other")] {
        fs_err::create_dir_all(&folder).unwrap();
    }
    std::os::unix::fs::symlink("../other", roots.join("link")).unwrap();
    admin.json(&["user", "create", "--email", "owner@example.com"]);
    for (name, allowed) in [
        ("servers/one", true),
        ("other", false),
        ("servers/../other", false),
        ("servers/link", false),
    ] {
        let mut command = admin.command();
        let (variable, value) = variable(&("worker.roots", roots.to_str().unwrap()));
        command.env(variable, value);
        command.args(["admin", "--json", "server", "create", "--name", "S"]);
        command.args(["--owner", "owner@example.com", "--dir"]);
        let ended = run(command.arg(admin.data.path().join(name)));
        if allowed {
            let dir = fs_err::canonicalize(admin.data.path().join(name)).unwrap();
            assert_eq!(ended.json()["dir"], dir.to_str().unwrap());
        } else {
            let failure = ended.failure();
            assert!(failure.contains("worker.roots"), "{name}: {failure}");
        }
    }
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_were_made_here_open_the_api_as_they_were_made() {
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
async fn migrate_prepares_a_database_and_one_that_is_away_is_told() {
    let database = TestDatabase::create_empty().await;
    let admin = Admin::new(&database);
    for _ in 0..2 {
        let ended = run(admin.command().arg("migrate"));
        assert_eq!(ended.stdout, "the schema is up to date\n", "{ended:?}");
    }
    admin.json(&["user", "create", "--email", "owner@example.com"]);
    database.drop().await;
    for command in [&["migrate"][..], &["worker"], &["admin", "user", "list"]] {
        let ended = run(admin.command().args(command));
        let failure = ended.failure();
        assert!(failure.starts_with("the database can't be"), "{failure}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_json_people_read_a_table() {
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
