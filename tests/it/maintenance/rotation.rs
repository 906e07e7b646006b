//! A server with rotation may exceed its limit by one backup. Its oldest is deleted once the new
//! one is complete.

use serde_json::json;

use super::{admin, lines};
use crate::support::app::App;
use crate::support::{eventually, files};

async fn rotating_app(limit: u32) -> App {
    let mut app = App::start_with(&[("maintenance.interval_seconds", "604800")]).await;
    files::make_server(&app.directory);
    app.server.limits.backups = Some(limit);
    app.server.limits.rotate = true;
    app.save_server().await;
    app
}

async fn uuids(app: &App) -> Vec<String> {
    let listed = app.as_owner().list("").await.json();
    let backups = listed["data"].as_array().unwrap().iter();
    backups
        .map(|backup| backup["attributes"]["uuid"].as_str().unwrap().to_owned())
        .collect()
}

async fn becomes(app: &App, expected: &[&String]) {
    eventually("the list is as it should be", async || {
        let found = uuids(app).await;
        (found.iter().collect::<Vec<_>>() == expected).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_16_the_oldest_unlocked_backup_is_deleted_once_the_new_one_has_completed() {
    let app = rotating_app(2).await;
    let first = app.backup().await;
    assert_eq!(app.as_owner().lock(&first, json!({})).await.status, 204);
    let second = app.backup().await;
    let third = app.backup().await;
    becomes(&app, &[&third, &first]).await;
    // A backup that fails deletes nothing.
    let failed = app.failed_backup().await;
    assert_eq!(
        uuids(&app).await,
        [&failed, &third, &first].map(String::clone)
    );
    let reason =
        "SELECT properties ->> 'reason' FROM activity WHERE event = 'server:backup.delete'";
    let rows = app.sql().query(reason).await;
    assert_eq!(
        rows[0][0].as_deref(),
        Some("rotation: it is the oldest, and the server has more than 2 backups")
    );
    assert!(!app.archive(&second).exists());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_rotation_or_a_deletable_backup_the_limit_holds() {
    let mut app = rotating_app(1).await;
    let only = app.backup().await;
    assert_eq!(app.as_owner().lock(&only, json!({})).await.status, 204);
    let refused = app.as_owner().create(json!({})).await;
    assert_eq!(
        (refused.status, &*refused.refusal().1),
        (400, "TooManyBackupsException")
    );
    assert_eq!(app.as_owner().unlock(&only).await.status, 204);
    let next = app.backup().await;
    becomes(&app, &[&next]).await;
    app.server.limits.rotate = false;
    app.save_server().await;
    assert_eq!(app.as_owner().create(json!({})).await.status, 400);
    app.server.limits.rotate = true;
    app.server.limits.backups = Some(0);
    app.save_server().await;
    assert_eq!(app.as_owner().create(json!({})).await.status, 400);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_at_a_time_may_exceed_the_limit_by_rotation() {
    let mut app = rotating_app(1).await;
    app.backup().await;
    app.stop_workers().await;
    let owner = app.as_owner();
    let asked = (0..8).map(|_| owner.create(json!({})));
    let answers = futures_util::future::join_all(asked).await;
    let accepted: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == 200)
        .collect();
    assert_eq!(accepted.len(), 1);
    assert!(
        answers
            .iter()
            .all(|answer| [200, 409].contains(&answer.status))
    );
    let counted = "SELECT count(*) FROM backups WHERE state IN ('creating', 'completed')";
    assert_eq!(app.sql().number(counted).await, 2);
    // The new backup completes, but the old one is not deleted yet: no other may be created.
    app.add_worker(&[]);
    let new = accepted[0].uuid();
    app.ended(&new).await;
    app.stop_workers().await;
    app.sql()
        .query(
            "INSERT INTO backups (id, server_id, name, disk, state, completed_at, sha256, \
             size_bytes, archive_attempt,
                                  is_locked)
             SELECT gen_random_uuid(), server_id, 'b', disk, state, completed_at, sha256, \
             size_bytes, archive_attempt,
                    true
             FROM backups LIMIT 1",
        )
        .await;
    let left = app.sql().number(counted).await;
    assert!(left >= 2);
    assert_eq!(owner.create(json!({})).await.status, 400);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lowered_limit_applies_from_the_next_retention_on() {
    let mut app = rotating_app(5).await;
    let (_one, _two, three, four) = (
        app.backup().await,
        app.backup().await,
        app.backup().await,
        app.backup().await,
    );
    let short = app.server.id.short();
    app.server.limits.backups = Some(2);
    app.save_server().await;
    let set = admin(&app, &[], &["server", "set", &short, "--rotate=false"]).json();
    assert_eq!(set["rotate"], false);
    assert_eq!(admin(&app, &[], &["retention"]).json(), json!([]));
    let set = admin(&app, &[], &["server", "set", &short, "--rotate"]).json();
    assert_eq!(
        (&set["rotate"], &set["backup_limit"]),
        (&json!(true), &json!(2))
    );
    app.server.limits.rotate = true;
    let rows = admin(&app, &[], &["retention"]).json();
    assert_eq!(rows.as_array().unwrap().len(), 2, "{rows}");
    becomes(&app, &[&four, &three]).await;
    assert!(!lines(&app, "retention").is_empty());
    app.stop().await;
}
