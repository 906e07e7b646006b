//! `POST …/backups/{backup}/cancel`.

use reqwest::Method;
use serde_json::json;

use crate::support::app::App;
use crate::support::client::{Answer, Client, send};
use crate::support::{eventually, files};

const ENDED: &str = "Cannot cancel a backup that has already ended.";

async fn cancel(client: &Client, uuid: &str) -> Answer {
    send(client.request(Method::POST, &format!("/{uuid}/cancel"))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queued_backup_can_be_cancelled_and_the_next_one_created() {
    let app = App::without_worker(&[]).await;
    let owner = app.as_owner();
    let body = json!({ "name": "A mistake", "is_locked": true });
    let uuid = owner.create(body).await.uuid();
    let answer = cancel(&app.as_admin(), &uuid).await;
    assert_eq!((answer.status, answer.bytes.len()), (204, 0));
    insta::assert_json_snapshot!("cancelled", owner.show(&uuid).await.redacted());
    let again = cancel(&owner, &uuid).await.refusal();
    assert_eq!((again.0, again.2.as_str()), (409, ENDED));
    owner.create(json!({})).await.uuid();
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_backup_can_be_cancelled_and_leaves_nothing() {
    let mut app = App::without_worker(&[]).await;
    app.add_worker(&[("worker.read_limit_bytes_per_second", "40000")]);
    files::write(&app.directory.join("big.dat"), &files::noise(3_000_000, 5));
    let owner = app.as_owner();
    let uuid = owner.create(json!({})).await.uuid();
    eventually("the backup is under way", async || {
        let left = files::files_below(&app.disk);
        left.iter()
            .any(|name| name.ends_with(".partial"))
            .then_some(())
    })
    .await;
    assert_eq!(cancel(&owner, &uuid).await.status, 204);
    let cancelled = app.ended(&uuid).await;
    let error = "This backup was cancelled by owner@example.com.";
    assert_eq!(cancelled["error"], error);
    eventually("the worker has cleared up", async || {
        (files::files_below(&app.disk) == [".holdfast-disk"]).then_some(())
    })
    .await;
    assert_eq!(owner.delete(&uuid).await.status, 204);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_backup_cannot_be_cancelled() {
    let app = App::start().await;
    for uuid in [app.backup().await, app.failed_backup().await] {
        let before = app.as_owner().show(&uuid).await.attributes();
        let refused = cancel(&app.as_owner(), &uuid).await.refusal();
        let expected = (409, "ConflictingServerStateException".into(), ENDED.into());
        assert_eq!(refused, expected);
        assert_eq!(app.as_owner().show(&uuid).await.attributes(), before);
    }
    app.stop().await;
}
