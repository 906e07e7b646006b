//! Archives in buckets, and servers that come from another node.

use reqwest::Method;
use serde_json::{Value, json};

use holdfast_domain::server::ServerManager;
use holdfast_domain::{NodeName, Server, ServerId};

use super::{Node, PANEL, TOKEN, claims, refusal, sign};
use crate::disks::{Bucket, objects};
use crate::support::s3::S3Server;
use crate::support::{files, fixtures};

/// A node whose archives lie in a bucket.
async fn with_bucket(server: &S3Server) -> Node {
    let bucket = Bucket::at(server.endpoint());
    let mut node = Node::without_worker(&bucket.settings()).await;
    node.app.add_worker(&[]);
    node
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_in_a_bucket_are_downloaded_from_there() {
    let bucket = S3Server::start().await;
    let node = with_bucket(&bucket).await;
    let (server, _, backup) = node.completed().await;
    let link = node.link(&sign(TOKEN, &claims(&server, &backup)));
    let answer = node.get(&link).await;
    assert_eq!((answer.status, answer.bytes.len()), (302, 0));
    let presigned = answer.header("location").to_owned();
    assert!(presigned.starts_with(&bucket.endpoint()), "{presigned}");
    let archive = node.get(&presigned).await.bytes;
    let report = &node.reports(&backup, 1).await[0].1;
    assert_eq!(report["checksum"], files::sha256(&archive));
    // A presigned URL is for GET, so HEAD is answered here.
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let head = client.head(&link).send().await.unwrap();
    assert_eq!(head.status(), 200);
    assert_eq!(
        head.headers()["content-length"],
        archive.len().to_string().as_str()
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_in_a_bucket_are_found_again_by_a_node_that_does_not_know_them() {
    let bucket = S3Server::start().await;
    let node = with_bucket(&bucket).await;
    let (server, directory, backup) = node.completed().await;
    let second = node.create(&server).await;
    node.reports(&second, 1).await;
    let before = files::tree(&directory);
    // The other node has another database.
    let forget = format!(
        "DELETE FROM panel_callbacks; DELETE FROM jobs; DELETE FROM backups; \
         DELETE FROM servers WHERE id = '{server}'"
    );
    node.app.sql().query(&forget).await;
    files::write(&directory.join("new.txt"), b"made later");
    assert_eq!(node.restore(&server, &backup).await.status, 202);
    let reports = node.reports(&backup, 1).await;
    assert_eq!(
        reports,
        [("restore".to_owned(), json!({ "successful": true }))]
    );
    assert_eq!(files::tree(&directory), before);
    let link = node.link(&sign(TOKEN, &claims(&server, &second)));
    assert_eq!(node.get(&link).await.status, 302);
    // Its server is one of the panel again.
    let managed =
        format!("SELECT count(*) FROM servers WHERE id = '{server}' AND managed_by = 'wings'");
    assert_eq!(node.app.sql().number(&managed).await, 1);
    node.app.sql().query(&forget).await;
    for backup in [&backup, &second] {
        assert_eq!(node.delete(&server, backup).await.status, 204);
        node.gone(&server, backup).await;
    }
    assert_eq!(objects(&bucket), Vec::<String>::new());
    let unknown = "The requested backup was not found on this server.";
    assert_eq!(
        refusal(&node.delete(&server, &backup).await),
        (404, unknown.to_owned())
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_cannot_be_read_is_not_a_backup_that_does_not_exist() {
    let mut bucket = S3Server::start().await;
    let node = with_bucket(&bucket).await;
    let (server, _) = node.new_server();
    bucket.kill().await;
    let unknown = uuid::Uuid::new_v4().to_string();
    // The panel takes 404 for a deletion that is done.
    assert_eq!(node.delete(&server, &unknown).await.status, 503);
    bucket.come_back().await;
    assert_eq!(node.delete(&server, &unknown).await.status, 404);
    node.stop().await;
}

/// Says that a server was registered by a panel on another node.
async fn is_elsewhere(node: &Node, server: &str, managed_by: Option<ServerManager>, panel: &str) {
    let is_managed = managed_by.is_some();
    let record = Server {
        id: ServerId::parse(server).unwrap(),
        owner: (!is_managed).then_some(node.app.owner_id()),
        node: NodeName::parse("elsewhere").unwrap(),
        directory: "/srv/elsewhere".into(),
        managed_by,
        ..node.app.server.clone()
    };
    fixtures::server(&node.app.database, &record).await.unwrap();
    let of_panel = format!("UPDATE servers SET panel = '{panel}' WHERE id = '{server}'");
    node.app.sql().query(&of_panel).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_another_node_moves_here_once_its_jobs_have_ended() {
    let mut node = Node::without_worker(&[]).await;
    let (server, directory) = node.new_server();
    is_elsewhere(&node, &server, Some(ServerManager::Wings), PANEL).await;
    let body = json!({ "adapter": "wings", "uuid": uuid::Uuid::new_v4(), "ignore": "" });
    let path = format!("{server}/backup");
    let busy = format!(
        "INSERT INTO jobs (kind, server_id, backup_id, node)
         VALUES ('create_backup', '{server}', gen_random_uuid(), 'elsewhere')"
    );
    node.app.sql().query(&busy).await;
    assert_eq!(node.send(Method::POST, &path, body).await.status, 503);
    let ended = "UPDATE jobs SET state = 'cancelled', finalized_at = now()";
    node.app.sql().query(ended).await;
    let backup = node.create(&server).await;
    node.app.add_worker(&[]);
    assert_eq!(node.reports(&backup, 1).await[0].1["successful"], true);
    let place = format!("SELECT node || ' ' || directory FROM servers WHERE id = '{server}'");
    let rows = node.app.sql().query(&place).await;
    let expected = format!("local {}", directory.display());
    assert_eq!(rows[0][0].as_deref(), Some(expected.as_str()));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_reaches_no_server_of_another_panel_or_of_an_operator_elsewhere() {
    let mut node = Node::start().await;
    let (server, _, backup) = node.completed().await;
    node.app.stop_workers().await;
    let token = sign(TOKEN, &claims(&server, &backup));
    assert_eq!(node.get(&node.link(&token)).await.status, 200);
    for (managed_by, panel) in [
        (
            Some(ServerManager::Wings),
            "https://panel.of.another.example.com",
        ),
        (None, PANEL),
    ] {
        is_elsewhere(&node, &server, managed_by, panel).await;
        let text = "This server is registered on another node of the backup service, and not by \
                    this panel.";
        let refused = (409, text.to_owned());
        let all = format!("{server}/deleteAllBackups");
        for answer in [
            node.create_as(&server, &uuid::Uuid::new_v4().to_string())
                .await,
            node.restore(&server, &backup).await,
            node.delete(&server, &backup).await,
            node.send(Method::DELETE, &all, Value::Null).await,
        ] {
            assert_eq!(refusal(&answer), refused, "{panel}");
        }
        assert_eq!(refusal(&node.get(&node.link(&token)).await).0, 404);
        let unchanged = format!(
            "SELECT count(*) FROM servers s JOIN backups b ON b.server_id = s.id
             WHERE s.id = '{server}' AND s.node = 'elsewhere' AND b.deleting_at IS NULL"
        );
        assert_eq!(node.app.sql().number(&unchanged).await, 1);
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_an_operator_has_registered_is_not_taken() {
    let node = Node::without_worker(&[]).await;
    let (server, directory) = node.new_server();
    let registered = Server {
        id: ServerId(uuid::Uuid::new_v4()),
        directory: directory.join("world"),
        ..node.app.server.clone()
    };
    fixtures::server(&node.app.database, &registered)
        .await
        .unwrap();
    let answer = node
        .create_as(&server, &uuid::Uuid::new_v4().to_string())
        .await;
    let text = "The directory of this server belongs to another server of the backup service.";
    assert_eq!(refusal(&answer), (409, text.to_owned()));
    // Under its own UUID, a server that an operator has registered here is backed up as it is.
    let own = node.app.server.id.to_string();
    node.create(&own).await;
    node.stop().await;
}
