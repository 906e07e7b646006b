//! The tasks of a schedule: their order, and what clients send.

use serde_json::{Value, json};

use super::support::{add, backup_task, create, delete, get, post};
use crate::support::app::App;
use crate::support::client::Client;

/// The payloads of the tasks in their order, each with its number.
async fn order(client: &Client, schedule: &str) -> Vec<(String, u64)> {
    let shown = get(client, schedule).await.attributes();
    let tasks = shown["relationships"]["tasks"]["data"].as_array().unwrap();
    let task = |task: &Value| {
        let attributes = &task["attributes"];
        let payload = attributes["payload"].as_str().unwrap().to_owned();
        (payload, attributes["sequence_id"].as_u64().unwrap())
    };
    tasks.iter().map(task).collect()
}

fn numbered(payloads: &[&str]) -> Vec<(String, u64)> {
    let numbers = 1..;
    payloads
        .iter()
        .map(|&p| p.to_owned())
        .zip(numbers)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_inserted_moved_and_deleted_without_gaps() {
    let app = App::without_worker(&[]).await;
    let owner = app.as_owner();
    let schedule = create(&owner, &json!({})).await;
    let a = add(&owner, &schedule, &json!({ "payload": "a" })).await;
    add(&owner, &schedule, &json!({ "payload": "b" })).await;
    assert_eq!(order(&owner, &schedule).await, numbered(&["a", "b"]));
    // Before the others; a number beyond the end means the end.
    add(
        &owner,
        &schedule,
        &json!({ "payload": "c", "sequence_id": 1 }),
    )
    .await;
    add(
        &owner,
        &schedule,
        &json!({ "payload": "d", "sequence_id": "9" }),
    )
    .await;
    assert_eq!(
        order(&owner, &schedule).await,
        numbered(&["c", "a", "b", "d"])
    );

    for (sequence, expected) in [
        (json!(4), ["c", "b", "d", "a"]),
        (json!(900), ["c", "b", "d", "a"]),
        (json!(1), ["a", "c", "b", "d"]),
        (json!(2), ["c", "a", "b", "d"]),
        // Without a number it stays where it is.
        (Value::Null, ["c", "a", "b", "d"]),
    ] {
        let body = backup_task(&json!({ "payload": "a", "sequence_id": sequence }));
        let moved = post(&owner, &a, &body).await.attributes();
        let place = expected.iter().position(|&payload| payload == "a").unwrap();
        assert_eq!(moved["sequence_id"], place + 1, "{sequence}");
        assert_eq!(
            order(&owner, &schedule).await,
            numbered(&expected),
            "{sequence}"
        );
    }
    assert_eq!(delete(&owner, &a).await.status, 204);
    assert_eq!(order(&owner, &schedule).await, numbered(&["c", "b", "d"]));
    assert_eq!(delete(&owner, &a).await.status, 404);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_replaced_as_a_whole() {
    let app = App::without_worker(&[("power.driver", "docker")]).await;
    let owner = app.as_owner();
    let schedule = create(&owner, &json!({})).await;
    let whole = json!({ "payload": "*.log", "time_offset": "60", "continue_on_failure": 1 });
    let task = add(&owner, &schedule, &whole).await;
    for (body, expected) in [
        (
            json!({ "action": "command", "payload": " say hi ", "time_offset": 5.5 }),
            json!(["command", "say hi", 5, false]),
        ),
        (
            json!({ "action": "power", "payload": "restart", "time_offset": 900,
                    "continue_on_failure": "true" }),
            json!(["power", "restart", 900, true]),
        ),
        (
            json!({ "action": "backup", "payload": null, "time_offset": "0" }),
            json!(["backup", "", 0, false]),
        ),
        (
            json!({ "action": "backup", "time_offset": 0 }),
            json!(["backup", "", 0, false]),
        ),
    ] {
        let changed = post(&owner, &task, &body).await.attributes();
        let fields = ["action", "payload", "time_offset", "continue_on_failure"];
        let found = fields.map(|field| changed[field].clone());
        assert_eq!(json!(found), expected, "{body}");
        let shown = get(&owner, &schedule).await.attributes();
        assert_eq!(
            shown["relationships"]["tasks"]["data"][0]["attributes"],
            changed
        );
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_requests_for_the_tenth_task_never_make_eleven() {
    let app = App::without_worker(&[]).await;
    let owner = app.as_owner();
    let schedule = create(&owner, &json!({})).await;
    for _ in 0..9 {
        add(&owner, &schedule, &json!({})).await;
    }
    let path = format!("{schedule}/tasks");
    let body = backup_task(&json!({}));
    let asked = (0..4).map(|_| post(&owner, &path, &body));
    let answers = futures_util::future::join_all(asked).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400, 400, 400]);
    let refused = answers.iter().find(|answer| answer.status == 400).unwrap();
    let text = "Schedules may not have more than 10 tasks associated with them. Creating this task \
                would put this schedule over the limit.";
    let expected = (
        400,
        "ServiceLimitExceededException".to_owned(),
        text.to_owned(),
    );
    assert_eq!(refused.refusal(), expected);
    assert_eq!(order(&owner, &schedule).await.len(), 10);
    app.stop().await;
}
