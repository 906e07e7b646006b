//! The objects of schedules, as clients of panels know them, and what each field means.

use chrono::{DateTime, Timelike as _, Utc};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::support::{add, create, delete, get, nightly, patch, post};
use crate::support::app::App;
use crate::support::client::{Answer, send};

/// An answer about schedules, with placeholders for times.
fn redacted(answer: &Answer) -> Value {
    let mut shown = answer.redacted();
    shown["body"]["attributes"]["id"] = json!("[id]");
    shown
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_has_the_shape_that_panels_have_in_both_profiles() {
    let app = App::without_worker(&[]).await;
    let owner = app.as_owner();
    let created = post(&owner, "", &nightly(&json!({}))).await;
    insta::assert_json_snapshot!("created", redacted(&created));
    let id = created.attributes()["id"].clone();
    let path = format!("/{id}");
    add(&owner, &path, &json!({ "payload": "*.log\r\n\r\ncache/" })).await;
    for client in [owner.clone(), app.as_pterodactyl().await] {
        let shown = get(&client, &path).await;
        let task = &shown.json()["attributes"]["relationships"]["tasks"]["data"][0];
        let attributes = task["attributes"].as_object().unwrap();
        assert_eq!(task["object"], "schedule_task");
        assert_eq!(attributes["payload"], "*.log\ncache/");
        let names: Vec<&String> = attributes.keys().collect();
        let mut expected = [
            "id",
            "sequence_id",
            "action",
            "payload",
            "time_offset",
            "is_queued",
            "continue_on_failure",
            "created_at",
            "updated_at",
        ];
        expected.sort_unstable();
        assert_eq!(sorted(names), expected);
        assert_eq!(attributes["sequence_id"], 1);
        assert_eq!(attributes["is_queued"], false);

        let list = get(&client, "").await;
        let expected = json!({ "object": "list", "data": [shown.json()] });
        assert_eq!((list.status, list.json()), (200, expected));
    }
    assert_eq!(delete(&owner, &path).await.status, 204);
    let empty = json!({ "object": "list", "data": [] });
    assert_eq!(get(&owner, "").await.json(), empty);
    assert_eq!(get(&owner, &path).await.status, 404);
    app.stop().await;
}

fn sorted(names: Vec<&String>) -> Vec<&str> {
    let mut names: Vec<&str> = names.into_iter().map(String::as_str).collect();
    names.sort_unstable();
    names
}

fn time(value: &Value) -> DateTime<Utc> {
    let text = value.as_str().unwrap();
    assert!(text.ends_with("+00:00"), "{text}");
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_run_follows_the_time_zone_and_the_jitter() {
    let app = App::without_worker(&[("schedules.timezone", "Asia/Kathmandu")]).await;
    let owner = app.as_owner();
    // 04:00 in Kathmandu is 22:15 in UTC, all year.
    let created = post(&owner, "", &nightly(&json!({}))).await.attributes();
    assert_eq!(created["timezone"], "Asia/Kathmandu");
    let next = time(&created["next_run_at"]);
    assert_eq!((next.hour(), next.minute(), next.second()), (22, 15, 0));
    assert!(next > Utc::now() && next < Utc::now() + chrono::Days::new(1));

    let changed = json!({ "timezone": "UTC", "jitter_seconds": 600 });
    let path = format!("/{}", created["id"]);
    let changed = post(&owner, &path, &nightly(&changed)).await.attributes();
    let next = time(&changed["next_run_at"]);
    assert!((4, 0) <= (next.hour(), next.minute()) && next.hour() == 4 && next.minute() <= 10);

    // Switched off, it has no next run; switched on, the same one again.
    let off = json!({ "is_active": false });
    let off = post(&owner, &path, &nightly(&off)).await.attributes();
    assert_eq!(
        (&off["is_active"], &off["next_run_at"]),
        (&json!(false), &Value::Null)
    );
    let on = post(&owner, &path, &nightly(&json!({}))).await.attributes();
    assert_eq!(on["next_run_at"], changed["next_run_at"]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_leaves_fields_that_panels_do_not_know_and_null_resets_them() {
    let app = App::without_worker(&[]).await;
    let owner = app.as_owner();
    let own = json!({
        "timezone": "Europe/Berlin", "jitter_seconds": 60, "missed": "skip", "keep": "last=3",
    });
    let path = create(&owner, &own).await;
    let shown = |schedule: &Value| {
        let fields = ["timezone", "jitter_seconds", "missed", "keep"];
        fields.map(|field| schedule[field].clone())
    };
    let kept = ["Europe/Berlin", "60", "skip", "last=3"];
    let changed = json!({ "name": " Weekly ", "day_of_week": "sun", "only_when_online": "1" });
    let changed = post(&owner, &path, &nightly(&changed)).await.attributes();
    assert_eq!(changed["name"], "Weekly");
    assert_eq!(changed["cron"]["day_of_week"], "sun");
    assert_eq!(changed["only_when_online"], true);
    let texts =
        shown(&changed).map(|value| value.as_str().map_or(value.to_string(), str::to_owned));
    assert_eq!(texts, kept);

    let null = json!({ "timezone": null, "jitter_seconds": null, "missed": null, "keep": null });
    let reset = post(&owner, &path, &nightly(&null)).await.attributes();
    assert_eq!(
        shown(&reset),
        [json!("UTC"), json!(0), json!("run_once"), Value::Null]
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_changes_only_the_fields_that_it_has() {
    let app = App::without_worker(&[]).await;
    let owner = app.as_owner();
    let own = json!({ "timezone": "Europe/Berlin", "keep": "last=3", "only_when_online": true });
    let path = create(&owner, &own).await;
    let before = get(&owner, &path).await.attributes();
    let changed = patch(&owner, &path, &json!({ "hour": "5", "active": false })).await;
    let changed = changed.attributes();
    assert_eq!(changed["cron"]["hour"], "5");
    let fields = ["name", "is_active", "only_when_online", "timezone", "keep"];
    for field in fields {
        assert_eq!(changed[field], before[field], "{field}");
    }
    assert_ne!(changed["next_run_at"], before["next_run_at"]);
    for (refused, status) in [
        (json!({ "hour": "24" }), 400),
        (json!({ "name": "" }), 422),
        (json!({ "jitter_seconds": -1 }), 422),
    ] {
        assert_eq!(patch(&owner, &path, &refused).await.status, status);
    }
    let mut after = get(&owner, &path).await.attributes();
    let mut expected = changed.clone();
    // The answers may be a second apart.
    for answer in [&mut after, &mut expected] {
        answer["updated_at"].take();
    }
    assert_eq!(after, expected);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_may_be_forms_and_have_booleans_and_numbers_as_strings() {
    let app = App::without_worker(&[]).await;
    let owner = app.as_owner();
    let form = "name=Form&minute=*/5&hour=1-3,7&day_of_month=L&month=JAN,jun&day_of_week=*&\
                is_active=1&jitter_seconds=30&missed=run-once";
    let request = owner
        .schedules(Method::POST, "")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(form);
    let created = send(request).await.attributes();
    assert_eq!(created["cron"]["month"], "JAN,jun");
    assert_eq!(created["is_active"], true);
    assert_eq!(created["only_when_online"], false);
    assert_eq!(created["jitter_seconds"], 30);
    assert_eq!(created["missed"], "run_once");

    // A panel takes a missing `is_active` for false, and some libraries rely on it.
    for (sent, expected) in [
        (json!(true), true),
        (json!(1), true),
        (json!("1"), true),
        (json!("true"), true),
        (json!(false), false),
        (json!(0), false),
        (json!("0"), false),
        (json!(""), false),
        (Value::Null, false),
    ] {
        let body = nightly(&json!({ "is_active": sent }));
        let created = post(&owner, "", &body).await.attributes();
        assert_eq!(created["is_active"], expected, "{sent}");
    }
    let mut body = nightly(&json!({}));
    body.as_object_mut().unwrap().remove("is_active");
    let created = post(&owner, "", &body).await.attributes();
    assert_eq!(created["is_active"], false);
    app.stop().await;
}
