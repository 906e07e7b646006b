//! `deploy/nginx/node.conf`: the real nginx of a node, in front of a stand-in for Wings. What
//! Holdfast answers is set by each test.

mod node;

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::stand_ins::faults::Fault;
use crate::stand_ins::panel::{NewBackup, PanelStandIn};
use crate::stand_ins::wings::WingsStandIn;
use crate::stand_ins::{Flavour, NodeKey};
use crate::support::app::App;
use crate::support::nginx::Nginx;
use crate::support::{eventually, files};

use node::{Asked, Node, node_conf};

#[tokio::test(flavor = "multi_thread")]
async fn only_well_formed_requests_for_backups_reach_holdfast() {
    let Some(node) = Node::start(Flavour::Pelican).await else {
        return;
    };
    node.holdfast_answers(202);
    let (server, backup) = (node.server, Uuid::new_v4());
    let own = [
        (Method::POST, format!("/api/servers/{server}/backup")),
        (
            Method::DELETE,
            format!("/api/servers/{server}/backup/{backup}"),
        ),
        (
            Method::POST,
            format!("/api/servers/{server}/backup/{backup}/restore"),
        ),
        (Method::GET, "/download/backup?token=a.b.c".to_owned()),
    ];
    for (method, path) in own {
        let answer = node.request(method.clone(), &path).send().await.unwrap();
        assert_eq!(answer.status(), 202, "{path}");
        assert_eq!(node.asked().pop().unwrap().path, path);
    }
    assert_eq!(node.reached_wings(), []);
    node.holdfast_answers(202);
    let upper = server.to_string().to_uppercase();
    let others = [
        (Method::GET, "/api/system".to_owned()),
        (Method::POST, format!("/api/servers/{upper}/backup")),
        (Method::POST, "/api/servers/short/backup".to_owned()),
        (Method::POST, format!("/api/servers/{server}/backups")),
        (Method::POST, format!("/api/servers/{server}/backup/")),
        (Method::DELETE, format!("/api/servers/{server}/backup/x")),
        (
            Method::DELETE,
            format!("/api/servers/{server}/backup/{backup}x"),
        ),
        (
            Method::POST,
            format!("/api/servers/{server}/backup/{backup}/restore/x"),
        ),
        (Method::GET, "/download/backup/x".to_owned()),
        (Method::GET, "/download/file?token=a.b.c".to_owned()),
        (Method::POST, format!("/x/api/servers/{server}/backup")),
        (Method::GET, "/holdfast-deletes-all-backups".to_owned()),
    ];
    for (method, path) in others {
        node.request(method, &path).send().await.unwrap();
        assert_eq!(node.asked(), [], "{path}");
    }
    assert_eq!(node.reached_wings().len(), 11, "{:?}", node.reached_wings());
}

#[tokio::test(flavor = "multi_thread")]
async fn wings_sees_websockets_and_large_uploads() {
    let Some(node) = Node::start(Flavour::Pterodactyl).await else {
        return;
    };
    let path = format!("/api/servers/{}/ws", node.server);
    let request = node.request(Method::GET, &path);
    let request = request.header("connection", "upgrade");
    let request = request
        .header("upgrade", "websocket")
        .header("origin", "https://panel");
    let seen: Value = request.send().await.unwrap().json().await.unwrap();
    let host = node.nginx.url.strip_prefix("http://").unwrap();
    let expected = json!({"upgrade": "websocket", "connection": "upgrade",
        "origin": "https://panel", "host": host});
    assert_eq!(seen, expected);
    let plain = node.request(Method::GET, &path).send().await.unwrap();
    let seen: Value = plain.json().await.unwrap();
    assert_eq!(
        (&seen["upgrade"], &seen["connection"]),
        (&json!(""), &json!(""))
    );

    let upload = node.request(Method::POST, "/upload/file");
    let answer = upload.body(vec![0; 20 << 20]).send().await.unwrap();
    assert_eq!(
        answer.status(),
        404,
        "Wings answered, and not nginx with 413"
    );
    assert_eq!(answer.text().await.unwrap(), "404 page not found");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_404_of_holdfast_goes_on_to_wings_with_body_and_token() {
    let Some(node) = Node::start(Flavour::Pterodactyl).await else {
        return;
    };
    let path = format!("/api/servers/{}/backup", node.server);
    let body = json!({"adapter": "s3", "uuid": Uuid::new_v4(), "ignore": "a\nb"});
    for status in [202, 400, 401, 403, 409, 422, 500, 502, 503, 504] {
        node.holdfast_answers(status);
        let answer = node.request(Method::POST, &path).json(&body).send().await;
        assert_eq!(answer.unwrap().status(), status);
        assert_eq!(node.asked().len(), 1);
    }
    assert_eq!(node.reached_wings(), []);

    node.holdfast_answers(404);
    let answer = node
        .request(Method::POST, &path)
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 202);
    let token = format!("Bearer {}", node.key.token);
    let expected = Asked {
        method: "POST".to_owned(),
        path: path.clone(),
        token,
        body: body.to_string(),
    };
    assert_eq!(node.asked(), [expected]);
    let [call] = node.wings.calls().try_into().unwrap();
    assert_eq!(
        (call.method.as_str(), &call.path, &call.body),
        ("POST", &path, &body)
    );

    let forged = node.client.post(format!("{}{path}", node.nginx.url));
    let answer = forged.bearer_auth("x").json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 403, "Wings checks the token, too");

    node.holdfast.set_down(true);
    let answer = node
        .request(Method::POST, &path)
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 502);
    assert_eq!(node.reached_wings().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_from_before_holdfast_are_downloaded_restored_and_deleted_by_wings() {
    for flavour in [Flavour::Pterodactyl, Flavour::Pelican] {
        let Some(node) = Node::start(flavour).await else {
            return;
        };
        let world = node.wings.directory(node.server).join("world");
        fs_err::write(&world, "as it was").unwrap();
        let old = node.old_backup().await;
        let kept = node.panel.backup(old).unwrap();
        node.holdfast_answers(404);

        let link = node.panel.download_link(old);
        let archive = node.client.get(&link).send().await.unwrap();
        assert_eq!(
            (
                archive.status().as_u16(),
                archive.headers().get("content-encoding")
            ),
            (200, None)
        );
        let archive = archive.bytes().await.unwrap();
        assert_eq!(archive.len() as u64, kept.bytes);
        assert_eq!(
            archive,
            fs_err::read(node.wings.archive(node.server, old)).unwrap()
        );

        fs_err::write(&world, "damaged").unwrap();
        node.panel.restore_backup(old, true).await.unwrap();
        eventually("Wings has restored it", async || {
            let text = fs_err::read_to_string(&world).unwrap_or_default();
            let is_done = node.panel.callbacks().last()?.is_restore && text == "as it was";
            is_done.then_some(())
        })
        .await;

        node.panel.delete_backup(old).await.unwrap();
        assert!(!node.wings.archive(node.server, old).exists());
        assert_eq!(node.panel.backup(old).map(|backup| backup.uuid), None);
        assert_eq!(node.asked().len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_reaches_wings_only_if_wings_can_do_it() {
    for flavour in [Flavour::Pterodactyl, Flavour::Pelican] {
        let Some(node) = Node::start(flavour).await else {
            return;
        };
        let world = node.wings.directory(node.server).join("world");
        fs_err::write(&world, "the only copy").unwrap();
        node.holdfast_answers(404);
        let path = format!(
            "/api/servers/{}/backup/{}/restore",
            node.server,
            Uuid::new_v4()
        );
        let mut body = json!({"adapter": "wings", "truncate_directory": true, "download_url": ""});
        let answer = node
            .request(Method::POST, &path)
            .json(&body)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 404);
        assert_eq!(answer.headers()["content-type"], "application/json");
        let answer: Value = answer.json().await.unwrap();
        let text =
            "Neither Holdfast nor Wings has the archive of this backup. Nothing was changed.";
        assert_eq!(answer, json!({"error": text}));
        assert_eq!(fs_err::read_to_string(&world).unwrap(), "the only copy");
        assert_eq!(node.reached_wings(), []);

        // An archive of the panel's own bucket: the body says so, and is as long as it can be.
        let url = format!(
            "https://bucket.example.com/a.tar.gz?X-Amz-Signature={}",
            "a".repeat(40_000)
        );
        body["adapter"] = json!("s3");
        body["truncate_directory"] = json!(false);
        body["download_url"] = json!(url);
        let answer = node
            .request(Method::POST, &path)
            .json(&body)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 202);
        let [call] = node.wings.calls().try_into().unwrap();
        assert_eq!(call.body, body);
        assert_eq!(fs_err::read_to_string(&world).unwrap(), "the only copy");

        // A URL that only looks like it.
        let body = json!({"adapter": "wings", "truncate_directory": true,
            "download_url": "\"adapter\":\"s3\""});
        let answer = node
            .request(Method::POST, &path)
            .json(&body)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 404);
        assert_eq!(fs_err::read_to_string(&world).unwrap(), "the only copy");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deletion_of_all_backups_reaches_holdfast_first_and_then_wings() {
    let Some(node) = Node::start(Flavour::Pelican).await else {
        return;
    };
    let old = node.old_backup().await;
    let archive = node.wings.archive(node.server, old);
    for (status, expected) in [(401, 401), (403, 403), (409, 500), (500, 500), (503, 500)] {
        node.holdfast_answers(status);
        let refused = node
            .panel
            .delete_all_backups(node.server)
            .await
            .unwrap_err();
        // Without the header of a daemon, Pelican does not look at the status.
        assert_eq!(refused.status, None, "{refused:?}");
        let path = format!("/api/servers/{}/deleteAllBackups", node.server);
        let answer = node.request(Method::DELETE, &path).send().await.unwrap();
        assert_eq!(answer.status(), expected);
        assert!(archive.exists());
    }
    node.holdfast_answers(204);
    node.panel.delete_all_backups(node.server).await.unwrap();
    assert!(!archive.exists());
    let [asked] = node.asked().try_into().unwrap();
    assert_eq!((asked.method.as_str(), asked.body.as_str()), ("DELETE", ""));
    assert_eq!(
        asked.path,
        format!("/api/servers/{}/deleteAllBackups", node.server)
    );
    assert_eq!(asked.token, format!("Bearer {}", node.key.token));
    // A server that Holdfast does not know.
    node.holdfast_answers(404);
    node.panel.delete_all_backups(node.server).await.unwrap();
    assert_eq!(node.asked().len(), 1);
    node.wings.set_fault(Fault::Down);
    assert!(node.panel.delete_all_backups(node.server).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn both_panels_accept_the_answers_of_the_service() {
    for flavour in [Flavour::Pterodactyl, Flavour::Pelican] {
        let folder = files::scratch();
        let key = NodeKey::random();
        let panel = PanelStandIn::start(flavour, &key);
        let wings = WingsStandIn::start(flavour, &key, &panel.url(), folder.path());
        let settings = folder.path().join("config.yml");
        fs_err::write(&settings, wings.settings()).unwrap();
        let changed = [("wings.config", settings.to_str().unwrap())];
        let mut app = App::without_worker(&changed).await;
        app.add_worker(&[]);
        let holdfast = app
            .base_url
            .strip_prefix("http://")
            .unwrap()
            .parse()
            .unwrap();
        let behind = wings.url().strip_prefix("http://").unwrap().to_owned();
        let backups = wings.backup_directory().to_owned();
        let nginx = Nginx::start_http("root", |listen| {
            node_conf(listen, &behind, holdfast, &backups)
        });
        if let Some(nginx) = nginx.await {
            panel.set_node_url(0, &nginx.url);
            let server = panel.add_server();
            wings.add_server(server);
            let backup = panel
                .create_backup(server, NewBackup::default())
                .await
                .unwrap();
            fs_err::write(wings.directory(server).join("world"), "a world").unwrap();
            panel.delete_backup(backup).await.unwrap();
            let backup = panel.create_backup(server, NewBackup::default()).await;
            let backup = backup.unwrap();
            let bytes = eventually("the panel knows the size", async || {
                panel
                    .backup(backup)
                    .map(|backup| backup.bytes)
                    .filter(|bytes| *bytes > 0)
            })
            .await;
            let link = panel.download_link(backup);
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let whole = client
                .get(&link)
                .send()
                .await
                .unwrap()
                .bytes()
                .await
                .unwrap();
            assert_eq!(whole.len() as u64, bytes);
            // A download that was interrupted, and one that only asks.
            let rest = client.get(&link).header("range", "bytes=20-");
            let rest = rest.send().await.unwrap();
            assert_eq!(rest.status(), 206);
            assert_eq!(rest.bytes().await.unwrap(), whole.slice(20..));
            let head = client.head(&link).send().await.unwrap();
            assert_eq!(head.headers()["content-length"], bytes.to_string().as_str());
            panel.delete_backup(backup).await.unwrap();
            if flavour == Flavour::Pelican {
                panel.delete_all_backups(server).await.unwrap();
                let unknown = panel.add_server();
                wings.add_server(unknown);
                panel.delete_all_backups(unknown).await.unwrap();
            }
            let reached: Vec<String> = wings.calls().into_iter().map(|call| call.path).collect();
            let is_deletion = |path: &String| path.ends_with("/deleteAllBackups");
            assert!(reached.iter().all(is_deletion), "{reached:?}");
        }
        app.stop().await;
    }
}
