//! `DELETE …/backups/{backup}`.

use serde_json::json;

use holdfast_domain::{NodeName, Permission};

use crate::support::app::App;
use crate::support::files;

const BUSY: &str = "ConflictingServerStateException";

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_backup_is_gone_from_the_list_and_from_the_disk() {
    let app = App::start().await;
    files::make_server(&app.directory);
    let kept = app.backup().await;
    let uuid = app.backup().await;
    assert!(app.archive(&uuid).exists());
    let deleter = app.as_subuser(&[Permission::Delete]).await;
    let answer = deleter.delete(&uuid).await;
    assert_eq!((answer.status, answer.bytes.len()), (204, 0));
    let left = files::files_below(&app.disk);
    assert!(left.iter().all(|name| !name.contains(&uuid)), "{left:?}");
    assert!(app.archive(&kept).exists());
    let owner = app.as_owner();
    assert_eq!(owner.show(&uuid).await.status, 404);
    assert_eq!(owner.delete(&uuid).await.status, 404);
    assert_eq!(
        owner.list("").await.json()["meta"]["pagination"]["total"],
        1
    );
    // The folder is removed with the last backup.
    assert_eq!(owner.delete(&kept).await.status, 204);
    assert_eq!(files::files_below(&app.disk), [".holdfast-disk"]);
    assert!(!app.archive(&kept).parent().unwrap().exists());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_15_a_failed_backup_and_one_without_an_archive_can_be_deleted() {
    let app = App::start().await;
    let failed = app.failed_backup().await;
    let uuid = app.backup().await;
    fs_err::remove_file(app.archive(&uuid)).unwrap();
    let viewed = app.as_owner().show(&failed).await.attributes();
    assert_eq!(viewed["status"], "failed");
    assert_eq!(app.as_owner().delete(&failed).await.status, 204);
    assert_eq!(app.as_owner().delete(&uuid).await.status, 204);
    assert_eq!(app.sql().number("SELECT count(*) FROM backups").await, 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_backup_cannot_be_deleted() {
    let app = App::start().await;
    let uuid = app.backup().await;
    let owner = app.as_owner();
    owner.lock(&uuid, json!({})).await;
    let answer = owner.delete(&uuid).await;
    insta::assert_json_snapshot!("locked", answer.redacted());
    assert!(app.archive(&uuid).exists());
    owner.unlock(&uuid).await;
    assert_eq!(owner.delete(&uuid).await.status, 204);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_cannot_be_deleted_while_it_is_created_or_restored() {
    let mut app = App::start().await;
    let uuid = app.backup().await;
    // From here on, no worker runs.
    app.server.node = NodeName::parse("elsewhere").unwrap();
    app.save_server().await;
    let owner = app.as_owner();
    assert_eq!(owner.restore(&uuid, json!({})).await.status, 202);
    let restoring = "Cannot delete backup while it is being restored.";
    let expected = (409, BUSY.into(), restoring.into());
    assert_eq!(owner.delete(&uuid).await.refusal(), expected);
    app.sql()
        .query("DELETE FROM jobs WHERE kind = 'restore_backup'")
        .await;
    let creating = owner.create(json!({})).await.uuid();
    let text = "Cannot delete backup while it is being created.";
    let expected = (409, BUSY.into(), text.into());
    assert_eq!(owner.delete(&creating).await.refusal(), expected);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_backup_in_creation_is_refused_as_busy() {
    let app = App::without_worker(&[]).await;
    let owner = app.as_owner();
    let uuid = owner.create(json!({ "is_locked": true })).await.uuid();
    let text = "Cannot delete backup while it is being created.";
    let expected = (409, BUSY.into(), text.into());
    assert_eq!(owner.delete(&uuid).await.refusal(), expected);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_away_keeps_the_backup_and_is_reported() {
    let app = App::start().await;
    let uuid = app.backup().await;
    let away = app.beside("away");
    fs_err::rename(&app.disk, &away).unwrap();
    let answer = app.as_owner().delete(&uuid).await;
    insta::assert_json_snapshot!("disk_away", answer.redacted());
    assert_eq!(answer.header("retry-after"), "5");
    let shown = app.as_owner().show(&uuid).await.attributes();
    assert_eq!(shown["status"], "completed");
    fs_err::rename(&away, &app.disk).unwrap();
    assert_eq!(app.as_owner().delete(&uuid).await.status, 204);
    assert!(!app.archive(&uuid).exists());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_simultaneous_deletions_both_succeed() {
    let app = App::start().await;
    let uuid = app.backup().await;
    let owner = app.as_owner();
    let (one, other) = tokio::join!(owner.delete(&uuid), owner.delete(&uuid));
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    // The second request either waits for the job of the first, or arrives too late.
    assert!(matches!(statuses, [204, 204 | 404]), "{statuses:?}");
    assert_eq!(app.sql().number("SELECT count(*) FROM backups").await, 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_no_worker_claims_is_cancelled() {
    let app = App::start().await;
    let uuid = app.backup().await;
    app.sql()
        .query("UPDATE servers SET node = 'elsewhere'; UPDATE backups SET node = 'elsewhere'")
        .await;
    let answer = app.as_owner().delete(&uuid).await;
    assert_eq!(answer.refusal().0, 503);
    let waiting = "SELECT count(*) FROM jobs WHERE state NOT IN ('completed', 'cancelled')";
    assert_eq!(app.sql().number(waiting).await, 0, "it must not come later");
    let shown = app.as_owner().show(&uuid).await.attributes();
    assert_eq!(
        (&shown["status"], &shown["progress"]),
        (&json!("completed"), &json!(null))
    );
    app.sql()
        .query("UPDATE servers SET node = 'local'; UPDATE backups SET node = 'local'")
        .await;
    assert_eq!(app.as_owner().delete(&uuid).await.status, 204);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_works_in_every_state_of_the_server() {
    let mut app = App::start().await;
    for state in holdfast_domain::ServerState::ALL {
        app.server.state = holdfast_domain::ServerState::Normal;
        app.save_server().await;
        let uuid = app.backup().await;
        app.server.state = state;
        app.save_server().await;
        assert_eq!(app.as_owner().delete(&uuid).await.status, 204, "{state:?}");
    }
    app.stop().await;
}
