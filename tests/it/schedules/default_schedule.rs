//! The default schedule: every server gets it from the settings, unless it is excluded.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use holdfast_db::schedules::apply_default;
use holdfast_domain::ignore::IgnorePatterns;
use holdfast_domain::schedule::{
    Cron, CronFields, DefaultSchedule, MissedPolicy, Timezone, Timing,
};

use super::support::{backup_task, delete, get, nightly, post};
use crate::cli::Admin;
use crate::support::app::{App, Setting};
use crate::support::database::TestDatabase;
use crate::support::process::{Process, holdfast};
use crate::support::{eventually, files};

/// The settings of a default schedule.
const NIGHTLY: [Setting<'_>; 6] = [
    ("schedules.default.cron", "15 4 * * *"),
    ("schedules.default.timezone", "Asia/Kathmandu"),
    ("schedules.default.jitter_seconds", "600"),
    ("schedules.default.missed", "skip"),
    ("schedules.default.keep", "last=7"),
    ("schedules.default.ignored", "*.log,cache/"),
];
const HOURLY: Setting<'_> = ("schedules.default.cron", "30 * * * *");
const COUNT: &str = "SELECT count(*) FROM schedules WHERE is_default";

/// Makes schedules due, so that their run begins now.
const DUE_NOW: &str = "UPDATE schedules SET next_due_at = now() - (next_run_at - next_due_at),
                              next_run_at = now()";

/// Waits until there are this many default schedules, and every server was looked at.
async fn becomes(database: &TestDatabase, count: i64, settings: &str) {
    let all = format!(
        "SELECT count(*) FROM servers s
         LEFT JOIN schedules d ON d.server_id = s.id AND d.is_default
         WHERE s.default_schedule {settings} ''"
    );
    let servers = database.number("SELECT count(*) FROM servers").await;
    eventually("the default schedule was applied", async || {
        let done = database.number(COUNT).await == count && database.number(&all).await == servers;
        done.then_some(())
    })
    .await;
}

/// The only row of a query.
async fn row(database: &TestDatabase, select: &str) -> Vec<Option<String>> {
    let mut rows = database.query(select).await;
    assert_eq!(rows.len(), 1, "{select}: {rows:?}");
    rows.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_server_gets_the_default_schedule_and_new_ones_as_well() {
    let mut app = App::without_worker(&[]).await;
    app.add_worker(&NIGHTLY);
    becomes(app.sql(), 1, "<>").await;
    let select = "SELECT s.name || ' ' || minute || ' ' || hour || ' ' || day_of_week, timezone,
                         jitter_seconds, missed, keep, is_active,
                         next_run_at - next_due_at BETWEEN '0 s' AND '600 s',
                         (next_due_at AT TIME ZONE 'Asia/Kathmandu')::time,
                         next_due_at BETWEEN now() AND now() + interval '1 day',
                         (SELECT string_agg(concat_ws(' ', sequence, action, payload), '; ')
                          FROM schedule_tasks t WHERE t.schedule_id = s.id)
                  FROM schedules s";
    let columns = row(app.sql(), select).await;
    let columns: Vec<&str> = columns.iter().map(|c| c.as_deref().unwrap()).collect();
    assert_eq!(
        columns,
        [
            "Default 15 4 *",
            "Asia/Kathmandu",
            "600",
            "skip",
            "last=7",
            "t",
            "t",
            "04:15:00",
            "t",
            "1 backup *.log\ncache/"
        ]
    );
    app.another_server("later").await;
    becomes(app.sql(), 2, "<>").await;
    let servers = "SELECT count(DISTINCT server_id) FROM schedules";
    assert_eq!(app.sql().number(servers).await, 2);

    // Nothing is written while nothing changes.
    let versions = "SELECT sum(xmin::text::bigint) FROM (
                        SELECT xmin FROM schedules UNION ALL SELECT xmin FROM servers) rows";
    let before = row(app.sql(), versions).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(row(app.sql(), versions).await, before);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_settings_change_every_default_schedule_and_keep_their_backups() {
    let mut app = App::without_worker(&[]).await;
    files::make_server(&app.directory);
    app.another_server("other").await;
    app.add_worker(&NIGHTLY);
    becomes(app.sql(), 2, "<>").await;
    let of_app = format!("is_default AND server_id = '{}'", app.server.id);
    let due = format!("{DUE_NOW} WHERE {of_app}");
    app.sql().query(&due).await;
    let backups = "SELECT count(*) FROM backups WHERE state = 'completed'";
    eventually("the default schedule made a backup", async || {
        (app.sql().number(backups).await == 1).then_some(())
    })
    .await;
    let ids = "SELECT string_agg(id::text, ' ' ORDER BY id) FROM schedules";
    let before = row(app.sql(), ids).await;

    app.stop_workers().await;
    app.add_worker(&[HOURLY]);
    let changed = "SELECT count(*) FROM schedules s JOIN schedule_tasks t ON t.schedule_id = s.id
                   WHERE minute = '30' AND hour = '*' AND timezone = 'UTC' AND keep IS NULL
                       AND missed = 'run_once' AND jitter_seconds = 3600 AND t.payload = ''
                       AND extract(minute FROM next_due_at) = 30 AND next_due_at > now()";
    eventually("the settings were applied", async || {
        (app.sql().number(changed).await == 2).then_some(())
    })
    .await;
    assert_eq!(row(app.sql(), ids).await, before, "the same schedules");

    // Switched off, they are gone. Their backups stay, as ordinary ones.
    app.stop_workers().await;
    app.add_worker(&[]);
    becomes(app.sql(), 0, "=").await;
    let kept = "SELECT count(*) FROM backups WHERE state = 'completed' AND schedule_id IS NULL";
    assert_eq!(app.sql().number(kept).await, 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_due_time_is_lost_when_the_settings_change() {
    let mut app = App::without_worker(&[]).await;
    files::make_server(&app.directory);
    app.add_worker(&NIGHTLY);
    becomes(app.sql(), 1, "<>").await;
    app.stop_workers().await;
    app.sql().query(DUE_NOW).await;
    app.add_worker(&[HOURLY]);
    eventually("the run of the old due time has ended", async || {
        let runs = "SELECT count(*) FROM schedule_runs WHERE state = 'completed' AND NOT is_manual";
        (app.sql().number(runs).await == 1).then_some(())
    })
    .await;
    let changed = "SELECT count(*) FROM schedules WHERE minute = '30' AND next_due_at > now()";
    eventually("the settings were applied", async || {
        (app.sql().number(changed).await == 1).then_some(())
    })
    .await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_can_be_excluded_and_one_without_backups_is() {
    let mut app = App::without_worker(&[]).await;
    app.add_worker(&NIGHTLY);
    becomes(app.sql(), 1, "<>").await;
    let admin = Admin::new(app.sql());
    let server = app.server.id.to_string();
    let set = |option: &str, value: &str| admin.json(&["server", "set", &server, option, value]);
    let gone = async || {
        // At once, and after the leader has looked again.
        for _ in 0..2 {
            assert_eq!(app.sql().number(COUNT).await, 0);
            tokio::time::sleep(Duration::from_millis(1200)).await;
        }
    };
    assert_eq!(
        set("--default-schedule", "off")["default_schedule"],
        json!(false)
    );
    gone().await;
    assert_eq!(
        set("--default-schedule", "on")["default_schedule"],
        json!(true)
    );
    becomes(app.sql(), 1, "<>").await;

    let listed = admin.json(&["schedule", "list"]);
    assert_eq!(listed[0]["is_default"], true);
    let id = listed[0]["id"].as_i64().unwrap().to_string();
    let failure = admin.failure(&["schedule", "set", &id, "--name", "Mine"]);
    assert!(
        failure.contains("schedules.default") && failure.contains("--default-schedule off"),
        "{failure}"
    );
    admin.json(&["schedule", "run", &id]);
    admin.json(&["schedule", "delete", &id]);
    gone().await;
    let excluded = "SELECT count(*) FROM servers WHERE no_default_schedule";
    assert_eq!(app.sql().number(excluded).await, 1);
    set("--default-schedule", "on");
    becomes(app.sql(), 1, "<>").await;

    set("--backup-limit", "0");
    becomes(app.sql(), 0, "<>").await;
    set("--backup-limit", "3");
    becomes(app.sql(), 1, "<>").await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_see_run_and_delete_the_default_schedule_but_do_not_change_it() {
    let mut app = App::without_worker(&[]).await;
    let owner = app.as_owner();
    app.add_worker(&NIGHTLY);
    becomes(app.sql(), 1, "<>").await;
    let listed = get(&owner, "").await.json();
    let schedule = &listed["data"][0]["attributes"];
    assert_eq!(schedule["name"], "Default", "{listed}");
    let path = format!("/{}", schedule["id"]);
    let tasks = &schedule["relationships"]["tasks"]["data"];
    let task = format!("{path}/tasks/{}", tasks[0]["attributes"]["id"]);
    for (path, body) in [
        (path.clone(), nightly(&json!({}))),
        (format!("{path}/tasks"), backup_task(&json!({}))),
        (task.clone(), backup_task(&json!({}))),
    ] {
        let refused = post(&owner, &path, &body).await;
        assert_eq!(refused.status, 409, "{path}");
        let error = &refused.json()["errors"][0];
        assert_eq!(error["code"], "ConflictHttpException");
        let detail = error["detail"].as_str().unwrap();
        assert!(detail.contains("schedules.default"), "{detail}");
    }
    assert_eq!(delete(&owner, &task).await.status, 409);
    assert_eq!(get(&owner, &path).await.attributes(), *schedule);

    let run = post(&owner, &format!("{path}/execute"), &json!({})).await;
    assert_eq!(run.status, 202);
    assert_eq!(delete(&owner, &path).await.status, 204);
    let excluded = "SELECT count(*) FROM servers WHERE no_default_schedule";
    assert_eq!(app.sql().number(excluded).await, 1);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(get(&owner, "").await.json()["data"], json!([]));
    app.stop().await;
}

/// Inserts servers.
async fn servers(database: &TestDatabase, count: u32) {
    database
        .query(&format!(
            "INSERT INTO users (id, email, is_admin)
             VALUES ('00000000-0000-4000-8000-000000000000', 'o@example.com', false);
             INSERT INTO servers (id, owner_id, name, directory, node)
             SELECT gen_random_uuid(), '00000000-0000-4000-8000-000000000000', 'S', '/srv/' || n,
                    'local'
             FROM generate_series(1, {count}) n"
        ))
        .await;
}

/// Every server has one default schedule with one task.
async fn assert_complete(database: &TestDatabase, servers: i64) {
    let complete = "SELECT count(*) FROM servers s
                    JOIN schedules d ON d.server_id = s.id AND d.is_default
                    JOIN schedule_tasks t ON t.schedule_id = d.id AND t.sequence = 1
                    WHERE d.next_run_at IS NOT NULL AND s.default_schedule <> ''";
    assert_eq!(database.number(complete).await, servers);
    for table in ["schedules", "schedule_tasks"] {
        let rows = format!("SELECT count(*) FROM {table}");
        assert_eq!(database.number(&rows).await, servers, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_two_batches_leaves_nothing_half_done() {
    let database = TestDatabase::create().await;
    servers(&database, 3000).await;
    let folder = files::scratch();
    let url = database.url();
    let settings = [("database.url", url.as_str()), NIGHTLY[0]];
    let start = || {
        let mut command = holdfast(&settings);
        command.args(["worker", "--data"]).arg(folder.path());
        Process::start(&mut command, folder.path())
    };
    let mut worker = start();
    eventually("the worker is in the middle", async || {
        (database.number(COUNT).await > 0).then_some(())
    })
    .await;
    worker.signal(Signal::KILL);
    worker.ended().await;
    let done = database.number(COUNT).await;
    eprintln!("killed after {done} of 3000 servers");
    let half = "SELECT count(*) FROM servers s
                LEFT JOIN schedules d ON d.server_id = s.id AND d.is_default
                LEFT JOIN schedule_tasks t ON t.schedule_id = d.id
                WHERE (s.default_schedule <> '') <> (d.id IS NOT NULL)
                    OR (d.id IS NOT NULL) <> (t.id IS NOT NULL)";
    assert_eq!(database.number(half).await, 0);
    let mut worker = start();
    becomes(&database, 3000, "<>").await;
    worker.signal(Signal::TERM);
    worker.ended().await;
    assert_complete(&database, 3000).await;
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_leaders_for_a_moment_do_no_harm() {
    let raw = TestDatabase::create().await;
    servers(&raw, 500).await;
    let database = raw.connect().await;
    let cron = Cron::parse(CronFields::split("0 4 * * *").unwrap()).unwrap();
    let default = DefaultSchedule {
        timing: Timing {
            cron,
            timezone: Timezone::UTC,
            jitter_seconds: 3600,
            missed: MissedPolicy::RunOnce,
        },
        keep: None,
        ignored: IgnorePatterns::default(),
    };
    let lead = async || {
        let mut changed = 0;
        // A batch may find all its rows locked by the other leader.
        for _ in 0..200 {
            changed += apply_default(&database, Some(&default), 10, 20)
                .await
                .unwrap();
        }
        changed
    };
    let (one, two) = tokio::join!(lead(), lead());
    assert_eq!(one + two, 500, "{one} and {two}");
    assert_complete(&raw, 500).await;
    holdfast_cli::service::close(&database).await;
    raw.drop().await;
}
