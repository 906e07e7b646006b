//! `holdfast admin schedule set`: what it keeps.

use super::schedules::{Scene, id, tasks};

#[tokio::test(flavor = "multi_thread")]
async fn tasks_that_the_command_line_cannot_describe_are_not_replaced() {
    let scene = Scene::new().await;
    let created = scene.create(&["--cron", "0 4 * * *", "--before", "save-off"]);
    let id = id(&created);
    let stop = format!(
        "UPDATE schedule_tasks SET action = 'power', payload = 'stop', time_offset_seconds = 5
         WHERE schedule_id = {id} AND sequence = 1"
    );
    scene.database.query(&stop).await;
    for option in ["--before", "--after"] {
        let ended = scene.with_docker(&["schedule", "set", &id, option, "save-on"]);
        let failure = ended.failure();
        assert!(failure.contains("by the API"), "{failure}");
    }
    // Other options leave the tasks alone.
    let changed = scene
        .admin
        .json(&["schedule", "set", &id, "--name", "Other"]);
    assert_eq!(tasks(&changed), ["power stop", "backup "]);
    assert_eq!(changed["tasks"][0]["time_offset"], 5);
    scene.database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_due_time_that_has_come_is_kept_unless_the_time_is_changed() {
    let scene = Scene::new().await;
    let created = scene.create(&["--cron", "0 4 * * *", "--jitter", "0s"]);
    let id = id(&created);
    let due = "UPDATE schedules SET next_due_at = '2026-01-01 04:00Z',
                      next_run_at = '2026-01-01 04:00Z', overdue_at = '2026-01-02 04:00Z'";
    scene.database.query(due).await;
    let set = |option: &str, value: &str| {
        let changed = scene.admin.json(&["schedule", "set", &id, option, value]);
        changed["next_run_at"].as_str().map(str::to_owned)
    };
    let old = "2026-01-01T04:00:00+00:00";
    for (option, value) in [
        ("--name", "Other"),
        ("--keep", "last=3"),
        ("--cron", "0 4 * * *"),
    ] {
        assert_eq!(set(option, value).as_deref(), Some(old), "{option}");
    }
    let overdue = "SELECT count(*) FROM schedules WHERE overdue_at = '2026-01-02 04:00Z'";
    assert_eq!(scene.database.number(overdue).await, 1);
    assert_ne!(set("--timezone", "Asia/Kathmandu").as_deref(), Some(old));
    assert_eq!(scene.database.number(overdue).await, 0);
    scene.database.query(due).await;
    assert_eq!(set("--active", "false"), None);
    let next = set("--active", "true").unwrap();
    assert!(
        next.as_str() > old && next.ends_with("T22:15:00+00:00"),
        "{next}"
    );
    scene.database.drop().await;
}
