//! `holdfast admin schedule …`: its output and its effects.

use serde_json::{Value, json};

use super::Admin;
use crate::support::app::variable;
use crate::support::database::TestDatabase;
use crate::support::process::{Ended, run};

/// A database with one server, and the command line.
pub(super) struct Scene {
    pub(super) database: TestDatabase,
    pub(super) admin: Admin,
    pub(super) server: String,
}

impl Scene {
    pub(super) async fn new() -> Self {
        let database = TestDatabase::create().await;
        let admin = Admin::new(&database);
        let server = server(&admin, "server");
        Self {
            database,
            admin,
            server,
        }
    }

    /// Creates a schedule of the server.
    pub(super) fn create(&self, more: &[&str]) -> Value {
        self.with_docker(&[&["schedule", "create", "--server", &self.server], more].concat())
            .json()
    }

    /// Runs a command with a power driver that can send commands.
    pub(super) fn with_docker(&self, arguments: &[&str]) -> Ended {
        let mut command = self.admin.command();
        command.envs([variable(&("power.driver", "docker"))]);
        run(command.args(["admin", "--json"]).args(arguments))
    }
}

/// Creates a server, and returns its UUID.
fn server(admin: &Admin, name: &str) -> String {
    let directory = admin.data.path().join(name);
    fs_err::create_dir(&directory).unwrap();
    let email = format!("{name}@example.com");
    admin.json(&["user", "create", "--email", &email]);
    let dir = directory.to_str().unwrap();
    let server = admin.json(&[
        "server", "create", "--owner", &email, "--name", name, "--dir", dir,
    ]);
    server["uuid"].as_str().unwrap().to_owned()
}

/// The ID of a schedule, as an argument.
pub(super) fn id(schedule: &Value) -> String {
    schedule["id"].as_i64().unwrap().to_string()
}

/// The tasks of a schedule, such as `command save-off`.
pub(super) fn tasks(schedule: &Value) -> Vec<String> {
    let tasks = schedule["tasks"].as_array().unwrap().iter();
    let text = |task: &Value| {
        let (action, payload) = (task["action"].as_str(), task["payload"].as_str());
        format!("{} {}", action.unwrap(), payload.unwrap())
    };
    tasks.map(text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_created_shown_changed_and_deleted() {
    let scene = Scene::new().await;
    let ignored = scene.admin.data.path().join("ignored");
    fs_err::write(&ignored, "*.log\r\n\n# caches\ncache/\n").unwrap();
    let created = scene.create(&[
        "--cron",
        "15 4 * * MON-FRI",
        "--timezone",
        "Asia/Kathmandu",
        "--jitter",
        "10m",
        "--missed",
        "skip",
        "--ignored",
        ignored.to_str().unwrap(),
        "--before",
        "save-off",
        "--before",
        "save-all flush",
        "--wait",
        "15s",
        "--after",
        "save-on",
        "--keep",
        "last=7",
        "--name",
        "Nightly",
        "--only-when-online",
    ]);
    for (field, expected) in [
        ("server", json!(scene.server)),
        ("name", json!("Nightly")),
        ("cron", json!("15 4 * * MON-FRI")),
        ("timezone", json!("Asia/Kathmandu")),
        ("jitter_seconds", json!(600)),
        ("missed", json!("skip")),
        ("keep", json!("last=7")),
        ("is_active", json!(true)),
        ("only_when_online", json!(true)),
        ("is_processing", json!(false)),
        ("last_result", json!(null)),
    ] {
        assert_eq!(created[field], expected, "{field}");
    }
    let before_and_after = [
        "command save-off",
        "command save-all flush",
        "backup *.log\n# caches\ncache/",
        "command save-on",
    ];
    assert_eq!(tasks(&created), before_and_after);
    assert_eq!(created["tasks"][2]["time_offset"], 15);

    let id = id(&created);
    let shown = scene.admin.json(&["schedule", "show", &id]);
    for (field, value) in created.as_object().unwrap() {
        assert_eq!(&shown[field], value, "{field}");
    }
    assert_eq!(shown["next_runs"][0]["utc"], created["next_run_at"]);
    assert_eq!(shown["next_runs"][0]["local"], created["next_run_local"]);
    assert_eq!(shown["runs"], json!([]));

    // Options that are not given stay as they are.
    let changed = scene.with_docker(&[
        "schedule",
        "set",
        &id,
        "--name",
        "Weekly",
        "--cron",
        "0 4 * * 0",
    ]);
    let changed = changed.json();
    assert_eq!(changed["cron"], "0 4 * * 0");
    assert_eq!(changed["name"], "Weekly");
    assert_ne!(changed["next_run_at"], created["next_run_at"]);
    for field in [
        "timezone",
        "jitter_seconds",
        "missed",
        "keep",
        "only_when_online",
        "tasks",
    ] {
        assert_eq!(changed[field], created[field], "{field}");
    }
    let changed = scene.with_docker(&[
        "schedule",
        "set",
        &id,
        "--before",
        "stop-saving",
        "--after",
        "",
        "--keep",
        "none",
        "--jitter",
        "0s",
        "--missed",
        "run-once",
        "--active",
        "false",
        "--only-when-online",
        "false",
        "--wait",
        "1m",
    ]);
    let changed = changed.json();
    assert_eq!(changed["tasks"][1]["time_offset"], 60);
    assert_eq!(
        tasks(&changed),
        ["command stop-saving", "backup *.log\n# caches\ncache/"]
    );
    for (field, expected) in [
        ("keep", json!(null)),
        ("jitter_seconds", json!(0)),
        ("missed", json!("run_once")),
        ("is_active", json!(false)),
        ("only_when_online", json!(false)),
        ("next_run_at", json!(null)),
        ("next_run_local", json!(null)),
    ] {
        assert_eq!(changed[field], expected, "{field}");
    }
    let shown = scene.admin.json(&["schedule", "show", &id]);
    assert_eq!(shown["next_runs"], json!([]));

    let deleted = scene.admin.json(&["schedule", "delete", &id]);
    let number: i64 = id.parse().unwrap();
    assert_eq!(
        deleted,
        json!({ "id": number, "server": scene.server, "deleted": true })
    );
    let log = "SELECT command || ' ' || subject FROM operator_actions
               WHERE command LIKE 'admin schedule %' ORDER BY id";
    let log = scene.database.query(log).await;
    let log: Vec<&str> = log.iter().map(|row| row[0].as_deref().unwrap()).collect();
    let expected = ["create", "set", "set", "delete"];
    let expected = expected.map(|command| format!("admin schedule {command} {id}"));
    assert_eq!(log, expected);
    scene.database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shortest_command_makes_a_nightly_backup_and_prints_its_next_run() {
    let scene = Scene::new().await;
    let mut command = scene.admin.command();
    command.args([
        "admin",
        "schedule",
        "create",
        "--server",
        &scene.server[..8],
    ]);
    let ended = run(command.args(["--cron", "0 4 * * *"]));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let now = chrono::Utc::now();
    let lines: Vec<Vec<&str>> = ended
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let value = |name: &str| {
        let line = lines.iter().find(|line| line.first() == Some(&name));
        line.unwrap_or_else(|| panic!("{name}: {}", ended.stdout))[1..].join(" ")
    };
    let next: chrono::DateTime<chrono::Utc> = value("next_run_at").parse().unwrap();
    assert_eq!(next.format("%H:%M:%S").to_string(), "04:00:00");
    assert!(next > now - chrono::TimeDelta::minutes(1), "{next}");
    assert!(next < now + chrono::TimeDelta::days(1), "{next}");
    assert_eq!(value("timezone"), "UTC");
    assert_eq!(value("name"), "Backup");
    assert_eq!(value("is_active"), "true");
    scene.database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_five_runs_are_shown_in_the_zone_and_in_utc() {
    let scene = Scene::new().await;
    let created = scene.create(&["--cron", "0 4 * * *", "--timezone", "Asia/Kathmandu"]);
    let shown = scene.admin.json(&["schedule", "show", &id(&created)]);
    let next = shown["next_runs"].as_array().unwrap();
    assert_eq!(next.len(), 5, "{shown}");
    let mut expected = None;
    for run in next {
        let (local, utc) = (run["local"].as_str().unwrap(), run["utc"].as_str().unwrap());
        assert!(local.ends_with("T04:00:00+05:45"), "{local}");
        assert!(utc.ends_with("T22:15:00+00:00"), "{utc}");
        let instant = chrono::DateTime::parse_from_rfc3339(local).unwrap();
        assert_eq!(instant, chrono::DateTime::parse_from_rfc3339(utc).unwrap());
        assert_eq!(*expected.get_or_insert(instant), instant);
        expected = Some(instant + chrono::TimeDelta::days(1));
    }

    // The jitter delays every run by the same time.
    let jitter = ["schedule", "set", &id(&created), "--jitter", "24h"];
    scene.admin.json(&jitter);
    let shown = scene.admin.json(&["schedule", "show", &id(&created)]);
    let delay = "SELECT extract(epoch FROM next_run_at - next_due_at)::bigint FROM schedules";
    let delay = chrono::TimeDelta::seconds(scene.database.number(delay).await);
    assert!(!delay.is_zero());
    for run in shown["next_runs"].as_array().unwrap() {
        let begin = chrono::DateTime::parse_from_rfc3339(run["local"].as_str().unwrap()).unwrap();
        let due = (begin - delay).to_rfc3339();
        assert!(due.ends_with("T04:00:00+05:45"), "{due}");
    }
    scene.database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_ten_runs_are_shown_with_their_results() {
    let scene = Scene::new().await;
    let created = scene.create(&["--cron", "0 4 * * *"]);
    let id = id(&created);
    scene
        .database
        .query(&format!(
            "INSERT INTO schedule_runs (schedule_id, server_id, due_at, state, finished_at, error)
             SELECT {id}, '{}', now() - n * interval '1 day',
                    CASE n WHEN 1 THEN 'failed' WHEN 2 THEN 'missed' ELSE 'completed' END,
                    now() - n * interval '1 day', CASE n WHEN 1 THEN 'It rained.' END
             FROM generate_series(12, 1, -1) n",
            scene.server
        ))
        .await;
    let shown = scene.admin.json(&["schedule", "show", &id]);
    let runs = shown["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 10);
    let states: Vec<&Value> = runs.iter().map(|run| &run["state"]).collect();
    assert_eq!(states[..3], ["failed", "missed", "completed"]);
    assert_eq!(runs[0]["error"], "It rained.");
    assert_eq!(shown["last_result"], "failed");

    // A run by hand is the newest one, and has not ended.
    let run = scene.admin.json(&["schedule", "run", &id]);
    let shown = scene.admin.json(&["schedule", "show", &id]);
    assert_eq!(shown["runs"][0]["run"], run["run"]);
    assert_eq!(shown["runs"][0]["manual"], true);
    assert_eq!(shown["runs"][0]["state"], "waiting");
    assert_eq!(shown["runs"].as_array().unwrap().len(), 10);
    assert_eq!(shown["is_processing"], true);
    let failure = scene.admin.failure(&["schedule", "run", &id]);
    assert!(failure.contains("waits already"), "{failure}");
    // Switching it off leaves no run behind.
    let off = scene
        .admin
        .json(&["schedule", "set", &id, "--active", "false"]);
    assert_eq!(off["is_processing"], false);
    assert_eq!(off["last_result"], "failed");
    scene.database.query("DELETE FROM schedule_tasks").await;
    let failure = scene.admin.failure(&["schedule", "run", &id]);
    assert!(failure.contains("has no tasks"), "{failure}");
    scene.database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_number_of_schedules_is_listed() {
    let scene = Scene::new().await;
    let list = |more: &[&str]| scene.admin.json(&[&["schedule", "list"], more].concat());
    assert_eq!(list(&[]), json!([]));
    let other = server(&scene.admin, "other");
    scene
        .database
        .query(&format!(
            "INSERT INTO schedules (server_id, name, minute, hour, day_of_month, month,
                                    day_of_week)
             SELECT CASE WHEN n % 10 = 0 THEN '{}' ELSE '{other}' END::uuid, 'Number ' || n, '0',
                    '4', '*', '*', '*'
             FROM generate_series(1, 1200) n",
            scene.server
        ))
        .await;
    let all = list(&[]);
    let ids: Vec<i64> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["id"].as_i64().unwrap())
        .collect();
    assert_eq!(ids.len(), 1200);
    assert!(ids.is_sorted(), "oldest first");
    let of_one = list(&["--server", &scene.server[..8]]);
    let of_one = of_one.as_array().unwrap();
    assert_eq!(of_one.len(), 120);
    assert!(of_one.iter().all(|row| row["server"] == scene.server));

    let ended = run(scene.admin.command().args(["admin", "schedule", "list"]));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(lines.len(), 1201, "one header");
    assert!(lines[0].contains("next_run_at"), "{}", lines[0]);
    assert!(lines[1200].contains("Number 1200"), "{}", lines[1200]);
    scene.database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_readme_make_a_nightly_backup_and_print_its_next_run() {
    let scene = Scene::new().await;
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let readme = fs_err::read_to_string(format!("{root}/README.md")).unwrap();
    let section = readme.split("\n## A backup every night\n").nth(1).unwrap();
    let commands = section.split("```").nth(1).unwrap();
    let commands: Vec<&str> = commands.lines().skip(1).collect();
    assert_eq!(commands.len(), 2, "{commands:?}");
    let program = scene.admin.command();
    for line in commands {
        let mut shell = std::process::Command::new("sh");
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell.env("SERVER", &scene.server[..8]);
        shell.env("HOLDFAST", program.get_program());
        let line = line.replace("target/release/holdfast", "\"$HOLDFAST\"");
        let ended = run(shell.args(["-c", &line]));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{line}");
        let has = |text: &str| ended.stdout.contains(text);
        assert!(has("next_run_at") && has("T04:00:00+00:00"), "{ended:?}");
    }
    let kept = "SELECT count(*) FROM schedules WHERE keep = 'last=7' AND next_run_at > now()";
    assert_eq!(scene.database.number(kept).await, 1);
    scene.database.drop().await;
}
