//! `/api/application/servers` and their subusers.

use serde_json::json;

use super::{Hosting, broken, made};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_registered_backed_up_and_restored() {
    let hosting = Hosting::start().await;
    let (uuid, owner) = hosting.server_with_files("one").await;
    let before = crate::support::files::tree(&hosting.root.join("one"));
    let backup = owner.create(json!({})).await.uuid();
    let done = ended(&owner, &backup).await;
    assert_eq!(done["status"], "completed", "{done}");
    fs_err::remove_dir_all(hosting.root.join("one/world")).unwrap();
    assert_eq!(owner.restore(&backup, json!({})).await.status, 202);
    let restored = crate::support::eventually("the restore has ended", async || {
        let restore = owner.show(&backup).await.attributes()["restore"].clone();
        restore["finished_at"].is_string().then_some(restore)
    })
    .await;
    assert_eq!(restored["status"], "completed", "{restored}");
    assert_eq!(
        crate::support::files::tree(&hosting.root.join("one")),
        before
    );
    assert_eq!(
        hosting
            .panel
            .get(&format!("/servers/{}", &uuid[..8]))
            .await
            .status,
        200
    );
    hosting.app.stop().await;
}

pub(super) async fn ended(
    owner: &crate::support::client::Client,
    backup: &str,
) -> serde_json::Value {
    crate::support::eventually("the backup has ended", async || {
        let backup = owner.show(backup).await.attributes();
        (backup["status"] != "creating").then_some(backup)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_of_a_server_can_be_set_changed_and_reset() {
    let hosting = Hosting::without_worker().await;
    let panel = &hosting.panel;
    let uuid = "D3AAC109-45e1-4c23-9a84-c8d5f06b93a1";
    let body = json!({
        "uuid": uuid,
        "owner": "owner@example.com",
        "name": " Survival ",
        "dir": format!("{}/./one//", hosting.root.display()),
        "node": "node-2",
        "disk": "local",
        "backup_limit": 0,
        "max_backup_bytes": "1000",
        "quota_bytes": 5000,
        "retention_days": 7,
        "keep": "daily=7, last=3",
        "rotate": "1",
        "default_schedule": false,
        "state": "installing",
    });
    let server = made(&panel.post("/servers", body.clone()).await);
    let dir = hosting.root.join("one");
    for (name, expected) in [
        ("uuid", json!(uuid.to_lowercase())),
        ("identifier", json!("d3aac109")),
        ("name", json!("Survival")),
        ("dir", json!(dir)),
        ("node", json!("node-2")),
        ("disk", json!("local")),
        ("backup_limit", json!(0)),
        ("max_backup_bytes", json!(1000)),
        ("quota_bytes", json!(5000)),
        ("retention_days", json!(7)),
        ("keep", json!("last=3,daily=7")),
        ("rotate", json!(true)),
        ("default_schedule", json!(false)),
        ("state", json!("installing")),
    ] {
        assert_eq!(server[name], expected, "{name}");
    }
    let path = "/servers/d3aac109";
    assert_eq!(panel.get(path).await.attributes(), server);
    assert_eq!(panel.patch(path, json!({})).await.attributes(), server);

    let answer = panel.post("/servers", body).await;
    assert_eq!(broken(&answer), [("uuid".to_owned(), "unique".to_owned())]);

    let nulls = json!({
        "node": null, "disk": null, "backup_limit": null, "max_backup_bytes": null,
        "quota_bytes": "", "retention_days": null, "keep": null, "name": "Creative",
    });
    let changed = panel.patch(path, nulls).await.attributes();
    for name in [
        "disk",
        "backup_limit",
        "max_backup_bytes",
        "quota_bytes",
        "retention_days",
    ] {
        assert_eq!(changed[name], json!(null), "{name}");
    }
    assert_eq!(changed["node"], "local");
    assert_eq!(changed["name"], "Creative");
    assert_eq!(changed["state"], "installing", "what is not named stays");
    assert_eq!(panel.get(path).await.attributes(), changed);
    hosting.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn violations_in_a_server_are_reported_by_rule() {
    let hosting = Hosting::without_worker().await;
    let body = json!({
        "uuid": "d3aac109", "owner": "nobody@example.com", "name": 5, "dir": "relative",
        "node": "a/b", "disk": "elsewhere", "backup_limit": -1, "max_backup_bytes": 0,
        "quota_bytes": 1.5, "retention_days": 9_999_999_999_u64, "state": "on fire",
    });
    let answer = hosting.panel.post("/servers", body).await;
    insta::assert_json_snapshot!("broken_rules", answer.redacted());
    let answer = hosting.panel.post("/servers", json!({})).await;
    let required = ["owner", "name", "dir"].map(|field| (field.to_owned(), "required".to_owned()));
    assert_eq!(broken(&answer), required);
    hosting.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_that_a_panel_sets_decides_what_is_allowed() {
    let hosting = Hosting::without_worker().await;
    let panel = &hosting.panel;
    let (uuid, owner) = hosting.server_with_files("one").await;
    let path = format!("/servers/{uuid}/state");
    for (method, state, text) in [
        (
            "PUT",
            "installing",
            "Cannot create backup while server is installing.",
        ),
        (
            "POST",
            "suspended",
            "Cannot create backup while server is suspended.",
        ),
    ] {
        let answer = panel
            .ask(method, &path, Some(&json!({ "state": state })))
            .await;
        assert_eq!(answer.attributes()["state"], state);
        let refusal = owner.create(json!({})).await.refusal();
        let code = "ConflictingServerStateException".to_owned();
        assert_eq!(refusal, (409, code, text.into()));
    }
    assert_eq!(
        panel.put(&path, json!({ "state": "normal" })).await.status,
        200
    );
    assert_eq!(owner.create(json!({})).await.status, 200);
    for (body, rule) in [
        (json!({}), "required"),
        (json!({ "state": "starting" }), "in"),
    ] {
        let answer = panel.put(&path, body).await;
        assert_eq!(broken(&answer), [("state".to_owned(), rule.to_owned())]);
    }
    hosting.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_are_listed_by_owner() {
    let hosting = Hosting::without_worker().await;
    let panel = &hosting.panel;
    hosting.server("one").await;
    hosting.server("two").await;
    let stranger = json!({ "owner": "stranger@example.com" });
    let first = format!("/servers/{}", hosting.app.server.id);
    assert_eq!(panel.patch(&first, stranger).await.status, 200);
    let names = async |query: &str| {
        let found = panel.list(&format!("/servers{query}")).await;
        let names: Vec<String> = found
            .iter()
            .map(|s| s["name"].as_str().unwrap().to_owned())
            .collect();
        names.join(" ")
    };
    assert_eq!(names("").await, "Survival one two");
    assert_eq!(names("?owner=owner@example.com").await, "one two");
    assert_eq!(names("?owner=stranger@example.com").await, "Survival");
    let page = panel
        .get("/servers?owner=owner@example.com&per_page=1")
        .await
        .json();
    let next = page["meta"]["pagination"]["links"]["next"]
        .as_str()
        .unwrap();
    assert!(
        next.ends_with("?owner=owner%40example.com&page=2&per_page=1"),
        "{next}"
    );
    let answer = panel.get("/servers?owner=nobody@example.com").await;
    assert_eq!(broken(&answer), [("owner".to_owned(), "exists".to_owned())]);
    hosting.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subusers_are_set_replaced_and_removed() {
    let hosting = Hosting::without_worker().await;
    let (app, panel) = (&hosting.app, &hosting.panel);
    let path = format!("/servers/{}/subusers", app.server.id.short());
    let one = format!("{path}/stranger@example.com");
    assert_eq!(app.as_stranger().list("").await.status, 404);
    let permissions = json!({ "permissions": ["backup.restore", "backup.read", "backup.read"] });
    let set = panel.put(&one, permissions).await.attributes();
    assert_eq!(set["permissions"], json!(["backup.read", "backup.restore"]));
    assert_eq!(app.as_stranger().list("").await.status, 200);
    assert_eq!(panel.list(&path).await, [set]);
    panel
        .put(&one, json!({ "permissions": "backup.create" }))
        .await;
    assert_eq!(app.as_stranger().list("").await.status, 403);
    for (body, field, rule) in [
        (json!({}), "permissions", "required"),
        (
            json!({ "permissions": ["backup.read", "root"] }),
            "permissions.1",
            "in",
        ),
    ] {
        let answer = panel.put(&one, body).await;
        assert_eq!(broken(&answer), [(field.to_owned(), rule.to_owned())]);
    }
    let emptied = panel
        .put(&one, json!({ "permissions": [] }))
        .await
        .attributes();
    assert_eq!(emptied["permissions"], json!([]));
    assert_eq!(app.as_stranger().list("").await.status, 404);
    panel
        .put(&one, json!({ "permissions": ["backup.read"] }))
        .await;
    assert_eq!(panel.delete(&one).await.status, 204);
    assert_eq!(panel.delete(&one).await.status, 204);
    assert!(panel.list(&path).await.is_empty());
    let unknown_user = format!("{path}/nobody@example.com");
    assert_eq!(panel.delete(&unknown_user).await.status, 404);
    hosting.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_shows_its_restore_until_it_has_ended() {
    let hosting = Hosting::without_worker().await;
    let server = hosting.app.server.id;
    let path = format!("/servers/{server}");
    let state = async || {
        let shown = hosting.panel.get(&path).await.attributes()["state"].clone();
        let listed = hosting.panel.get("/servers").await.json();
        assert_eq!(listed["data"][0]["attributes"]["state"], shown);
        shown
    };
    assert_eq!(state().await, "normal");
    let job = format!(
        "INSERT INTO jobs (kind, server_id, backup_id, node) VALUES ('restore_backup', '{server}', \
         gen_random_uuid(), 'x')"
    );
    hosting.app.sql().query(&job).await;
    assert_eq!(state().await, "restoring");
    let ended = "UPDATE jobs SET state = 'completed', finalized_at = now()";
    hosting.app.sql().query(ended).await;
    assert_eq!(state().await, "normal");
    // A panel that restores by its own means reports it itself.
    let said = hosting
        .panel
        .put(&format!("{path}/state"), json!({"state": "restoring"}))
        .await;
    assert_eq!(said.status, 200);
    assert_eq!(state().await, "restoring");
    hosting.app.stop().await;
}
