//! Schedules run by themselves, one task after another, and what they owe is paid. The modules test
//! the endpoints.

mod audit;
mod backups;
mod by_hand;
mod limits;
mod refusals;
mod shapes;
mod support;
mod tasks;

mod default_schedule;
mod docker;
mod kills;
mod leaders;
mod retention;
mod scene;
mod seen;

use self::scene::scene;
use crate::support::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn the_tasks_of_a_due_schedule_run_in_their_order() {
    let scene = scene().await;
    let tasks = [
        "command save-off",
        "command save-all flush",
        "backup *.log",
        "command save-on",
    ];
    let schedule = scene.schedule("", &tasks).await;
    assert_eq!(scene.ended(schedule).await, ("completed".to_owned(), None));
    assert_eq!(
        scene.calls(),
        [
            "console save-off",
            "console save-all flush",
            "console save-on"
        ]
    );
    let list = scene.app.as_owner().list("").await;
    let backup = &list.json()["data"][0]["attributes"];
    assert_eq!(backup["is_successful"], true, "{backup}");
    assert_eq!(backup["is_scheduled"], true);
    assert_eq!(backup["ignored_files"], serde_json::json!(["*.log"]));
    let next = format!(
        "SELECT count(*) FROM schedules
         WHERE id = {schedule} AND next_run_at > now() AND last_success_at IS NOT NULL"
    );
    assert_eq!(scene.app.sql().number(&next).await, 1);
    scene.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_backup_does_not_leave_a_command_owed() {
    let scene = scene().await;
    fs_err::remove_dir_all(&scene.app.directory).unwrap();
    let tasks = [
        "command save-off",
        "backup",
        "command save-on",
        "power restart",
    ];
    let schedule = scene.schedule("", &tasks).await;
    let (state, error) = scene.ended(schedule).await;
    assert_eq!(state, "failed");
    assert!(error.unwrap().contains("directory"));
    assert_eq!(scene.calls(), ["console save-off", "console save-on"]);
    scene.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_for_servers_that_are_online_is_skipped_otherwise() {
    let scene = scene().await;
    scene.driver.mark("off");
    let schedule = scene.schedule("only_when_online=true", &["backup"]).await;
    assert_eq!(scene.ended(schedule).await.0, "skipped");
    assert!(scene.calls().is_empty());
    scene.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_run_is_backed_up_without_commands() {
    let scene = scene().await;
    scene.driver.mark("off");
    let tasks = ["command save-off", "backup", "command save-on"];
    let schedule = scene.schedule("", &tasks).await;
    assert_eq!(scene.ended(schedule).await, ("completed".to_owned(), None));
    assert!(scene.calls().is_empty());
    let backups = scene.app.as_owner().list("").await;
    assert_eq!(
        backups.json()["data"][0]["attributes"]["is_successful"],
        true
    );
    scene.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_outage_one_run_makes_up_for_the_missed_ones() {
    let scene = scene().await;
    let now = chrono::Utc::now();
    let due = format!(
        "TIMESTAMPTZ '{}T04:00:00Z'",
        (now - chrono::Days::new(4)).format("%F")
    );
    let insert = format!(
        "WITH s AS (
             INSERT INTO schedules (server_id, name, minute, hour, day_of_month, month, day_of_week,
                                    next_due_at, next_run_at)
             VALUES ('{}', 'Nightly', '0', '4', '*', '*', '*', {due}, {due}) RETURNING id)
         INSERT INTO schedule_tasks (schedule_id, sequence, action)
         SELECT id, 1, 'backup' FROM s RETURNING schedule_id",
        scene.app.server.id
    );
    let schedule = scene.app.sql().number(&insert).await;
    let ended = format!(
        "SELECT count(*) FROM schedule_runs WHERE schedule_id = {schedule} AND state = 'completed'"
    );
    eventually("the run has ended", async || {
        (scene.app.sql().number(&ended).await == 1).then_some(())
    })
    .await;
    let runs = scene
        .app
        .sql()
        .query(&format!(
            "SELECT (due_at AT TIME ZONE 'UTC')::text, state FROM schedule_runs
             WHERE schedule_id = {schedule} ORDER BY due_at"
        ))
        .await;
    // Today's time of day decides whether it is four or five.
    assert!((4..=5).contains(&runs.len()), "{runs:?}");
    for (n, run) in runs.iter().enumerate() {
        let expected = if n + 1 == runs.len() {
            "completed"
        } else {
            "missed"
        };
        assert_eq!(run[1].as_deref(), Some(expected), "{runs:?}");
        assert!(run[0].as_deref().unwrap().ends_with(" 04:00:00"));
    }
    scene.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_limit_a_schedule_replaces_its_own_oldest_backup_only() {
    let mut scene = scene().await;
    scene.app.server.limits.backups = Some(2);
    scene.app.save_server().await;
    let manual = scene.app.backup().await;
    let first = scene.schedule("", &["backup"]).await;
    assert_eq!(scene.ended(first).await.0, "completed");
    let own = format!("SELECT count(*) FROM backups WHERE schedule_id = {first}");
    assert_eq!(scene.app.sql().number(&own).await, 1);

    // Another schedule has no backup of its own to delete.
    let second = scene.schedule("", &["backup"]).await;
    let (state, error) = scene.ended(second).await;
    assert_eq!(state, "failed");
    assert!(error.unwrap().contains("limit of backups"));

    let again = format!(
        "DELETE FROM schedule_runs WHERE schedule_id = {first};
         UPDATE schedules SET next_due_at = now(), next_run_at = now() WHERE id = {first}"
    );
    let oldest = "SELECT id FROM backups WHERE schedule_id IS NOT NULL";
    let oldest = scene.app.sql().query(oldest).await[0][0].clone().unwrap();
    scene.app.sql().query(&again).await;
    assert_eq!(scene.ended(first).await.0, "completed");
    eventually("the older backup of the schedule is deleted", async || {
        let gone = format!("SELECT count(*) FROM backups WHERE id = '{oldest}'");
        (scene.app.sql().number(&gone).await == 0).then_some(())
    })
    .await;
    assert_eq!(scene.app.sql().number(&own).await, 1);
    assert_eq!(scene.app.as_owner().show(&manual).await.status, 200);
    scene.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_of_one_server_follow_each_other() {
    let scene = scene().await;
    let tasks = ["command one", "backup", "command two"];
    let mut schedules = Vec::new();
    for _ in 0..3 {
        schedules.push(scene.schedule("", &tasks).await);
    }
    for schedule in schedules {
        assert_eq!(scene.ended(schedule).await.0, "completed");
    }
    let pair = ["console one", "console two"];
    assert_eq!(scene.calls(), [pair, pair, pair].concat());
    let overlaps = "SELECT count(*) FROM schedule_runs a JOIN schedule_runs b
                    ON a.id <> b.id AND a.started_at < b.finished_at
                        AND b.started_at < a.started_at";
    assert_eq!(scene.app.sql().number(overlaps).await, 0);
    scene.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_schedule_still_does_what_it_owes() {
    let scene = scene().await;
    scene.driver.mark("broken");
    let tasks = ["command save-off", "backup", "command save-on"];
    let schedule = scene.schedule("", &tasks).await;
    let begun = "SELECT count(*) FROM jobs WHERE kind = 'run_task' AND attempt > 0";
    eventually("the first command was tried", async || {
        (scene.app.sql().number(begun).await == 1).then_some(())
    })
    .await;
    let delete = format!("DELETE FROM schedules WHERE id = {schedule}");
    scene.app.sql().query(&delete).await;
    scene.driver.unmark("broken");
    let (state, error) = scene.ended(schedule).await;
    assert_eq!(
        (state.as_str(), error.as_deref()),
        ("failed", Some("The schedule was deleted."))
    );
    assert_eq!(scene.calls(), ["console save-off", "console save-on"]);
    assert_eq!(
        scene.app.sql().number("SELECT count(*) FROM backups").await,
        0
    );
    scene.app.stop().await;
}
