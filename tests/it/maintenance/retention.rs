//! Old backups are deleted, except locked ones and the last good one. Users can see beforehand
//! which ones, and why.

use serde_json::{Value, json};

use super::{admin, age, lines};
use crate::support::app::App;
use crate::support::{eventually, files};

/// Which backups, and why.
fn told(rows: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let rows = rows.as_array().unwrap().iter();
    rows.map(|row| (text(&row["backup"]), text(&row["reason"])))
        .collect()
}

async fn gone(app: &App, uuids: &[&str]) {
    let owner = app.as_owner();
    eventually("the backups are gone", async || {
        for uuid in uuids {
            if owner.show(uuid).await.status != 404 {
                return None;
            }
        }
        Some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_deletions_with_reasons_and_a_run_performs_them() {
    let app = App::start_with(&[("maintenance.interval_seconds", "604800")]).await;
    files::make_server(&app.directory);
    let failed = app.failed_backup().await;
    let (oldest, locked, old, newest) = (
        app.backup().await,
        app.backup().await,
        app.backup().await,
        app.backup().await,
    );
    let lock = app.as_owner().lock(&locked, json!({})).await;
    assert_eq!(lock.status, 204);
    for (uuid, days) in [
        (&failed, 91),
        (&oldest, 91),
        (&locked, 91),
        (&old, 89),
        (&newest, 3),
    ] {
        age(&app, uuid, days).await;
    }
    let expected = [
        (oldest.clone(), "it is older than 90 days".to_owned()),
        (failed.clone(), "it failed more than 90 days ago".to_owned()),
    ];
    let dry = admin(&app, &[], &["retention", "--dry-run"]).json();
    let mut found = told(&dry);
    found.sort();
    let mut sorted = expected.to_vec();
    sorted.sort();
    assert_eq!(found, sorted, "{dry}");
    assert!(
        dry.as_array()
            .unwrap()
            .iter()
            .all(|row| row["job"].is_null())
    );
    // Kept backups are shown on request, each with its reason.
    let short = app.server.id.short();
    let kept = admin(
        &app,
        &[],
        &["retention", "--dry-run", "--kept", "--server", &short],
    )
    .json();
    let reason = |uuid: &str| {
        let all = told(&kept);
        all.into_iter()
            .find(|(backup, _)| backup == uuid)
            .unwrap()
            .1
    };
    assert_eq!(reason(&newest), "it is the newest that completed");
    assert_eq!(reason(&locked), "it is locked");
    assert_eq!(reason(&old), "it is not older than 90 days");
    // Nothing was deleted yet.
    assert_eq!(app.sql().number("SELECT count(*) FROM backups").await, 5);

    let archive = app.archive(&oldest);
    assert!(archive.exists());
    let run = admin(&app, &[], &["retention"]).json();
    assert!(
        run.as_array()
            .unwrap()
            .iter()
            .all(|row| row["job"].is_number()),
        "{run}"
    );
    gone(&app, &[&oldest, &failed]).await;
    assert!(!archive.exists());
    for uuid in [&locked, &old, &newest] {
        assert_eq!(app.as_owner().show(uuid).await.status, 200);
    }
    // The audit log says that the service deleted it, and why. The list of maintenance runs has the
    // number.
    let told = "SELECT properties ->> 'reason' FROM activity
                WHERE event = 'server:backup.delete' AND actor_id IS NULL ORDER BY 1";
    let rows = app.sql().query(told).await;
    let reasons: Vec<String> = rows
        .into_iter()
        .map(|row| row[0].clone().unwrap())
        .collect();
    assert_eq!(
        reasons,
        [
            "retention: it failed more than 90 days ago",
            "retention: it is older than 90 days"
        ]
    );
    let by_hand = lines(&app, "retention");
    let by_hand = by_hand
        .iter()
        .find(|line| line["worker"] == "admin")
        .unwrap();
    assert_eq!(by_hand["counts"], json!({"removed": 2, "kept": 3}));
    assert_eq!(told_nothing(&app), json!([]));
    app.stop().await;
}

fn told_nothing(app: &App) -> Value {
    admin(app, &[], &["retention", "--dry-run"]).json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_deletes_old_backups_but_never_the_last_good_one() {
    let mut app = App::without_worker(&[("maintenance.interval_seconds", "1")]).await;
    files::make_server(&app.directory);
    app.add_worker(&[("retention.days", "0")]);
    let (good, missing) = (app.backup().await, app.backup().await);
    let older = app.backup().await;
    app.stop_workers().await;
    for (uuid, days) in [(&older, 300), (&good, 200), (&missing, 100)] {
        age(&app, uuid, days).await;
    }
    // The archive of the newest is missing, so it does not count as good.
    app.sql()
        .query(&format!(
            "UPDATE backups SET missing_since = now() WHERE id = '{missing}'"
        ))
        .await;
    app.add_worker(&[]);
    gone(&app, &[&older]).await;
    let runs = lines(&app, "retention").len();
    eventually("retention has run again", async || {
        (lines(&app, "retention").len() > runs + 1).then_some(())
    })
    .await;
    for uuid in [&good, &missing] {
        assert_eq!(app.as_owner().show(uuid).await.status, 200);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_or_missing_archive_is_never_the_last_good_one() {
    let app = App::start_with(&[("maintenance.interval_seconds", "604800")]).await;
    files::make_server(&app.directory);
    let (older, good, newest) = (app.backup().await, app.backup().await, app.backup().await);
    for (uuid, days) in [(&older, 300), (&good, 200), (&newest, 100)] {
        age(&app, uuid, days).await;
    }
    let would_go = || {
        let told = told(&admin(&app, &[], &["retention", "--dry-run"]).json());
        let uuids = told.into_iter().map(|(uuid, _)| uuid);
        uuids.collect::<Vec<_>>()
    };
    assert_eq!(would_go(), [good.clone(), older.clone()]);
    for mark in ["damaged_at", "missing_since"] {
        let set =
            |value: &str| format!("UPDATE backups SET {mark} = {value} WHERE id = '{newest}'");
        app.sql().query(&set("now()")).await;
        assert_eq!(would_go(), std::slice::from_ref(&older), "{mark}");
        app.sql().query(&set("NULL")).await;
    }
    assert_eq!(would_go(), [good, older]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_thin_out_backups_and_a_server_may_have_its_own_days() {
    let mut app = App::start_with(&[("maintenance.interval_seconds", "604800")]).await;
    files::make_server(&app.directory);
    let mut uuids = Vec::new();
    for days in [5, 4, 3] {
        let uuid = app.backup().await;
        age(&app, &uuid, days).await;
        uuids.push(uuid);
    }
    let keep_two = [("retention.keep_last", "2")];
    let rows = admin(&app, &keep_two, &["retention", "--dry-run"]).json();
    assert_eq!(
        told(&rows),
        [(uuids[0].clone(), "no keep rule keeps it".to_owned())]
    );
    app.server.limits.retention_days = Some(4);
    app.save_server().await;
    let rows = admin(&app, &keep_two, &["retention", "--dry-run"]).json();
    let old = "it is older than 4 days".to_owned();
    assert_eq!(
        told(&rows),
        [(uuids[1].clone(), old.clone()), (uuids[0].clone(), old)]
    );
    // The server has rules of its own, too. Days then apply only to backups that the rules do not
    // decide.
    let short = app.server.id.short();
    let set = |rules: &str| admin(&app, &[], &["server", "set", &short, "--keep", rules]);
    assert_eq!(set("last=1").json()["keep"], "last=1");
    let rows = admin(&app, &[], &["retention", "--dry-run"]).json();
    let thinned = "no keep rule keeps it".to_owned();
    assert_eq!(
        told(&rows),
        [
            (uuids[1].clone(), thinned.clone()),
            (uuids[0].clone(), thinned)
        ]
    );
    let refused = set("last=0");
    assert_eq!(refused.code, Some(2));
    assert!(
        refused
            .stderr
            .contains("must be `settings`, or some of within=DAYS")
    );
    assert_eq!(set("settings").json()["keep"], Value::Null);
    // Stores the test's own copy of the row again.
    app.server.limits.retention_days = Some(0);
    app.save_server().await;
    assert_eq!(
        admin(&app, &keep_two, &["retention", "--dry-run"]).json(),
        json!([])
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_skips_backups_in_use_and_requests_no_deletion_twice() {
    let mut app = App::start_with(&[("maintenance.interval_seconds", "604800")]).await;
    files::make_server(&app.directory);
    let (restored, old, _newest) = (app.backup().await, app.backup().await, app.backup().await);
    for uuid in [&restored, &old] {
        age(&app, uuid, 1000).await;
    }
    app.stop_workers().await;
    assert_eq!(
        app.as_owner().restore(&restored, json!({})).await.status,
        202
    );
    let ask = || told(&admin(&app, &[], &["retention"]).json());
    assert_eq!(
        ask(),
        [(old.clone(), "it is older than 90 days".to_owned())]
    );
    // Its deletion waits for a worker. For retention it no longer exists.
    assert_eq!(ask(), []);
    assert_eq!(app.as_owner().lock(&old, json!({})).await.status, 404);
    let deletions = "SELECT count(*) FROM jobs WHERE kind = 'delete_backup'";
    assert_eq!(app.sql().number(deletions).await, 1);
    app.stop().await;
}
