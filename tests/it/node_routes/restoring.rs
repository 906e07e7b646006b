//! `POST /api/servers/{server}/backup/{backup}/restore`.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Node, refusal};
use crate::support::files;
use crate::support::receiver::{Answer, Receiver};

fn restored(successful: bool) -> (String, Value) {
    ("restore".to_owned(), json!({ "successful": successful }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_brings_back_the_files_and_is_reported() {
    let node = Node::start().await;
    let (server, directory, backup) = node.completed().await;
    let before = files::tree(&directory);
    fs_err::remove_dir_all(directory.join("world")).unwrap();
    files::write(&directory.join("new.txt"), b"made later");
    let answer = node.restore(&server, &backup).await;
    assert_eq!((answer.status, answer.bytes.len()), (202, 0));
    assert_eq!(node.reports(&backup, 2).await[1], restored(true));
    assert_eq!(files::tree(&directory), before);

    // Without `truncate_directory`, other files stay.
    files::write(&directory.join("new.txt"), b"made later");
    let path = format!("{server}/backup/{backup}/restore");
    let body = json!({ "adapter": "wings", "truncate_directory": false });
    assert_eq!(node.send(Method::POST, &path, body).await.status, 202);
    assert_eq!(node.reports(&backup, 3).await[2], restored(true));
    assert!(directory.join("new.txt").exists());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_waits_for_a_backup_and_is_not_repeated() {
    let mut node = Node::start().await;
    let (server, directory, backup) = node.completed().await;
    node.app.stop_workers().await;
    let later = node.create(&server).await;
    for _ in 0..3 {
        assert_eq!(node.restore(&server, &backup).await.status, 202);
    }
    files::write(&directory.join("new.txt"), b"made before the later backup");
    node.app.add_worker(&[]);
    assert_eq!(node.reports(&backup, 2).await[1], restored(true));
    assert_eq!(node.reports(&later, 1).await[0].1["successful"], true);
    // The later backup came first.
    assert!(!directory.join("new.txt").exists());
    let listed = files::list(&node.archive(&server, &later));
    assert!(
        listed.iter().any(|name| name.ends_with("new.txt")),
        "{listed:?}"
    );
    // After its end, it can be requested again.
    assert_eq!(node.restore(&server, &backup).await.status, 202);
    assert_eq!(node.reports(&backup, 3).await[2], restored(true));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_fails_changes_nothing_and_is_reported() {
    let node = Node::start().await;
    let (server, directory, backup) = node.completed().await;
    let archive = node.archive(&server, &backup);
    let mut bytes = fs_err::read(&archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs_err::write(&archive, bytes).unwrap();
    files::write(&directory.join("new.txt"), b"made later");
    let before = files::tree(&directory);
    assert_eq!(node.restore(&server, &backup).await.status, 202);
    assert_eq!(node.reports(&backup, 2).await[1], restored(false));
    assert_eq!(files::tree(&directory), before);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_whose_backup_is_gone_is_reported_nevertheless() {
    let mut node = Node::start().await;
    let (server, _, backup) = node.completed().await;
    node.app.stop_workers().await;
    node.create(&server).await;
    assert_eq!(node.restore(&server, &backup).await.status, 202);
    // Past the service, as a lost disk and an import would leave it.
    let delete = format!("DELETE FROM backups WHERE id = '{backup}'");
    node.app.sql().query(&delete).await;
    node.app.add_worker(&[]);
    assert_eq!(node.reports(&backup, 2).await[1], restored(false));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_by_an_operator_is_not_reported() {
    let node = Node::start().await;
    let (server, _, backup) = node.completed().await;
    let admin = node.app.as_admin().about(&server);
    assert_eq!(admin.restore(&backup, json!({})).await.status, 202);
    crate::support::eventually("the restore has ended", async || {
        let restore = admin.show(&backup).await.attributes()["restore"].clone();
        (restore["status"] == "completed").then_some(())
    })
    .await;
    assert_eq!(node.reports_now(&backup).await.len(), 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_completed_backups_of_the_node_are_restored_and_no_url_is_fetched() {
    let mut node = Node::start().await;
    let (server, _, backup) = node.completed().await;
    let receiver = Receiver::start(&[Answer::Status(200)]).await;
    let ask = async |backup: &str, adapter: &str| {
        let path = format!("{server}/backup/{backup}/restore");
        let body = json!({
            "adapter": adapter, "truncate_directory": true, "download_url": receiver.url,
        });
        node.send(Method::POST, &path, body).await
    };
    let unknown = (
        404,
        "The requested backup was not found on this server.".to_owned(),
    );
    assert_eq!(refusal(&ask(&backup, "s3").await), unknown);
    assert_eq!(
        refusal(&ask(&Uuid::new_v4().to_string(), "wings").await),
        unknown
    );
    // That of another server.
    let (other, _, of_other) = node.completed().await;
    assert_eq!(refusal(&ask(&of_other, "wings").await), unknown);
    assert_ne!(other, server);
    assert_eq!(ask(&backup, "wings").await.status, 202);
    assert_eq!(node.reports(&backup, 2).await[1], restored(true));

    let missing = Uuid::new_v4().to_string();
    fs_err::remove_dir_all(node.directory(&server)).unwrap();
    node.create_as(&server, &missing).await;
    node.reports(&missing, 1).await;
    let failed = "This backup failed and cannot be restored.";
    assert_eq!(
        refusal(&node.restore(&server, &missing).await),
        (400, failed.to_owned())
    );
    node.app.stop_workers().await;
    let queued = node.create(&server).await;
    let creating = "This backup has not completed yet and cannot be restored.";
    assert_eq!(
        refusal(&node.restore(&server, &queued).await),
        (400, creating.to_owned())
    );
    assert_eq!(receiver.received().len(), 0);
    node.stop().await;
}
