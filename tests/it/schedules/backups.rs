//! The backups of schedules: what lists show of them, and which limits count them.

use serde_json::{Value, json};

use super::scene::scene;
use super::support::{add, create, delete, get, nightly, post};
use crate::free_space::insert_last_backup;
use crate::support::app::App;
use crate::support::client::Client;
use crate::support::{eventually, files};

/// Runs a schedule, and returns the UUID of its backup.
async fn run(client: &Client, schedule: &str) -> String {
    let before = get(client, schedule).await.attributes()["last_result"].clone();
    let begun = post(client, &format!("{schedule}/execute"), &json!({})).await;
    assert_eq!(begun.status, 202);
    let result = eventually("the run has ended", async || {
        let result = get(client, schedule).await.attributes()["last_result"].clone();
        (result != before).then_some(result)
    })
    .await;
    assert_eq!(result["status"], "completed", "{result}");
    result["backup"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_show_which_schedule_made_a_backup_by_its_current_name() {
    let app = App::start().await;
    files::make_server(&app.directory);
    let owner = app.as_owner();
    let manual = app.backup().await;
    let schedule = create(&owner, &json!({})).await;
    add(&owner, &schedule, &json!({})).await;
    let scheduled = run(&owner, &schedule).await;

    let shown = async |uuid: &str| {
        let view = owner.show(uuid).await.attributes();
        // The second list comes from the cache.
        for _ in 0..2 {
            let list = owner.list("").await.json();
            let mut entries = list["data"].as_array().unwrap().iter();
            let entry = entries.find(|entry| entry["attributes"]["uuid"] == *uuid);
            assert_eq!(entry.unwrap()["attributes"], view);
        }
        json!([view["is_scheduled"], view["schedule"]])
    };
    let id: i64 = schedule[1..].parse().unwrap();
    assert_eq!(shown(&manual).await, json!([false, null]));
    let expected = json!([true, { "id": id, "name": "Nightly" }]);
    assert_eq!(shown(&scheduled).await, expected);

    let renamed = json!({ "name": "Weekly" });
    assert_eq!(
        post(&owner, &schedule, &nightly(&renamed)).await.status,
        200
    );
    let expected = json!([true, { "id": id, "name": "Weekly" }]);
    assert_eq!(shown(&scheduled).await, expected);

    // The backup outlives its schedule.
    assert_eq!(delete(&owner, &schedule).await.status, 204);
    assert_eq!(shown(&scheduled).await, json!([true, Value::Null]));
    assert_eq!(shown(&manual).await, json!([false, null]));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_of_schedules_count_towards_the_limit_and_no_throttle() {
    let app = App::start_with(&[
        ("limits.create_throttle_count", "1"),
        ("limits.create_throttle_seconds", "600"),
        ("limits.backups_per_server", "3"),
    ])
    .await;
    files::make_server(&app.directory);
    let owner = app.as_owner();
    let schedule = create(&owner, &json!({})).await;
    add(&owner, &schedule, &json!({})).await;
    // They do not use up the throttle.
    run(&owner, &schedule).await;
    run(&owner, &schedule).await;
    app.backup().await;
    assert_eq!(owner.create(json!({})).await.status, 429);
    // The throttle does not hold them back, and at the limit the schedule's own oldest goes.
    run(&owner, &schedule).await;
    let count = "SELECT count(*) FROM backups WHERE state = 'completed'";
    eventually("the oldest backup of the schedule is deleted", async || {
        (app.sql().number(count).await == 3).then_some(())
    })
    .await;
    app.sql()
        .query("UPDATE jobs SET created_at = now() - interval '1 hour'")
        .await;
    let refused = owner.create(json!({})).await.refusal();
    assert_eq!(
        (refused.0, refused.1.as_str()),
        (400, "TooManyBackupsException")
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_of_schedules_reserve_what_the_last_one_stored() {
    // The first task of a run begins with those of other servers, later tasks by themselves.
    for tasks in [&["backup"][..], &["command save-off", "backup"]] {
        let scene = scene().await;
        insert_last_backup(&scene.app).await;
        let schedule = scene.schedule("", tasks).await;
        let ended = scene.ended(schedule).await;
        assert_eq!(ended, ("completed".to_owned(), None), "{tasks:?}");
        let reserved = "SELECT reserved_bytes FROM backups WHERE is_scheduled";
        assert_eq!(scene.app.sql().number(reserved).await, 1000, "{tasks:?}");
        scene.app.stop().await;
    }
}
