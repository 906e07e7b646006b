//! Sweeps in both directions: old orphans are removed, unknown objects stay, and missing archives
//! are reported.

use std::fs::FileTimes;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{admin, lines};
use crate::support::app::App;
use crate::support::{eventually, files};

/// Makes a file look as if it were two days old.
fn make_old(path: &Path) {
    let file = fs_err::OpenOptions::new().write(true).open(path).unwrap();
    let time = SystemTime::now() - Duration::from_secs(2 * 24 * 3600);
    file.file()
        .set_times(FileTimes::new().set_modified(time))
        .unwrap();
}

/// An object of a server on the disk `local`.
fn object(app: &App, server: Uuid, name: &str, is_old: bool) -> PathBuf {
    let path = app.disk.join(server.to_string()).join(name);
    files::write(&path, b"an object");
    if is_old {
        make_old(&path);
    }
    path
}

fn sweep(app: &App, arguments: &[&str]) -> Value {
    let arguments = [&["storage", "sweep", "--disk", "local"], arguments].concat();
    admin(app, &[], &arguments).json()[0].clone()
}

/// The files of the disk, without its marker.
fn stored(app: &App) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in fs_err::read_dir(&app.disk).unwrap() {
        let folder = folder.unwrap().path();
        if folder.is_dir() {
            let entries = fs_err::read_dir(folder).unwrap();
            found.extend(entries.map(|entry| entry.unwrap().path()));
        }
    }
    found.sort();
    found
}

/// A service without maintenance.
async fn quiet_app() -> App {
    let app = App::start_with(&[
        ("maintenance.interval_seconds", "604800"),
        ("maintenance.sweep_interval_seconds", "0"),
    ])
    .await;
    files::make_server(&app.directory);
    eventually("what is due at the start is done", async || {
        let runs = "SELECT count(*) FROM maintenance_runs WHERE finished_at IS NOT NULL AND task IN
                    ('retention', 'pruning', 'partials', 'staging')";
        (app.sql().number(runs).await == 4).then_some(())
    })
    .await;
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn only_old_objects_that_are_proven_orphans_are_removed() {
    let app = quiet_app().await;
    let server = app.server.id.0;
    let (kept, failed, deleted) = (
        app.backup().await,
        app.failed_backup().await,
        app.backup().await,
    );
    assert_eq!(app.as_owner().delete(&deleted).await.status, 204);
    // Archives of attempts that did not count, and of a deleted backup.
    let other_attempt = object(&app, server, &format!("{kept}.2.tar.gz"), true);
    let of_failed = object(&app, server, &format!("{failed}.tar.gz"), true);
    let of_deleted = object(&app, server, &format!("{deleted}.3.tar.gz"), true);
    let too_young = object(&app, server, &format!("{failed}.2.tar.gz"), false);
    // An object that this database does not know. It may be newer than the database.
    let unknown = object(&app, server, &format!("{}.tar.gz", Uuid::new_v4()), true);
    let foreign = object(
        &app,
        Uuid::new_v4(),
        &format!("{}.json", Uuid::new_v4()),
        true,
    );
    let own = app.archive(&kept);
    make_old(&own);
    let not_ours = object(&app, server, "notes.txt", true);
    let probe = app.disk.join(".holdfast-probe-1");
    files::write(&probe, b"x");
    make_old(&probe);

    let before = stored(&app);
    let dry = sweep(&app, &["--dry-run"]);
    let counts = |row: &Value| {
        [
            "left_over",
            "young",
            "unknown",
            "missing",
            "removed",
            "failed",
        ]
        .map(|name| row[name].as_u64().unwrap())
    };
    assert_eq!(counts(&dry), [3, 1, 2, 0, 3, 0], "{dry}");
    assert_eq!(stored(&app), before, "a dry run changes nothing");
    assert!(probe.exists());

    let swept = sweep(&app, &[]);
    assert_eq!(counts(&swept), [3, 1, 2, 0, 4, 0], "{swept}");
    for path in [&other_attempt, &of_failed, &of_deleted, &probe] {
        assert!(!path.exists(), "{}", path.display());
    }
    for path in [&too_young, &unknown, &foreign, &own, &not_ours] {
        assert!(path.exists(), "{}", path.display());
    }
    let findings = swept["findings"].as_array().unwrap();
    let finding = findings.iter().find(|f| f["kind"] == "unknown").unwrap();
    assert_eq!(
        (&finding["removed"], &finding["bytes"]),
        (&json!(false), &json!(9))
    );

    // Unknown objects are removed only on request, and never those that a backup needs.
    let all = sweep(&app, &["--unknown"]);
    assert_eq!(counts(&all), [0, 1, 2, 0, 2, 0], "{all}");
    assert!(!unknown.exists() && !foreign.exists() && own.exists());
    assert_eq!(app.as_owner().restore(&kept, json!({})).await.status, 202);
    assert_eq!(app.restored(&kept).await["status"], "completed");
    let line = &lines(&app, "admin sweep")[0];
    assert_eq!(
        (&line["subject"], &line["error"]),
        (&json!("local"), &json!(null))
    );
    assert_eq!(line["counts"]["unknown"], 2);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_database_removes_nothing() {
    let mut app = quiet_app().await;
    for _ in 0..3 {
        app.backup().await;
    }
    for path in stored(&app) {
        make_old(&path);
    }
    let before = stored(&app);
    assert_eq!(before.len(), 9);
    app.stop_workers().await;
    // First the database is an older copy, in which the backups do not exist yet. Then it is empty.
    for loss in [
        "DELETE FROM backups; DELETE FROM jobs; DELETE FROM activity",
        "DELETE FROM servers",
    ] {
        app.sql().query(loss).await;
        app.sql().query("DELETE FROM maintenance_runs").await;
        app.add_worker(&[
            ("maintenance.sweep_interval_seconds", "1"),
            ("maintenance.interval_seconds", "1"),
        ]);
        let line = eventually("the disk was swept", async || {
            let lines = lines(&app, "sweep");
            // At first the disk may still belong to the previous worker, whose session PostgreSQL
            // has not ended yet.
            let another = |line: &Value| {
                let error = line["error"].as_str();
                error.is_some_and(|error| error.starts_with("another process"))
            };
            lines
                .into_iter()
                .find(|line| !line["finished_at"].is_null() && !another(line))
        })
        .await;
        assert_eq!(line["counts"]["unknown"], 9, "{line}");
        assert_eq!(line["error"], json!(null));
        app.stop_workers().await;
        assert_eq!(stored(&app), before);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_whose_archive_is_missing_is_marked_until_it_is_found_again() {
    let app = quiet_app().await;
    let (one, other) = (app.backup().await, app.backup().await);
    let (archive, hidden) = (app.archive(&one), app.beside("hidden.tar.gz"));
    fs_err::rename(&archive, &hidden).unwrap();
    let marked =
        format!("SELECT count(*) FROM backups WHERE missing_since IS NOT NULL AND id = '{one}'");
    let dry = sweep(&app, &["--dry-run"]);
    assert_eq!(
        (&dry["missing"], &dry["archives"]),
        (&json!(1), &json!(2)),
        "{dry}"
    );
    assert_eq!(app.sql().number(&marked).await, 0);
    let swept = sweep(&app, &[]);
    let name = archive.file_name().unwrap().to_str().unwrap();
    let finding = &swept["findings"][0];
    assert_eq!(finding["kind"], "missing");
    assert!(
        finding["object"].as_str().unwrap().ends_with(name),
        "{finding}"
    );
    assert_eq!(app.sql().number(&marked).await, 1);
    // Its row stays, and so does the other's.
    assert_eq!(app.as_owner().show(&one).await.status, 200);
    assert_eq!(app.as_owner().show(&other).await.status, 200);
    fs_err::rename(&hidden, &archive).unwrap();
    assert_eq!(sweep(&app, &[])["found_again"], 1);
    assert_eq!(app.sql().number(&marked).await, 0);
    // While a whole disk is away, nothing is known about its contents.
    let away = app.beside("away");
    fs_err::rename(&app.disk, &away).unwrap();
    fs_err::create_dir(&app.disk).unwrap();
    fs_err::write(app.disk.join(".holdfast-disk"), "other\n").unwrap();
    let refused = admin(&app, &[], &["storage", "sweep"]);
    assert_ne!(refused.code, Some(0));
    fs_err::remove_dir_all(&app.disk).unwrap();
    fs_err::rename(&away, &app.disk).unwrap();
    assert_eq!(app.sql().number(&marked).await, 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partial_uploads_are_removed_once_their_attempt_has_ended() {
    let app = quiet_app().await;
    let server = app.server.id.0;
    let ended = app.failed_backup().await;
    let left = object(&app, server, &format!(".{ended}.tar.gz.partial"), false);
    let unknown = object(
        &app,
        server,
        &format!(".{}.tar.gz.partial", Uuid::new_v4()),
        true,
    );
    // A third attempt runs. The leftovers of the second are removed; the files of the third are
    // not.
    let running = Uuid::new_v4();
    app.sql()
        .query(&format!(
            "INSERT INTO backups (id, server_id, name, disk, node) VALUES ('{running}', \
             '{server}', 'b', 'local', 'local');
             INSERT INTO jobs (kind, server_id, backup_id, node, state, attempt, claimed_by, \
             lease_expires_at)
             VALUES ('create_backup', '{server}', '{running}', 'local', 'running', 3, 'w', \
             now() + interval '1 hour')"
        ))
        .await;
    let second = object(&app, server, &format!(".{running}.2.tar.gz.partial"), false);
    let third = object(&app, server, &format!(".{running}.3.tar.gz.partial"), true);
    let whole = object(&app, server, &format!("{running}.3.index"), true);
    let swept = sweep(&app, &[]);
    assert_eq!(
        (&swept["partial"], &swept["unknown"]),
        (&json!(2), &json!(1)),
        "{swept}"
    );
    assert!(!left.exists() && !second.exists());
    assert!(unknown.exists() && third.exists() && whole.exists());
    assert_eq!(sweep(&app, &["--unknown"])["removed"], 1);
    assert!(!unknown.exists() && third.exists() && whole.exists());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn abandoned_staging_folders_are_removed_when_they_are_old() {
    let mut app = App::without_worker(&[]).await;
    files::make_server(&app.directory);
    let parent = app.directory.parent().unwrap().to_owned();
    let make = |name: &str, is_old: bool| {
        let staging = parent.join(format!(".holdfast-restore-{name}"));
        files::write(&staging.join("tree/world/level.dat"), b"x");
        if is_old {
            let time = SystemTime::now() - Duration::from_secs(2 * 24 * 3600);
            let folder = fs_err::File::open(&staging).unwrap();
            let times = FileTimes::new().set_modified(time);
            folder.file().set_times(times).unwrap();
        }
        staging
    };
    let own = make("server", true);
    let (stray, young, marked) = (
        make("gone", true),
        make("young", false),
        make("marked", false),
    );
    fs_err::write(marked.join("moving-out"), b"").unwrap();
    let time = SystemTime::now() - Duration::from_secs(2 * 24 * 3600);
    let times = FileTimes::new().set_modified(time);
    fs_err::File::open(&marked)
        .unwrap()
        .file()
        .set_times(times)
        .unwrap();
    app.add_worker(&[]);
    eventually("the node was looked at", async || {
        let lines = lines(&app, "staging");
        lines
            .into_iter()
            .find(|line| !line["finished_at"].is_null())
    })
    .await;
    assert!(!own.exists() && !stray.exists());
    assert!(young.exists() && marked.exists());
    app.stop().await;
}
