//! A cached list shows the schedules of backups as they are.

use reqwest::Method;
use serde_json::json;

use super::Polled;
use crate::support::client::send;

#[tokio::test(flavor = "multi_thread")]
async fn a_list_names_the_schedule_of_a_backup_as_it_is_now() {
    let mut polled = Polled::new().await;
    let uuid = polled.one.create(json!({})).await.uuid();
    polled.sees("a backup").await;
    let schedule = json!({
        "name": "Nightly", "minute": "0", "hour": "4", "day_of_month": "*", "month": "*",
        "day_of_week": "*",
    });
    let create = polled.one.schedules(Method::POST, "").json(&schedule);
    let path = format!("/{}", send(create).await.attributes()["id"]);
    let made = format!(
        "UPDATE backups SET is_scheduled = true, schedule_id = {} WHERE id = '{uuid}'",
        &path[1..]
    );
    polled.app.sql().query(&made).await;
    polled.sees("the schedule of a backup").await;
    let mut renamed = schedule.clone();
    renamed["name"] = json!("Weekly");
    let change = polled.other.schedules(Method::POST, &path).json(&renamed);
    assert_eq!(send(change).await.status, 200);
    polled.sees("a new name of its schedule").await;
    let delete = polled.one.schedules(Method::DELETE, &path);
    assert_eq!(send(delete).await.status, 204);
    polled.sees("the deletion of its schedule").await;
    polled.app.stop().await;
}
