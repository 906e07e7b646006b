//! Two nodes on one database, each with an API, a worker and a local disk. Both disks have the
//! default name `local`.

use std::path::PathBuf;

use reqwest::Method;
use serde_json::{Value, json};

use holdfast_domain::{NodeName, Server};

use crate::support::app::App;
use crate::support::client::{Client, send};
use crate::support::files;
use crate::support::fixtures;

struct Nodes {
    app: App,
    /// The API of the second node.
    second_url: String,
    /// The disk of the second node.
    second_disk: PathBuf,
    /// A server of the second node.
    server: Server,
}

impl Nodes {
    async fn start() -> Self {
        let mut app = App::without_worker(&[]).await;
        let second_disk = app.beside("second-disk");
        let root = second_disk.to_string_lossy().into_owned();
        let second = [
            ("worker.node", "second"),
            ("storage.disks.local.root", &*root),
        ];
        let second_url = app.add_api(&second).await;
        let first_url = app.base_url_of("");
        app.add_worker(&[("downloads.public_url", &first_url)]);
        let [node, root] = second;
        app.add_worker(&[node, root, ("downloads.public_url", &second_url)]);
        let mut server = app.another_server("on-second").await;
        server.node = NodeName::parse("second").unwrap();
        fixtures::server(app.database(), &server).await.unwrap();
        files::make_server(&server.directory);
        files::make_server(&app.directory);
        Self {
            app,
            second_url,
            second_disk,
            server,
        }
    }

    /// The owner, asking the first API for the server of the second node.
    fn as_owner(&self) -> Client {
        self.app.as_owner().about(&self.server.id.to_string())
    }

    /// Creates a backup through the first API, and returns it when it has completed.
    async fn backup(&self, client: &Client) -> Value {
        let uuid = client.create(json!({})).await.uuid();
        let ended = crate::support::eventually("the backup has ended", async || {
            let shown = client.show(&uuid).await.attributes();
            (shown["status"] != "creating").then_some(shown)
        })
        .await;
        assert_eq!(ended["status"], "completed", "{ended}");
        ended
    }
}

async fn assert_downloads(client: &Client, backup: &Value, from: &str) {
    let link = client
        .download(backup["uuid"].as_str().unwrap())
        .await
        .link();
    assert!(link.starts_with(from), "{link} is not at {from}");
    let answer = send(client.plain(Method::GET, &link)).await;
    assert_eq!(answer.status, 200, "{link}");
    assert_eq!(files::sha256(&answer.bytes), backup["sha256_hash"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_serve_each_others_callers_and_the_archives_on_their_own_disks() {
    let nodes = Nodes::start().await;
    let first_url = nodes.app.base_url_of("");
    for api in [first_url.as_str(), nodes.second_url.as_str()] {
        let on_first = nodes.app.as_owner().at(api);
        let on_second = nodes.as_owner().at(api);
        let backup = nodes.backup(&on_first).await;
        assert_downloads(&on_first, &backup, &first_url).await;
        let backup = nodes.backup(&on_second).await;
        let uuid = backup["uuid"].as_str().unwrap();
        assert!(
            files::files_below(&nodes.second_disk)
                .iter()
                .any(|file| file.contains(uuid))
        );
        assert!(
            !files::files_below(&nodes.app.beside("backups"))
                .iter()
                .any(|file| file.contains(uuid))
        );
        assert_downloads(&on_second, &backup, &nodes.second_url).await;
        // Only the process of the node can read single files of it.
        let path = format!("/{uuid}/contents/file?path=start.sh");
        let file = send(on_second.request(Method::GET, &path)).await;
        match api == nodes.second_url {
            true => assert_eq!(file.bytes, b"#!/bin/sh\nexec java\n"),
            false => assert_eq!(file.refusal().0, 409),
        }

        let before = files::tree(&nodes.server.directory);
        fs_err::remove_dir_all(nodes.server.directory.join("world")).unwrap();
        assert_eq!(on_second.restore(uuid, json!({})).await.status, 202);
        crate::support::eventually("the restore has ended", async || {
            let shown = on_second.show(uuid).await.attributes();
            (shown["restore"]["status"] == "completed").then_some(())
        })
        .await;
        assert_eq!(files::tree(&nodes.server.directory), before);
        assert_eq!(on_second.delete(uuid).await.status, 204);
        assert!(
            !files::files_below(&nodes.second_disk)
                .iter()
                .any(|file| file.contains(uuid))
        );
    }
    nodes.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_on_a_servers_old_node_can_be_downloaded_but_not_restored() {
    let mut nodes = Nodes::start().await;
    let client = nodes.as_owner();
    let backup = nodes.backup(&client).await;
    let uuid = backup["uuid"].as_str().unwrap();
    nodes.server.node = NodeName::parse("local").unwrap();
    fixtures::server(nodes.app.database(), &nodes.server)
        .await
        .unwrap();

    let before = files::tree(&nodes.server.directory);
    assert_eq!(client.restore(uuid, json!({})).await.status, 202);
    let restore = crate::support::eventually("the restore has ended", async || {
        let restore = client.show(uuid).await.attributes()["restore"].clone();
        (restore["status"] == "failed").then_some(restore)
    })
    .await;
    let why = "The archive is on node second, but the server has moved to another node.";
    assert_eq!(restore["error"], why);
    assert_eq!(files::tree(&nodes.server.directory), before);
    // The backup can be downloaded and deleted on its own node.
    assert_downloads(&client, &backup, &nodes.second_url).await;
    assert_eq!(client.delete(uuid).await.status, 204);
    assert!(
        !files::files_below(&nodes.second_disk)
            .iter()
            .any(|file| file.contains(uuid))
    );
    nodes.app.stop().await;
}
