//! `schedule …` over the API.

use super::Terminal;
use crate::support::app::App;
use crate::support::eventually;
use crate::support::files::write;

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_created_changed_run_and_deleted() {
    let app = App::start().await;
    let terminal = Terminal::of(&app);
    write(&app.directory.join("a"), b"a");
    let patterns = terminal.home.path().join("patterns");
    write(&patterns, b"*.log\ncache/\n");
    let patterns = patterns.to_str().unwrap();
    let create = |options: &[&str]| {
        let begin = ["schedule", "create", "SERVER", "--cron", "0 4 * * *"];
        terminal.run(&[&begin, options].concat())
    };
    let options = [
        "--timezone",
        "Europe/Berlin",
        "--jitter",
        "10m",
        "--missed",
        "skip",
        "--keep",
        "last=7",
        "--name",
        "Nightly",
        "--ignored",
        patterns,
        "--json",
    ];
    let made = create(&options).json();
    assert_eq!(made["is_active"], true, "{made}");
    assert_eq!(made["timezone"], "Europe/Berlin");
    assert_eq!(made["jitter_seconds"], 600);
    assert_eq!(
        (&made["missed"], &made["keep"]),
        (&"skip".into(), &"last=7".into())
    );
    let tasks = &made["relationships"]["tasks"]["data"];
    assert_eq!(tasks[0]["attributes"]["payload"], "*.log\ncache/");
    assert!(made["next_run_at"].is_string(), "{made}");

    let listed = terminal.lines(&["schedule", "list", "SERVER"]);
    assert!(listed[1].contains("Nightly"), "{listed:?}");
    assert!(listed[1].contains("0 4 * * *"), "{listed:?}");
    let shown = terminal.lines(&["schedule", "show", "SERVER", "Nightly"]);
    assert!(
        shown.iter().any(|line| line.contains("*.log\\ncache/")),
        "{shown:?}"
    );

    let set = ["schedule", "set", "SERVER", "Nightly"];
    let options = [
        "--cron",
        "30 5 * * *",
        "--keep",
        "none",
        "--active",
        "false",
    ];
    let changed = terminal.json(&[&set, &options[..]].concat());
    assert_eq!(
        (&changed["cron"]["minute"], &changed["cron"]["hour"]),
        (&"30".into(), &"5".into())
    );
    assert_eq!(
        (&changed["keep"], &changed["is_active"]),
        (&().into(), &false.into())
    );
    assert_eq!(changed["jitter_seconds"], 600, "what is not named stays");
    write(std::path::Path::new(patterns), b"*.tmp\n");
    let changed = terminal.json(&[&set, &["--ignored", patterns][..]].concat());
    let tasks = &changed["relationships"]["tasks"]["data"];
    assert_eq!(tasks[0]["attributes"]["payload"], "*.tmp");
    let refused = terminal.failure(&set);
    assert!(refused.starts_with("name what to change"), "{refused}");

    let run = terminal.lines(&["schedule", "run", "SERVER", "Nightly"]);
    assert!(run[0].ends_with(" runs now"), "{run:?}");
    let id = made["id"].to_string();
    eventually("the run has ended", async || {
        let schedule = terminal.json(&["schedule", "show", "SERVER", &id]);
        (schedule["last_result"]["status"] == "completed").then_some(())
    })
    .await;
    assert_eq!(
        terminal.json(&["ls", "SERVER"])[0]["schedule"]["name"],
        "Nightly"
    );

    // The same name once more: only an ID is clear.
    assert_eq!(create(&["--name", "Nightly"]).code, Some(0));
    let refused = terminal.failure(&["schedule", "delete", "SERVER", "Nightly"]);
    assert!(
        refused.starts_with("`Nightly` is the name of 2 schedules, use an ID: "),
        "{refused}"
    );
    let deleted = terminal.lines(&["schedule", "delete", "SERVER", &id]);
    assert!(deleted[0].ends_with(" is deleted"), "{deleted:?}");
    let refused = terminal.failure(&["schedule", "show", "SERVER", &id]);
    assert!(refused.contains("has no schedule"), "{refused}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_whose_tasks_are_refused_leaves_nothing() {
    let app = App::without_worker(&[]).await;
    let terminal = Terminal::of(&app);
    // Commands need a power driver.
    let create = ["schedule", "create", "SERVER", "--cron", "0 4 * * *"];
    let refused = terminal.failure(&[&create, &["--before", "save-off"][..]].concat());
    assert!(refused.contains("power.driver"), "{refused}");
    assert_eq!(
        terminal.json(&["schedule", "list", "SERVER"]),
        serde_json::json!([])
    );
    for options in [
        &["--cron", "never"][..],
        &["--jitter", "2d"],
        &["--timezone", "Mars"],
    ] {
        let ended = terminal.run(&[&["schedule", "create", "SERVER"], options].concat());
        assert_eq!(ended.code, Some(2), "{ended:?}");
    }
    app.stop().await;
}
