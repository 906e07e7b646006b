//! Schedules that are run by a request, and schedules that are switched on and off.

use serde_json::{Value, json};

use super::support::{add, create, get, nightly, post};
use crate::support::app::App;
use crate::support::client::Client;
use crate::support::{eventually, files};

async fn execute(client: &Client, schedule: &str) -> crate::support::client::Answer {
    post(client, &format!("{schedule}/execute"), &json!({})).await
}

/// Whether the schedule is processing, and which of its tasks are queued.
async fn progress(client: &Client, schedule: &str) -> (bool, Vec<bool>) {
    let shown = get(client, schedule).await.attributes();
    let tasks = shown["relationships"]["tasks"]["data"].as_array().unwrap();
    let queued = |task: &Value| task["attributes"]["is_queued"].as_bool().unwrap();
    let is_processing = shown["is_processing"].as_bool().unwrap();
    (is_processing, tasks.iter().map(queued).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_runs_on_request_even_if_it_is_not_active() {
    let mut app = App::without_worker(&[]).await;
    files::make_server(&app.directory);
    let owner = app.as_owner();
    let schedule = create(&owner, &json!({ "is_active": false })).await;
    let refused = execute(&owner, &schedule).await.refusal();
    let text = "Cannot process schedule for task execution: no tasks are registered.";
    assert_eq!(
        refused,
        (400, "DisplayException".to_owned(), text.to_owned())
    );

    add(&owner, &schedule, &json!({ "payload": "*.log" })).await;
    add(&owner, &schedule, &json!({ "payload": "*.tmp" })).await;
    assert_eq!(
        progress(&owner, &schedule).await,
        (false, vec![false, false])
    );
    let begun = execute(&owner, &schedule).await;
    assert_eq!((begun.status, begun.bytes.len()), (202, 0));
    assert_eq!(progress(&owner, &schedule).await, (true, vec![true, true]));
    // One run waits, so a second one would do the same.
    let again = execute(&app.as_pterodactyl().await, &schedule).await;
    assert_eq!((again.status, again.json()), (202, json!([])));
    let runs = "SELECT count(*) FROM schedule_runs WHERE is_manual";
    assert_eq!(app.sql().number(runs).await, 1);

    app.add_worker(&[]);
    let ended = eventually("the run has ended", async || {
        let shown = get(&owner, &schedule).await.attributes();
        (!shown["last_result"].is_null()).then_some(shown)
    })
    .await;
    assert_eq!(
        progress(&owner, &schedule).await,
        (false, vec![false, false])
    );
    assert_eq!(
        (&ended["next_run_at"], &ended["is_active"]),
        (&Value::Null, &json!(false))
    );
    assert!(ended["last_run_at"].is_string());
    let result = &ended["last_result"];
    assert_eq!(
        (&result["status"], &result["error"]),
        (&json!("completed"), &Value::Null)
    );
    let list = owner.list("").await.json();
    let newest = &list["data"][0]["attributes"];
    assert_eq!(
        result["backup"], newest["uuid"],
        "the last backup of the run"
    );
    assert_eq!(list["data"].as_array().unwrap().len(), 2);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_run_says_why() {
    let app = App::start().await;
    fs_err::remove_dir_all(&app.directory).unwrap();
    let owner = app.as_owner();
    let schedule = create(&owner, &json!({})).await;
    add(&owner, &schedule, &json!({})).await;
    assert_eq!(execute(&owner, &schedule).await.status, 202);
    let result = eventually("the run has ended", async || {
        let shown = get(&owner, &schedule).await.attributes();
        Some(shown["last_result"].clone()).filter(|result| !result.is_null())
    })
    .await;
    assert_eq!(result["status"], "failed");
    let failed = &owner.list("").await.json()["data"][0]["attributes"];
    assert_eq!(
        (&result["backup"], &result["error"]),
        (&failed["uuid"], &failed["error"])
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn switching_a_schedule_clears_a_stuck_run_and_other_changes_do_not() {
    let app = App::without_worker(&[]).await;
    let owner = app.as_owner();
    let schedule = create(&owner, &json!({})).await;
    add(&owner, &schedule, &json!({})).await;
    assert_eq!(execute(&owner, &schedule).await.status, 202);
    let renamed = json!({ "name": "Renamed" });
    assert_eq!(
        post(&owner, &schedule, &nightly(&renamed)).await.status,
        200
    );
    assert_eq!(progress(&owner, &schedule).await, (true, vec![true]));

    let off = json!({ "is_active": false });
    let changed = post(&owner, &schedule, &nightly(&off)).await.attributes();
    assert_eq!(changed["is_processing"], false);
    assert_eq!(progress(&owner, &schedule).await, (false, vec![false]));
    // It can run again at once.
    assert_eq!(execute(&owner, &schedule).await.status, 202);
    assert_eq!(progress(&owner, &schedule).await, (true, vec![true]));
    let on = post(&owner, &schedule, &nightly(&json!({}))).await;
    assert_eq!(on.attributes()["is_processing"], false);
    app.stop().await;
}
