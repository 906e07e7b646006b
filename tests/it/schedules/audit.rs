//! What the audit log says about schedules, and who may read it.

use reqwest::Method;
use serde_json::{Value, json};

use holdfast_domain::Permission;

use super::support::{add, backup_task, create, delete, nightly, post};
use crate::support::app::App;
use crate::support::client::{Client, send};

async fn entries(app: &App, client: &Client) -> Vec<Value> {
    let url = format!(
        "/api/client/servers/{}/activity?per_page=100",
        app.server.id
    );
    let list = send(client.plain(Method::GET, &app.base_url_of(&url)))
        .await
        .json();
    let data = list["data"].as_array().unwrap();
    assert_eq!(list["meta"]["pagination"]["total"], data.len());
    let newest_first = data.iter().map(|entry| entry["attributes"].clone());
    newest_first.rev().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_of_a_schedule_is_logged_with_user_and_address() {
    let app = App::without_worker(&[]).await;
    let owner = app.as_owner();
    let schedule = create(&owner, &json!({})).await;
    let task = add(&owner, &schedule, &json!({ "payload": "*.log" })).await;
    let changed = backup_task(&json!({ "payload": "*.tmp" }));
    assert_eq!(post(&owner, &task, &changed).await.status, 200);
    let execute = format!("{schedule}/execute");
    assert_eq!(post(&owner, &execute, &json!({})).await.status, 202);
    assert_eq!(delete(&owner, &task).await.status, 204);
    let renamed = nightly(&json!({ "name": "Weekly", "is_active": false }));
    assert_eq!(post(&owner, &schedule, &renamed).await.status, 200);
    assert_eq!(delete(&owner, &schedule).await.status, 204);

    let id: i64 = schedule[1..].parse().unwrap();
    let number: i64 = task.rsplit('/').next().unwrap().parse().unwrap();
    let all = entries(&app, &owner).await;
    let found: Vec<Value> = all
        .iter()
        .map(|entry| {
            assert_eq!(entry["ip"], "127.0.0.1");
            assert_eq!(entry["actor"]["email"], "owner@example.com");
            assert_eq!(entry["is_api"], true);
            let properties = &entry["properties"];
            assert_eq!(properties["schedule"], id, "{entry}");
            let payload = &properties["payload"];
            json!([
                entry["event"],
                properties["name"],
                properties["task"],
                payload
            ])
        })
        .collect();
    let expected = json!([
        ["server:schedule.create", "Nightly", null, null],
        ["server:task.create", "Nightly", number, "*.log"],
        ["server:task.update", "Nightly", number, "*.tmp"],
        ["server:schedule.execute", "Nightly", null, null],
        ["server:task.delete", "Nightly", number, "*.tmp"],
        ["server:schedule.update", "Weekly", null, null],
        ["server:schedule.delete", "Weekly", null, null],
    ]);
    assert_eq!(json!(found), expected);
    assert_eq!(all[5]["properties"]["active"], false);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_about_schedules_are_only_for_those_who_may_see_schedules() {
    let app = App::without_worker(&[]).await;
    let owner = app.as_owner();
    owner.create(json!({})).await.uuid();
    let schedule = create(&owner, &json!({})).await;
    add(&owner, &schedule, &json!({})).await;
    let reader = app.as_subuser(&[Permission::Read]).await;
    let both = app
        .as_subuser(&[Permission::Read, Permission::ReadSchedules])
        .await;
    let events = async |client: &Client| {
        let entries = entries(&app, client).await;
        let event = |entry: &Value| entry["event"].as_str().unwrap().to_owned();
        entries.iter().map(event).collect::<Vec<String>>()
    };
    assert_eq!(events(&reader).await, ["server:backup.start"]);
    let all = [
        "server:backup.start",
        "server:schedule.create",
        "server:task.create",
    ];
    assert_eq!(events(&both).await, all);
    assert_eq!(events(&app.as_admin()).await, all);
    app.stop().await;
}
