//! Valid and invalid command lines and settings.

use super::Admin;
use crate::support::app::{Setting, variable};
use crate::support::database::TestDatabase;
use crate::support::files;
use crate::support::process::{holdfast, run};

#[test]
fn all_wrong_settings_are_reported_at_once() {
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

    // Other commands report the same in their one line, and create nothing.
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
    let text = "the settings are valid\n";
    assert_eq!((fine.code, fine.stdout.as_str()), (Some(0), text));
}

#[test]
fn an_invalid_command_line_exits_with_2() {
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
        // No client can have this address.
        &[
            "admin",
            "key",
            "create",
            "--user",
            "a",
            "--allowed-ip",
            "0.0.0.0",
        ],
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
fn every_command_has_a_help_text() {
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
async fn migrate_prepares_a_database_and_reports_one_that_is_away() {
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
