//! Schedules that fail, miss their time or are overdue show it: in events, in the audit log and in
//! metrics. What they leave in the database is pruned.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use holdfast_db::schedules;
use holdfast_db::webhooks::{Webhook, WebhookSecret};
use holdfast_domain::WebhookId;

use super::scene::{Scene, scene};
use crate::support::client::send;
use crate::support::receiver::Receiver;
use crate::support::{eventually, fixtures};

/// How PostgreSQL formats a time as events do.
const TIME: &str = "YYYY-MM-DD\"T\"HH24:MI:SS+00:00";

const DAY: Duration = Duration::from_secs(86_400);

/// A receiver of the events of schedules.
async fn receiver(scene: &Scene) -> Receiver {
    let receiver = Receiver::start(&[]).await;
    let webhook = Webhook {
        id: WebhookId(Uuid::new_v4()),
        url: receiver.url.clone(),
        kinds: vec!["schedule.failed".to_owned(), "schedule.missed".to_owned()],
        server: None,
        secret: WebhookSecret(vec![7; 32]),
    };
    fixtures::webhook(&scene.app.database, &webhook)
        .await
        .unwrap();
    receiver
}

/// Waits for the only event that a receiver gets.
async fn only_event(receiver: &Receiver) -> (String, Value) {
    let received = eventually("the event was received", async || {
        let received = receiver.received();
        (!received.is_empty()).then_some(received)
    })
    .await;
    assert_eq!(received.len(), 1);
    let body = received[0].body.clone();
    let event = serde_json::from_str(&body).unwrap();
    (body, event)
}

/// The entries of the audit log about schedules, oldest first: each event and its properties.
async fn activity(scene: &Scene) -> Vec<(String, Value)> {
    let app = &scene.app;
    let url = format!(
        "{}/api/client/servers/{}/activity?per_page=100",
        app.base_url, app.server.id
    );
    let list = send(app.as_owner().plain(Method::GET, &url)).await.json();
    let entries = list["data"].as_array().unwrap().iter().rev();
    entries
        .map(|entry| &entry["attributes"])
        .filter_map(|entry| {
            let event = entry["event"].as_str().unwrap();
            let event = event.strip_prefix("server:schedule.")?.to_owned();
            assert_eq!(entry["actor"], Value::Null, "{entry}");
            Some((event, entry["properties"].clone()))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_run_is_an_event_and_an_entry_of_the_audit_log_without_its_commands() {
    let scene = scene().await;
    let receiver = receiver(&scene).await;
    fs_err::remove_dir_all(&scene.app.directory).unwrap();
    let tasks = ["command login hunter2", "backup", "command save-on"];
    let schedule = scene.schedule("", &tasks).await;
    let error = scene.ended(schedule).await.1.unwrap();
    let (body, event) = only_event(&receiver).await;
    assert!(
        !body.contains("hunter2") && !body.contains("save-on"),
        "{body}"
    );
    assert_eq!(event["event"], "schedule.failed");
    assert_eq!(event["server"]["uuid"], scene.app.server.id.to_string());
    assert_eq!(event["error"], json!(error));
    assert_eq!(event["backup"]["status"], "failed");
    let due_at = scene.due_at(schedule).await;
    let expected = json!({
        "id": schedule, "name": "Nightly", "due_at": due_at, "missed": 0, "missed_since": null,
    });
    assert_eq!(event["schedule"], expected);

    let entries = activity(&scene).await;
    let events: Vec<&str> = entries.iter().map(|(event, _)| event.as_str()).collect();
    assert_eq!(events, ["start", "fail"]);
    let properties = &entries[1].1;
    assert_eq!(properties["schedule"], schedule);
    assert_eq!(properties["name"], "Nightly");
    assert_eq!(properties["error"], json!(error));
    assert_eq!(properties.get("uuid"), None, "it is about no backup");
    scene.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn due_times_that_are_missed_together_are_one_event_and_one_entry() {
    let scene = scene().await;
    let receiver = receiver(&scene).await;
    let schedule = scene.schedule("missed='skip'", &["command hello"]).await;
    assert_eq!(scene.ended(schedule).await.0, "completed");
    let three_days_ago = format!(
        "UPDATE schedules SET minute = '*', hour = '*',
                next_due_at = date_trunc('minute', now()) - interval '3 days',
                next_run_at = date_trunc('minute', now()) - interval '3 days'
         WHERE id = {schedule}"
    );
    scene.app.sql().query(&three_days_ago).await;
    let (_, event) = only_event(&receiver).await;
    assert_eq!(event["event"], "schedule.missed");
    assert_eq!(event["backup"], Value::Null);
    assert_eq!(event["error"], "The service was not running at this time.");
    let missed = &event["schedule"];
    let rows = format!(
        "SELECT count(*), to_char(min(due_at) AT TIME ZONE 'UTC', '{TIME}'),
                to_char(max(due_at) AT TIME ZONE 'UTC', '{TIME}')
         FROM schedule_runs WHERE schedule_id = {schedule} AND state = 'missed'"
    );
    let rows = scene.app.sql().query(&rows).await;
    let [count, first, last] = [0, 1, 2].map(|n| rows[0][n].clone().unwrap());
    assert!(
        (1500..=1501).contains(&count.parse::<u32>().unwrap()),
        "{count}"
    );
    assert_eq!(missed["missed"].to_string(), count);
    assert_eq!(missed["missed_since"], first);
    assert_eq!(missed["due_at"], last);
    let entries = activity(&scene).await;
    let missed: Vec<&Value> = entries
        .iter()
        .filter(|(event, _)| event == "miss")
        .map(|(_, properties)| properties)
        .collect();
    assert_eq!(missed.len(), 1, "{entries:?}");
    assert_eq!(missed[0]["missed"].to_string(), count);
    assert_eq!(receiver.received().len(), 1);
    scene.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_postpones_the_time_at_which_a_schedule_is_overdue() {
    let scene = scene().await;
    let schedule = scene.schedule("", &["command hello"]).await;
    assert_eq!(scene.ended(schedule).await.0, "completed");
    // A daily schedule may miss one day.
    let overdue = format!(
        "SELECT count(*) FROM schedules WHERE id = {schedule} AND interval_seconds = 86400
             AND overdue_at = greatest(last_success_at + interval '2 days',
                                       next_run_at + interval '1 day')"
    );
    assert_eq!(scene.app.sql().number(&overdue).await, 1);
    let before = format!(
        "UPDATE schedules SET overdue_at = now() - interval '1 hour' WHERE id = {schedule}"
    );
    // A failure does not postpone it.
    scene.driver.mark("broken");
    scene.app.sql().query(&before).await;
    assert_eq!(scene.run_again(schedule).await.0, "failed");
    let overdue =
        format!("SELECT count(*) FROM schedules WHERE id = {schedule} AND overdue_at < now()");
    assert_eq!(scene.app.sql().number(&overdue).await, 1);
    let url = scene.app.base_url_of("/metrics");
    let text = send(scene.app.as_anonymous().plain(Method::GET, &url)).await;
    let text = String::from_utf8(text.bytes).unwrap();
    let value = |name: &str| -> Option<f64> {
        let labels = format!(
            "{{server=\"{}\",schedule=\"{schedule}\"}} ",
            scene.app.server.id
        );
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_once(&labels).unwrap().1.parse().ok()
    };
    let seconds = value("holdfast_schedule_overdue_seconds").unwrap();
    assert!((3600.0..3900.0).contains(&seconds), "{seconds}");
    let at = value("holdfast_schedule_last_success_timestamp_seconds").unwrap();
    let now = chrono::Utc::now().timestamp() as f64;
    assert!((now - 300.0..=now).contains(&at), "{at}");
    scene.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_runs_are_pruned_except_the_latest_ones() {
    let scene = scene().await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        let insert = format!(
            "INSERT INTO schedules (server_id, name, minute, hour, day_of_month, month, day_of_week)
             VALUES ('{}', 'Nightly', '0', '4', '*', '*', '*') RETURNING id",
            scene.app.server.id
        );
        ids.push(scene.app.sql().number(&insert).await);
    }
    let [often, once, missed, deleted] = ids[..] else {
        panic!("four schedules")
    };
    let insert = |schedule: i64, state: &str, days: u32, count: u32| {
        format!(
            "INSERT INTO schedule_runs (schedule_id, server_id, due_at, state, finished_at,
                                        created_at)
             SELECT {schedule}, '{}', now() - interval '{days} days' - n * interval '1 minute',
                    '{state}', now() - interval '{days} days', now() - interval '{days} days'
             FROM generate_series(1, {count}) n;",
            scene.app.server.id
        )
    };
    let rows = [
        insert(often, "completed", 40, 30),
        insert(often, "failed", 20, 5),
        insert(often, "completed", 19, 5),
        insert(once, "completed", 400, 1),
        insert(missed, "completed", 90, 2),
        insert(missed, "missed", 80, 1500),
        insert(deleted, "completed", 90, 3),
        insert(deleted, "failed", 20, 1),
    ];
    scene.app.sql().query(&rows.concat()).await;
    let delete = format!("DELETE FROM schedules WHERE id = {deleted}");
    scene.app.sql().query(&delete).await;
    let pruned = schedules::prune_runs(&scene.app.database, 7 * DAY, 30 * DAY).await;
    // Of the first, all completed ones but those among the latest ten; of the third, all but the
    // ten latest missed ones and the latest that ran.
    assert_eq!(pruned.unwrap(), 30 + 1 + 1490 + 3);
    let left = async |schedule: i64, state: &str| {
        let select = format!(
            "SELECT count(*) FROM schedule_runs
             WHERE schedule_id = {schedule} AND state = '{state}'"
        );
        scene.app.sql().number(&select).await
    };
    assert_eq!(left(often, "completed").await, 5);
    assert_eq!(left(often, "failed").await, 5);
    assert_eq!(left(once, "completed").await, 1);
    assert_eq!(left(missed, "completed").await, 1);
    assert_eq!(left(missed, "missed").await, 10);
    assert_eq!(left(deleted, "failed").await, 1);
    let again = schedules::prune_runs(&scene.app.database, 7 * DAY, 30 * DAY).await;
    assert_eq!(again.unwrap(), 0);
    scene.app.stop().await;
}
