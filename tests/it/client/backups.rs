//! Backups are created, listed, shown, awaited, verified and restored.

use std::process::Stdio;

use serde_json::json;

use super::Terminal;
use crate::support::app::App;
use crate::support::files::{make_server, write};

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_created_listed_verified_and_restored() {
    let app = App::start().await;
    let terminal = Terminal::of(&app);
    write(&app.directory.join("world/level.dat"), b"before");
    write(&app.directory.join("debug.log"), b"left out");

    let options = [
        "--name",
        "Before \u{1b}[2J",
        "--lock",
        "--full",
        "--ignore",
        "*.log",
    ];
    let made = terminal.run(&[&["create", "SERVER", "--wait"], &options[..]].concat());
    assert_eq!(made.code, Some(0), "{made:?}");
    assert!(
        made.stdout.starts_with("backup `Before \\u{1b}[2J` ("),
        "{made:?}"
    );
    assert!(made.stdout.contains(") is completed: "), "{made:?}");
    // No terminal: a line at each new step, and no bar.
    assert!(
        made.stderr.starts_with("backup `Before \\u{1b}[2J`: "),
        "{made:?}"
    );
    assert!(!made.stderr.contains(['\r', '\u{1b}']), "{made:?}");

    let listed = terminal.json(&["ls", "SERVER"]);
    let backup = &listed[0];
    assert_eq!(backup["is_locked"], true);
    assert_eq!(backup["ignored_files"], json!(["*.log"]));
    let uuid = backup["uuid"].as_str().unwrap();
    let rows = terminal.lines(&["ls", "SERVER"]);
    assert!(rows[0].starts_with("id "), "{rows:?}");
    assert!(rows[1].starts_with(&uuid[..8]), "{rows:?}");
    assert!(
        rows[1].contains(" yes ") && rows[1].contains(" completed "),
        "{rows:?}"
    );
    // By UUID, short ID and `latest`; by the name, short ID and UUID of the server.
    for (server, backup) in [
        ("Survival", uuid),
        (&terminal.server[..8], &uuid[..8]),
        ("SERVER", "latest"),
    ] {
        assert_eq!(terminal.json(&["show", server, backup])["uuid"], uuid);
        let shown = terminal.lines(&["show", server, backup]);
        assert!(
            shown.iter().any(|line| line.starts_with("sha256_hash")),
            "{shown:?}"
        );
    }
    let servers = terminal.lines(&["servers"]);
    assert!(servers[1].starts_with(&terminal.server[..8]), "{servers:?}");
    assert!(servers[1].contains("Survival"), "{servers:?}");

    let verified = terminal.run(&["verify", "SERVER", "latest", "--wait"]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    assert!(
        verified.stdout.starts_with("verification of backup "),
        "{verified:?}"
    );

    write(&app.directory.join("world/level.dat"), b"after");
    write(&app.directory.join("new.txt"), b"new");
    let kept = terminal.run(&["restore", "SERVER", uuid, "--keep-other-files", "--wait"]);
    assert_eq!(kept.code, Some(0), "{kept:?}");
    assert!(app.directory.join("new.txt").exists());
    let restored = terminal
        .run(&["restore", "SERVER", "latest", "--wait", "--json"])
        .json();
    assert_eq!(restored["restore"]["status"], "completed");
    assert!(!app.directory.join("new.txt").exists());
    let level = fs_err::read(app.directory.join("world/level.dat")).unwrap();
    assert_eq!(level, b"before");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_tell_failures_and_notes_apart() {
    let app = App::start().await;
    let terminal = Terminal::of(&app);
    // A link that leads out of the directory is worth a note.
    make_server(&app.directory);
    let noted = terminal.run(&["create", "SERVER", "--wait"]);
    assert_eq!(noted.code, Some(3), "{noted:?}");
    assert!(noted.stdout.contains(" is completed: "), "{noted:?}");
    assert!(noted.stderr.contains("holdfast: dangling: "), "{noted:?}");
    let again = terminal.run(&["wait", "SERVER", "--json"]);
    assert_eq!(again.code, Some(3), "{again:?}");
    let value: serde_json::Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!(value["notes"]["count"], 1, "{value}");

    let hidden = app.beside("hidden");
    fs_err::rename(&app.directory, &hidden).unwrap();
    let failed = terminal.run(&["create", "SERVER", "--wait", "--name", "Broken"]);
    assert_eq!(
        (failed.code, failed.stdout.as_str()),
        (Some(1), ""),
        "{failed:?}"
    );
    assert!(
        failed.stderr.contains("holdfast: backup `Broken` ("),
        "{failed:?}"
    );
    let failed = terminal.run(&["wait", "SERVER", "Broken", "--json"]);
    assert_eq!(failed.code, Some(1), "{failed:?}");
    let value: serde_json::Value = serde_json::from_str(&failed.stdout).unwrap();
    assert_eq!(value["status"], "failed");
    fs_err::rename(&hidden, &app.directory).unwrap();
    // `latest` passes over the failed one where a completed one is needed.
    let latest = terminal.json(&["show", "SERVER", "latest"]);
    assert_eq!(latest["name"], "Broken");
    let cat = terminal.run(&["cat", "SERVER", "latest", "empty.txt"]);
    assert_eq!((cat.code, cat.stdout.as_str()), (Some(0), ""), "{cat:?}");
    let refused = terminal.failure(&["download", "SERVER", "Broken"]);
    assert!(
        refused.contains("has no archive: its status is `failed`"),
        "{refused}"
    );
    let usage = terminal.run(&["create"]);
    assert_eq!(usage.code, Some(2), "{usage:?}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_awaited_and_cancelled() {
    let mut app = App::without_worker(&[]).await;
    let terminal = Terminal::of(&app);
    let made = terminal.lines(&["create", "SERVER", "--name", "Slow"]);
    assert!(made[0].ends_with(" is being created"), "{made:?}");
    let cancelled = terminal.lines(&["cancel", "SERVER", "latest"]);
    assert!(cancelled[0].ends_with(" is cancelled"), "{cancelled:?}");
    let refused = terminal.failure(&["cancel", "SERVER", "Slow"]);
    assert_eq!(refused, "Cannot cancel a backup that has already ended.");

    terminal.json(&["create", "SERVER", "--name", "Awaited"]);
    let mut command = terminal.command(&["wait", &terminal.server]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let waiting = command.spawn().unwrap();
    app.add_worker(&[]);
    let output = tokio::task::spawn_blocking(move || waiting.wait_with_output());
    let output = output.await.unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("`Awaited`"), "{text}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_cannot_restore_single_paths_is_not_asked_to() {
    let app = App::start().await;
    let terminal = Terminal::of(&app);
    write(&app.directory.join("a.txt"), b"old");
    write(&app.directory.join("b.txt"), b"old");
    app.backup().await;
    write(&app.directory.join("a.txt"), b"new");
    write(&app.directory.join("b.txt"), b"new");
    let document = reqwest::get(app.base_url_of("/api/openapi.json"))
        .await
        .unwrap();
    let document: serde_json::Value = document.json().await.unwrap();
    let paths = &document["components"]["schemas"]["RestoreBody"]["properties"]["paths"];
    let ended = terminal.run(&["restore", "SERVER", "latest", "--path", "a.txt", "--wait"]);
    let read = |name: &str| fs_err::read_to_string(app.directory.join(name)).unwrap();
    if paths.is_null() {
        assert!(
            ended.failure().contains("restores only whole backups"),
            "{ended:?}"
        );
        assert_eq!(read("a.txt"), "new");
    } else {
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(read("a.txt"), "old");
    }
    assert_eq!(read("b.txt"), "new");
    app.stop().await;
}
