//! `POST …/backups/{backup}/lock` and `/unlock`.

use serde_json::{Value, json};

use crate::support::app::App;

#[tokio::test(flavor = "multi_thread")]
async fn lock_toggles_and_a_body_sets_the_lock() {
    let app = App::start().await;
    let uuid = app.backup().await;
    let owner = app.as_owner();
    let mut wanted = false;
    for (body, expected) in [
        (json!({}), true),
        (json!({}), false),
        (json!({ "is_locked": true }), true),
        (json!({ "is_locked": true }), true),
        (json!({ "isLocked": "0" }), false),
        (json!({ "is_locked": null }), true),
    ] {
        let answer = owner.lock(&uuid, body.clone()).await;
        assert_eq!(
            (answer.status, answer.bytes.len()),
            (204, 0),
            "{body} after {wanted}"
        );
        wanted = expected;
        assert_eq!(
            owner.show(&uuid).await.attributes()["is_locked"],
            Value::Bool(wanted),
            "{body}"
        );
    }
    assert_eq!(
        owner.lock(&uuid, json!({ "is_locked": 7 })).await.status,
        422
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unlocking_twice_succeeds() {
    let app = App::start().await;
    let uuid = app.backup().await;
    let owner = app.as_owner();
    assert_eq!(owner.lock(&uuid, json!({})).await.status, 204);
    for _ in 0..2 {
        let answer = owner.unlock(&uuid).await;
        assert_eq!((answer.status, answer.bytes.len()), (204, 0));
        assert_eq!(owner.show(&uuid).await.attributes()["is_locked"], false);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_completed_backups_can_be_locked_and_unlocked() {
    let app = App::start().await;
    let failed = app.failed_backup().await;
    app.sql()
        .query("UPDATE servers SET node = 'elsewhere'")
        .await;
    let owner = app.as_owner();
    let creating = owner.create(json!({})).await.uuid();
    for (uuid, code, text) in [
        (
            &creating,
            "BackupNotCompletedException",
            "This backup has not completed yet and cannot be",
        ),
        (
            &failed,
            "BackupFailedException",
            "This backup failed and cannot be",
        ),
    ] {
        let expected = |verb: &str| (400, code.to_owned(), format!("{text} {verb}."));
        assert_eq!(
            owner.lock(uuid, json!({})).await.refusal(),
            expected("locked")
        );
        assert_eq!(owner.unlock(uuid).await.refusal(), expected("unlocked"));
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_simultaneous_toggles_cancel_each_other() {
    let app = App::start().await;
    let uuid = app.backup().await;
    let owner = app.as_owner();
    for _round in 0..5 {
        let lock = || owner.lock(&uuid, json!({}));
        let (one, other) = tokio::join!(lock(), lock());
        assert_eq!((one.status, other.status), (204, 204));
        // Each toggle saw the other's result.
        assert_eq!(owner.show(&uuid).await.attributes()["is_locked"], false);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn locking_works_in_every_state_of_the_server() {
    let mut app = App::start().await;
    let uuid = app.backup().await;
    let owner = app.as_owner();
    for state in holdfast_domain::ServerState::ALL {
        app.server.state = state;
        app.save_server().await;
        assert_eq!(owner.lock(&uuid, json!({})).await.status, 204, "{state:?}");
        assert_eq!(owner.unlock(&uuid).await.status, 204, "{state:?}");
    }
    app.stop().await;
}
