//! Ignore patterns: what is refused in a request is left out of a server's own list with a note.

use serde_json::json;

use crate::support::app::App;
use crate::support::files;

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_that_cannot_be_used_is_refused_by_its_number() {
    let app = App::without_worker(&[]).await;
    let owner = app.as_owner();
    let long = "x".repeat(1025);
    let wild = "*x".repeat(65);
    let many = "a\n".repeat(257);
    for (ignored, field, rule) in [
        (json!(["ok", null, long]), "ignored.2", "max"),
        (json!(["ok", format!("a\n{wild}")]), "ignored.1", "max"),
        (json!(["a\u{0}b"]), "ignored.0", "string"),
        (json!(["ok", many]), "ignored", "max"),
        (json!(long), "ignored", "max"),
    ] {
        let answer = owner.create(json!({ "ignored": ignored })).await;
        assert_eq!(answer.status, 422);
        let source = &answer.json()["errors"][0]["meta"];
        assert_eq!(*source, json!({ "source_field": field, "rule": rule }));
    }
    // A comment is no pattern.
    let comment = format!("#{}", "*".repeat(32 << 10));
    let created = owner.create(json!({ "ignored": [comment, "a"] })).await;
    assert_eq!(created.attributes()["ignored_files"], json!([comment, "a"]));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_a_server_that_cannot_be_used_are_left_out_with_a_note() {
    let app = App::start().await;
    files::make_server(&app.directory);
    let comment = format!("#{}", "*".repeat(20_000));
    let list = [
        comment.as_bytes(),
        b"*.log",
        "x".repeat(1025).as_bytes(),
        b"caf\xe9",
        b"!latest.log",
    ]
    .join(&b'\n');
    files::write(&app.directory.join(".pteroignore"), &list);
    files::write(&app.directory.join("latest.log"), b"kept");
    let uuid = app.backup().await;
    let shown = app.as_owner().show(&uuid).await.attributes();
    assert_eq!(
        shown["ignored_files"],
        json!([comment, "*.log", "!latest.log"])
    );
    // The third note is about the link of `make_server` that leads out of the directory.
    assert_eq!(shown["notes"]["count"], 3, "{}", shown["notes"]);
    let notes = shown["notes"].to_string();
    for text in [
        ".pteroignore: line 3 was left out: it is longer than 1024 bytes",
        ".pteroignore: line 4 was left out: it is not UTF-8",
    ] {
        assert!(notes.contains(text), "{notes}");
    }
    let names = files::list(&app.archive(&uuid));
    let mut logs = names.iter().filter(|name| name.ends_with(".log"));
    assert!(logs.all(|name| name.ends_with("latest.log")), "{names:?}");
    assert!(names.contains(&"latest.log".to_owned()), "{names:?}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pelicanignore_applies_to_servers_without_a_pteroignore() {
    let app = App::start().await;
    files::make_server(&app.directory);
    for (list, applied) in [
        (".pelicanignore", json!(["*.log"])),
        (".pteroignore", json!(["plugins/"])),
    ] {
        let pattern = applied[0].as_str().unwrap();
        files::write(
            &app.directory.join(list),
            format!("{pattern}\r\n").as_bytes(),
        );
        let uuid = app.backup().await;
        let shown = app.as_owner().show(&uuid).await.attributes();
        assert_eq!(shown["ignored_files"], applied, "{list}");
        let names = files::list(&app.archive(&uuid));
        let has = |part: &str| names.iter().any(|name| name.contains(part));
        let expected = (pattern != "*.log", pattern != "plugins/");
        assert_eq!((has(".log"), has("plugins")), expected, "{list}: {names:?}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_notes_about_a_list_are_kept_when_an_attempt_is_repeated() {
    let mut app = App::without_worker(&[]).await;
    files::make_server(&app.directory);
    let list = format!("*.log\n{}", "x".repeat(1025));
    files::write(&app.directory.join(".pteroignore"), list.as_bytes());
    let uuid = app.as_owner().create(json!({})).await.uuid();
    // The first attempt stored the patterns and then failed.
    app.sql()
        .query("UPDATE backups SET ignored_files = '{*.log}'; UPDATE jobs SET attempt = 1")
        .await;
    app.add_worker(&[]);
    let ended = app.ended(&uuid).await;
    assert_eq!(ended["status"], "completed");
    // The other note is about the link of `make_server` that leads out of the directory.
    assert_eq!(ended["notes"]["count"], 2, "{}", ended["notes"]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_runs_longer_than_its_limit_fails_with_that_reason() {
    let app = App::start_with(&[
        ("limits.job_seconds", "1"),
        ("worker.read_limit_bytes_per_second", "1024"),
    ])
    .await;
    files::write(&app.directory.join("large"), &vec![7; 1 << 20]);
    let uuid = app.as_owner().create(json!({})).await.uuid();
    let failed = app.ended(&uuid).await;
    assert_eq!(
        failed["error"],
        "The job ran longer than the 1 seconds that are allowed."
    );
    assert_eq!(files::files_below(&app.disk), [".holdfast-disk"]);
    let attempts = "SELECT max(attempt) FROM jobs WHERE state = 'discarded'";
    assert_eq!(app.sql().number(attempts).await, 1);
    app.stop().await;
}
