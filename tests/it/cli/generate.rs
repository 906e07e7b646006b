//! `holdfast generate …`: completions and manual pages.

use std::process::Command;

use crate::support::process::{holdfast, run};
use crate::support::{files, skipped};

#[test]
fn completions_know_every_command_and_are_scripts_of_their_shell() {
    let folder = files::scratch();
    for shell in ["bash", "zsh", "fish"] {
        let ended = run(holdfast(&[]).args(["generate", "completions", shell]));
        assert_eq!(
            (ended.code, ended.stderr.as_str()),
            (Some(0), ""),
            "{shell}"
        );
        for word in [
            "client",
            "download",
            "compare",
            "keep-other-files",
            "check-config",
        ] {
            assert!(ended.stdout.contains(word), "{shell}: {word}");
        }
        let script = folder.path().join(shell);
        fs_err::write(&script, &ended.stdout).unwrap();
        let Ok(checked) = Command::new(shell).arg("-n").arg(&script).output() else {
            skipped(&format!("there is no {shell}"));
            continue;
        };
        assert!(checked.status.success(), "{shell}: {checked:?}");
    }
    let unknown = run(holdfast(&[]).args(["generate", "completions", "tcsh"]));
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
}

#[test]
fn every_command_has_a_manual_page_without_values_of_the_environment() {
    let folder = files::scratch();
    let pages = folder.path().join("man/man1");
    let mut command = holdfast(&[]);
    command.env("HOLDFAST_DATA", "/a/private/place");
    command.env("HOLDFAST_KEY", "ptlc_secret");
    let ended = run(command.args(["generate", "man"]).arg(&pages));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let names = files::files_below(&pages);
    for name in [
        "holdfast.1",
        "holdfast-up.1",
        "holdfast-client.1",
        "holdfast-client-download.1",
        "holdfast-client-schedule-create.1",
        "holdfast-admin-key-create.1",
    ] {
        assert!(names.iter().any(|found| found == name), "{name}: {names:?}");
    }
    for name in &names {
        let page = fs_err::read_to_string(pages.join(name)).unwrap();
        assert!(page.contains(".SH NAME"), "{name}");
        assert!(
            !page.contains("/a/private/place") && !page.contains("ptlc_secret"),
            "{name}"
        );
    }
    let client = fs_err::read_to_string(pages.join("holdfast-client.1")).unwrap();
    assert!(
        client.contains("completed with notes"),
        "exit codes are explained"
    );
}
