//! Requests about schedules.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::client::{Answer, Client, send};

pub(super) async fn get(client: &Client, path: &str) -> Answer {
    send(client.schedules(Method::GET, path)).await
}

pub(super) async fn post(client: &Client, path: &str, body: &Value) -> Answer {
    send(client.schedules(Method::POST, path).json(body)).await
}

pub(super) async fn patch(client: &Client, path: &str, body: &Value) -> Answer {
    send(client.schedules(Method::PATCH, path).json(body)).await
}

pub(super) async fn delete(client: &Client, path: &str) -> Answer {
    send(client.schedules(Method::DELETE, path)).await
}

/// A body that creates a schedule, or changes one, with some fields changed.
pub(super) fn nightly(changed: &Value) -> Value {
    let mut body = json!({
        "name": "Nightly",
        "minute": "0",
        "hour": "4",
        "day_of_month": "*",
        "month": "*",
        "day_of_week": "*",
        "is_active": true,
        "only_when_online": false,
    });
    merge(&mut body, changed);
    body
}

/// A body that creates a task, or changes one, with some fields changed.
pub(super) fn backup_task(changed: &Value) -> Value {
    let mut body = json!({ "action": "backup", "payload": "", "time_offset": 0 });
    merge(&mut body, changed);
    body
}

fn merge(body: &mut Value, changed: &Value) {
    for (field, value) in changed.as_object().unwrap() {
        body[field] = value.clone();
    }
}

/// Creates a schedule, and returns its path.
pub(super) async fn create(client: &Client, changed: &Value) -> String {
    let created = post(client, "", &nightly(changed)).await.attributes();
    format!("/{}", created["id"])
}

/// Adds a task to a schedule, and returns its path.
pub(super) async fn add(client: &Client, schedule: &str, changed: &Value) -> String {
    let path = format!("{schedule}/tasks");
    let created = post(client, &path, &backup_task(changed))
        .await
        .attributes();
    format!("{path}/{}", created["id"])
}
