//! `holdfast admin schedule …`: its refusals.

use super::schedules::Scene;
use crate::support::app::variable;
use crate::support::process::run;

#[tokio::test(flavor = "multi_thread")]
async fn refused_schedules_change_nothing_and_say_why() {
    let scene = Scene::new().await;
    let data = scene.admin.data.path();
    let (missing, long) = (data.join("missing"), data.join("long"));
    fs_err::write(&long, "x".repeat(2000)).unwrap();
    let (missing, long) = (missing.to_str().unwrap(), long.to_str().unwrap());
    let create = ["schedule", "create", "--server", &scene.server];
    let nightly = ["--cron", "0 4 * * *"];
    let ten = ["--after", "x"].repeat(10);
    let command = "x".repeat(4001);
    let name = "x".repeat(192);
    let field = format!("{} 4 * * *", "1,".repeat(5000));
    // A wrong value is a wrong command line, with exit code 2.
    for (arguments, text) in [
        (&["--cron", "0 4 * *"][..], "five fields"),
        (&["--cron", "0 4 * * * *"], "five fields"),
        (&["--cron", "@daily"], "five fields"),
        (&["--cron", "60 4 * * *"], "cron expression is invalid"),
        (&["--cron", "0 4 30 2 *"], "never comes due"),
        (&["--cron", &field], "cron expression is invalid"),
        (
            &[&nightly[..], &["--timezone", "Berlin"]].concat(),
            "Europe/Berlin",
        ),
        (
            &[&nightly[..], &["--jitter", "-5m"]].concat(),
            "such as 90s",
        ),
        (
            &[&nightly[..], &["--jitter", "25h"]].concat(),
            "at most 24h",
        ),
        (
            &[&nightly[..], &["--missed", "twice"]].concat(),
            "run-once or skip",
        ),
        (&[&nightly[..], &["--keep", "all"]].concat(), "last"),
        (&[&nightly[..], &["--name", " "]].concat(), "blank"),
        (&[&nightly[..], &["--name", &name]].concat(), "191"),
        (&[&nightly[..], &["--before", "a\nb"]].concat(), "one line"),
        (
            &[&nightly[..], &["--after", &command]].concat(),
            "4000 bytes",
        ),
        (&[], "--cron"),
    ] {
        let ended = scene.with_docker(&[&create[..], arguments].concat());
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(text), "{arguments:?}: {ended:?}");
    }
    for (arguments, text) in [
        (
            &[
                "schedule",
                "create",
                "--server",
                "ffffffff",
                "--cron",
                "0 4 * * *",
            ][..],
            "admin server list",
        ),
        (
            &[&create[..], &nightly, &["--ignored", missing]].concat(),
            "No such file",
        ),
        (
            &[&create[..], &nightly, &["--ignored", long]].concat(),
            "longer than 1024 bytes",
        ),
        (&[&create[..], &nightly, &ten].concat(), "at most 10 tasks"),
        (&["schedule", "show", "99"], "admin schedule list"),
        (
            &["schedule", "set", "99", "--name", "x"],
            "admin schedule list",
        ),
        (&["schedule", "run", "99"], "admin schedule list"),
        (&["schedule", "delete", "99"], "admin schedule list"),
        (
            &["schedule", "list", "--server", "ffffffff"],
            "admin server list",
        ),
    ] {
        let ended = scene.with_docker(arguments);
        let failure = ended.failure();
        assert!(failure.contains(text), "{arguments:?}: {failure}");
    }
    // Without a driver, the sentence names the setting.
    let before = [&create[..], &nightly, &["--before", "save-off"]].concat();
    let failure = scene.admin.failure(&before);
    assert!(failure.contains("power.driver is \"none\""), "{failure}");
    let mut command = scene.admin.command();
    for setting in [
        ("power.driver", "command"),
        ("power.stop_command", "[\"/bin/true\"]"),
        ("power.running_command", "[\"/bin/true\"]"),
    ] {
        command.envs([variable(&setting)]);
    }
    let ended = run(command.arg("admin").args(&before));
    let failure = ended.failure();
    assert!(
        failure.contains("power.console_command is not set"),
        "{failure}"
    );
    // A limit of 0 allows no backups.
    let limit = ["server", "set", &scene.server, "--backup-limit", "0"];
    scene.admin.json(&limit);
    let failure = scene.admin.failure(&[&create[..], &nightly].concat());
    assert!(failure.contains("backup limit is 0"), "{failure}");

    let count = "SELECT count(*) FROM schedules";
    assert_eq!(scene.database.number(count).await, 0);
    scene.database.drop().await;
}
