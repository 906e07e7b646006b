//! `DELETE /api/servers/{server}/backup/{backup}` and `DELETE …/deleteAllBackups`.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Node, claims, refusal, sign};
use crate::maintenance::admin;
use crate::support::eventually;

/// The answer to a request about a backup that does not exist.
fn unknown() -> (u16, String) {
    let text = "The requested backup was not found on this server.";
    (404, text.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_is_promised_at_once_and_kept_by_the_next_worker() {
    let mut node = Node::start().await;
    let (server, _, backup) = node.completed().await;
    node.app.stop_workers().await;
    // No worker runs, and the answer comes all the same.
    let answer = node.delete(&server, &backup).await;
    assert_eq!((answer.status, answer.bytes.len()), (204, 0));
    assert!(node.archive(&server, &backup).exists());
    // From now on, the panel does not find it.
    assert_eq!(refusal(&node.restore(&server, &backup).await), unknown());
    let token = sign(super::TOKEN, &claims(&server, &backup));
    assert_eq!(node.get(&node.link(&token)).await.status, 404);
    assert_eq!(node.create_as(&server, &backup).await.status, 409);
    assert_eq!(node.delete(&server, &backup).await.status, 204);
    node.app.add_worker(&[]);
    node.gone(&server, &backup).await;
    assert_eq!(refusal(&node.delete(&server, &backup).await), unknown());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_whose_job_fails_gets_another_one() {
    let mut node = Node::start().await;
    let (server, _, backup) = node.completed().await;
    node.app.stop_workers().await;
    assert_eq!(node.delete(&server, &backup).await.status, 204);
    // A worker that cannot reach the disk, and tries only once.
    let sql = node.app.sql();
    sql.query(&format!(
        "INSERT INTO jobs (kind, server_id, backup_id, node, state, attempt, finalized_at)
         SELECT 'delete_backup', server_id, id, node, 'discarded', 3, now() FROM backups
         WHERE id = '{backup}'"
    ))
    .await;
    node.app.add_worker(&[]);
    node.gone(&server, &backup).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deletion_of_a_backup_that_waits_or_is_queued_cancels_it() {
    let mut node = Node::without_worker(&[]).await;
    let (server, _) = node.new_server();
    let queued = node.create(&server).await;
    let waiting = node.create(&server).await;
    let last = node.create(&server).await;
    for backup in [&waiting, &queued] {
        assert_eq!(node.delete(&server, backup).await.status, 204);
        let reports = node.reports(backup, 1).await;
        assert_eq!(reports[0].1["successful"], false, "{reports:?}");
    }
    node.app.add_worker(&[]);
    node.gone(&server, &queued).await;
    node.gone(&server, &waiting).await;
    assert_eq!(node.reports(&last, 1).await[0].1["successful"], true);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deletion_of_a_running_backup_cancels_it_first() {
    let mut node = Node::without_worker(&[]).await;
    // Slow enough to be still running.
    let slow = [("worker.read_limit_bytes_per_second", "100000")];
    node.app.add_worker(&slow);
    let (server, directory) = node.new_server();
    fs_err::write(directory.join("large"), vec![7; 20_000_000]).unwrap();
    let backup = node.create(&server).await;
    eventually("the backup runs", async || {
        let running = "SELECT count(*) FROM jobs WHERE state = 'running'";
        (node.app.sql().number(running).await == 1).then_some(())
    })
    .await;
    assert_eq!(node.delete(&server, &backup).await.status, 204);
    node.gone(&server, &backup).await;
    assert_eq!(node.reports(&backup, 1).await[0].1["successful"], false);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_waits_for_a_restore_of_the_backup() {
    let mut node = Node::start().await;
    let (server, _, backup) = node.completed().await;
    node.app.stop_workers().await;
    assert_eq!(node.restore(&server, &backup).await.status, 202);
    assert_eq!(node.delete(&server, &backup).await.status, 204);
    node.app.add_worker(&[]);
    let reports = node.reports(&backup, 2).await;
    assert_eq!(reports[1].1, json!({ "successful": true }));
    node.gone(&server, &backup).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_an_operator_has_locked_is_not_deleted() {
    let node = Node::start().await;
    let (server, _, locked) = node.completed().await;
    let other = node.create(&server).await;
    node.reports(&other, 1).await;
    let admin = node.app.as_admin().about(&server);
    let answer = admin.lock(&locked, json!({ "is_locked": true })).await;
    assert_eq!(answer.status, 204);
    let text = "This backup is locked and cannot be deleted.";
    assert_eq!(
        refusal(&node.delete(&server, &locked).await),
        (400, text.to_owned())
    );

    let path = format!("{server}/deleteAllBackups");
    let answer = node.send(Method::DELETE, &path, Value::Null).await;
    assert_eq!((answer.status, answer.bytes.len()), (204, 0));
    node.gone(&server, &other).await;
    assert!(node.archive(&server, &locked).exists());
    assert_eq!(admin.unlock(&locked).await.status, 204);
    assert_eq!(node.delete(&server, &locked).await.status, 204);
    node.gone(&server, &locked).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_are_not_lost_when_an_operator_deletes_the_server() {
    let node = Node::start().await;
    let (server, _, backup) = node.completed().await;
    assert_eq!(node.restore(&server, &backup).await.status, 202);
    let before = node.reports(&backup, 2).await;
    let deleted = admin(
        &node.app,
        &[],
        &["server", "delete", &server, "--delete-backups"],
    );
    deleted.json();
    eventually("the server is deleted", async || {
        let select = format!("SELECT count(*) FROM servers WHERE id = '{server}'");
        (node.app.sql().number(&select).await == 0).then_some(())
    })
    .await;
    // The panel, which does not answer yet, still waits for them.
    assert_eq!(node.reports_now(&backup).await, before);
    node.stop().await;
}
