//! Allowed directories of servers: an application key must not be able to back up other folders.

use std::os::unix::fs::symlink;

use serde_json::json;

use super::servers::ended;
use super::{Hosting, Panel, broken, made};
use crate::support::app::App;
use crate::support::files;

fn refused(rule: &str) -> Vec<(String, String)> {
    vec![("dir".to_owned(), rule.to_owned())]
}

#[tokio::test(flavor = "multi_thread")]
async fn only_directories_below_a_root_are_accepted() {
    let hosting = Hosting::without_worker().await;
    let panel = &hosting.panel;
    let root = hosting.root.to_str().unwrap();
    let server = made(
        &panel
            .post(
                "/servers",
                json!({
                    "owner": "owner@example.com", "name": "one", "dir": format!("{root}/one"),
                }),
            )
            .await,
    );
    let path = format!("/servers/{}", server["uuid"].as_str().unwrap());
    for dir in [
        "/etc".to_owned(),
        "/".to_owned(),
        "etc".to_owned(),
        root.to_owned(),
        format!("{root}/"),
        format!("{root}x/two"),
        format!("{root}/../two"),
        format!("{root}/two/../../../etc"),
        format!("{root}/two/.."),
        format!("{root}/two\0"),
        format!("/proc/self/root{root}/two"),
        format!(" {root}/two"),
    ] {
        let body = json!({ "owner": "owner@example.com", "name": "two", "dir": dir });
        let answer = panel.post("/servers", body).await;
        assert_eq!(broken(&answer), refused("directory"), "{dir}");
        let answer = panel.patch(&path, json!({ "dir": dir })).await;
        assert_eq!(broken(&answer), refused("directory"), "{dir}");
    }
    let answer = panel.patch(&path, json!({ "dir": ["/etc"] })).await;
    assert_eq!(broken(&answer), refused("string"));
    assert_eq!(panel.get(&path).await.attributes(), server);
    let text = panel.patch(&path, json!({ "dir": "/etc" })).await.json();
    let text = &text["errors"][0]["detail"];
    assert_eq!(text, "The dir is not below a folder of worker.roots.");
    hosting.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_roots_no_directory_is_accepted_and_the_setting_is_named() {
    let app = App::without_worker(&[]).await;
    let panel = Panel::of(&app).await;
    let body = json!({ "owner": "owner@example.com", "name": "one", "dir": "/srv/one" });
    let answer = panel.post("/servers", body).await;
    insta::assert_json_snapshot!("no_roots", answer.redacted());
    // A server that an operator on the machine has placed can be changed, but not moved.
    let path = format!("/servers/{}", app.server.id);
    assert_eq!(
        panel.patch(&path, json!({ "name": "Other" })).await.status,
        200
    );
    let answer = panel.patch(&path, json!({ "node": "elsewhere" })).await;
    assert_eq!(broken(&answer), refused("directory"));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_server_shares_its_directory_with_a_disk_or_another_server() {
    let hosting = Hosting::without_worker().await;
    let panel = &hosting.panel;
    let root = hosting.root.to_str().unwrap();
    let taken = hosting.server("a/b").await;
    let ask = async |dir: &str, node: &str| {
        let dir = format!("{root}/{dir}");
        let body = json!({ "owner": "owner@example.com", "name": "x", "dir": dir, "node": node });
        panel.post("/servers", body).await
    };
    for dir in ["a/b", "a/b/", "a", "a/b/c", "a/b/c/d"] {
        assert_eq!(broken(&ask(dir, "local").await), refused("unique"), "{dir}");
    }
    for dir in ["a/bc", "a/b0", "a/b-", "a/b.old", "a/B", "a/%"] {
        made(&ask(dir, "local").await);
    }
    // Another node has another disk.
    made(&ask("a/b", "elsewhere").await);
    let other = made(&ask("other", "local").await);
    let path = format!("/servers/{}", other["uuid"].as_str().unwrap());
    let moved = panel
        .patch(&path, json!({ "dir": format!("{root}/a") }))
        .await;
    assert_eq!(broken(&moved), refused("unique"));
    // A server may stay where it is.
    let path = format!("/servers/{}", taken["uuid"].as_str().unwrap());
    let stays = panel
        .patch(&path, json!({ "dir": format!("{root}/a/b"), "name": "y" }))
        .await;
    assert_eq!(stays.status, 200, "{}", stays.json());
    hosting.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_simultaneous_requests_gets_a_directory() {
    let hosting = Hosting::without_worker().await;
    let panel = &hosting.panel;
    let ask = |dir: &str| {
        let dir = hosting.root.join(dir);
        let body = json!({ "owner": "owner@example.com", "name": "x", "dir": dir });
        panel.post("/servers", body)
    };
    let answers = tokio::join!(ask("a"), ask("a/b"), ask("a"), ask("a/b/c"));
    let statuses = [
        answers.0.status,
        answers.1.status,
        answers.2.status,
        answers.3.status,
    ];
    let made = statuses.iter().filter(|status| **status == 201).count();
    assert_eq!(made, 1, "{statuses:?}");
    hosting.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_below_a_root_cannot_be_a_servers_directory() {
    let folder = files::scratch();
    let root = fs_err::canonicalize(folder.path()).unwrap();
    let disk = root.join("archives");
    let app = App::without_worker(&[
        ("worker.roots", &super::listed(&root)),
        ("storage.disks.local.root", disk.to_str().unwrap()),
    ])
    .await;
    let panel = Panel::of(&app).await;
    for dir in [disk.clone(), disk.join("one")] {
        let body = json!({ "owner": "owner@example.com", "name": "x", "dir": dir });
        let answer = panel.post("/servers", body).await;
        assert_eq!(broken(&answer), refused("directory"), "{}", dir.display());
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_out_of_the_roots_is_neither_backed_up_nor_restored_to() {
    let hosting = Hosting::start().await;
    let (_, owner) = hosting.server_with_files("one").await;
    let good = owner.create(json!({})).await.uuid();
    assert_eq!(ended(&owner, &good).await["status"], "completed");

    let outside = hosting.app.beside("outside");
    files::write(&outside.join("secret"), b"private\n");
    fs_err::rename(hosting.root.join("one"), hosting.root.join("hidden")).unwrap();
    symlink(&outside, hosting.root.join("one")).unwrap();
    let backup = owner.create(json!({})).await.uuid();
    let failed = ended(&owner, &backup).await;
    assert_eq!(failed["status"], "failed");
    let text = "The server's directory is outside the folders that its node allows. Nothing was \
        read or changed.";
    assert_eq!(failed["error"], text);

    assert_eq!(owner.restore(&good, json!({})).await.status, 202);
    let restore = crate::support::eventually("the restore has ended", async || {
        let restore = owner.show(&good).await.attributes()["restore"].clone();
        restore["finished_at"].is_string().then_some(restore)
    })
    .await;
    assert_eq!(
        (&restore["status"], &restore["error"]),
        (&json!("failed"), &json!(text))
    );
    assert_eq!(files::files_below(&outside), ["secret"]);

    // A linked folder on the path is refused as well.
    let (_, nested) = hosting.server_with_files("deep/two").await;
    fs_err::rename(hosting.root.join("deep"), hosting.root.join("deep-hidden")).unwrap();
    files::write(&outside.join("two/secret"), b"private\n");
    symlink(&outside, hosting.root.join("deep")).unwrap();
    let backup = nested.create(json!({})).await.uuid();
    assert_eq!(ended(&nested, &backup).await["error"], text);
    hosting.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_roots_leaves_servers_of_the_application_api_alone() {
    let mut hosting = Hosting::without_worker().await;
    hosting.app.add_worker(&[("worker.roots", "")]);
    let (_, owner) = hosting.server_with_files("one").await;
    let backup = owner.create(json!({})).await.uuid();
    let failed = ended(&owner, &backup).await;
    assert_eq!(failed["status"], "failed", "{failed}");
    hosting.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_that_share_a_directory_through_a_link_are_neither_saved_nor_restored() {
    let app = App::start().await;
    files::make_server(&app.directory);
    let uuid = app.backup().await;
    let before = files::tree(&app.directory);
    let other = app.another_server("alias").await;
    for target in [app.directory.clone(), app.directory.join("world")] {
        symlink(&target, &other.directory).unwrap();
        assert_eq!(app.as_owner().restore(&uuid, json!({})).await.status, 202);
        let restore = app.restored(&uuid).await;
        assert_eq!(restore["status"], "failed");
        let sentence = "The server's directory is also used by another server. Nothing was read or \
                        changed.";
        assert_eq!(restore["error"], sentence);
        assert_eq!(files::tree(&app.directory), before);
        let backup = app.as_owner().create(json!({})).await.uuid();
        assert_eq!(app.ended(&backup).await["error"], sentence);
        fs_err::remove_file(&other.directory).unwrap();
    }
    assert_eq!(app.as_owner().restore(&uuid, json!({})).await.status, 202);
    assert_eq!(app.restored(&uuid).await["status"], "completed");
    app.stop().await;
}
