//! What operators see: nodes, jobs and storage.

use serde_json::{Value, json};

use super::servers::ended;
use super::{Hosting, Panel, broken, made};
use crate::support::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_shown_with_their_workers_until_those_stop() {
    let mut hosting = Hosting::without_worker().await;
    let alone = hosting.panel.list("/nodes").await;
    assert_eq!(
        alone,
        [json!({ "name": "local", "servers": 1, "workers": [] })]
    );
    hosting.app.add_worker(&[("worker.concurrency", "3")]);
    hosting.app.add_worker(&[("worker.node", "far")]);
    let panel = &hosting.panel;
    let nodes = eventually("both workers are there", async || {
        let nodes = panel.list("/nodes").await;
        let workers = |node: &Value| node["workers"].as_array().unwrap().len();
        (nodes.iter().map(workers).sum::<usize>() == 2).then_some(nodes)
    })
    .await;
    assert_eq!(
        (&nodes[0]["name"], &nodes[0]["servers"]),
        (&json!("far"), &json!(0))
    );
    let worker = &nodes[1]["workers"][0];
    assert_eq!(worker["concurrency"], 3);
    assert_eq!(worker["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(worker["pid"], std::process::id());
    assert!(
        worker["disk_free_bytes"]["local"].as_u64() > Some(0),
        "{worker}"
    );
    assert_eq!(worker["staging_free_bytes"], json!(null));
    assert_ne!(worker["host"], "");

    // A worker without a heartbeat for an hour is removed by the others.
    let gone =
        "INSERT INTO workers (name, node, version, host, pid, concurrency, last_heartbeat_at)
                VALUES ('gone', 'gone', '0', 'gone', 1, 1, now() - interval '61 minutes')";
    hosting.app.sql().query(gone).await;
    eventually("the stale worker is forgotten", async || {
        let nodes = panel.list("/nodes").await;
        nodes
            .iter()
            .all(|node| node["name"] != "gone")
            .then_some(())
    })
    .await;
    hosting.app.stop_workers().await;
    let left = hosting.panel.list("/nodes").await;
    assert_eq!(left, alone);
    hosting.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_listed_newest_first_and_filtered() {
    let hosting = Hosting::start().await;
    let panel = &hosting.panel;
    let (uuid, owner) = hosting.server_with_files("one").await;
    let backup = owner.create(json!({})).await.uuid();
    ended(&owner, &backup).await;
    assert_eq!(owner.delete(&backup).await.status, 204);
    let backup = owner.create(json!({})).await.uuid();
    ended(&owner, &backup).await;
    let kinds = async |query: &str| {
        let jobs = panel.list(&format!("/jobs{query}")).await;
        let kinds: Vec<&str> = jobs
            .iter()
            .map(|job| job["kind"].as_str().unwrap())
            .collect();
        kinds.join(" ")
    };
    let all = "create_backup delete_backup create_backup";
    assert_eq!(kinds("").await, all);
    assert_eq!(kinds(&format!("?server={uuid}")).await, all);
    assert_eq!(
        kinds(&format!("?server={}&kind=delete_backup", &uuid[..8])).await,
        "delete_backup"
    );
    assert_eq!(
        kinds("?kind=create_backup").await,
        "create_backup create_backup"
    );
    assert_eq!(kinds("?state=completed").await, all);
    assert_eq!(kinds("?state=running&kind=create_backup").await, "");
    assert_eq!(kinds("?per_page=1&page=2").await, "delete_backup");
    assert_eq!(
        kinds(&format!("?server={}", hosting.app.server.id)).await,
        ""
    );
    let total = panel.get("/jobs?kind=create_backup").await.json();
    assert_eq!(total["meta"]["pagination"]["total"], 2);
    for query in [
        "?state=done",
        "?kind=dance",
        "?server=rubbish",
        "?server=00000000",
    ] {
        assert_eq!(
            broken(&panel.get(&format!("/jobs{query}")).await).len(),
            1,
            "{query}"
        );
    }
    let job = panel.list("/jobs?kind=delete_backup").await.remove(0);
    let path = format!("/jobs/{}", job["id"]);
    assert_eq!(panel.get(&path).await.attributes(), job);
    for id in ["0", "999999", "-1", "+1", "x", "99999999999999999999"] {
        assert_eq!(panel.get(&format!("/jobs/{id}")).await.status, 404, "{id}");
    }
    hosting.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_job_that_no_worker_has_started_can_be_cancelled() {
    let hosting = Hosting::without_worker().await;
    let (app, panel) = (&hosting.app, &hosting.panel);
    let (_, owner) = hosting.server_with_files("one").await;
    let backup = owner.create(json!({})).await.uuid();
    let job = panel.list("/jobs").await.remove(0);
    assert_eq!(job["state"], "available");
    let path = format!("/jobs/{}/cancel", job["id"]);
    let cancelled = panel.post(&path, json!({})).await.attributes();
    assert_eq!(cancelled["state"], "cancelled");
    let failed = owner.show(&backup).await.attributes();
    assert_eq!(failed["status"], "failed");
    assert_eq!(
        failed["error"],
        "It was cancelled by an administrator before it began."
    );
    let code = || "ConflictHttpException".to_owned();
    let text = "This job has ended and cannot be cancelled.";
    assert_eq!(
        panel.post(&path, json!({})).await.refusal(),
        (409, code(), text.into())
    );

    // The server is free for the next job.
    owner.create(json!({})).await.uuid();
    let claim = "UPDATE jobs SET state = 'running', attempt = 1, claimed_by = 'someone',
                 lease_expires_at = now() + interval '1 hour' WHERE state = 'available'";
    app.sql().query(claim).await;
    let job = panel.list("/jobs?state=running").await.remove(0);
    let path = format!("/jobs/{}/cancel", job["id"]);
    let text = "This job is being worked on and cannot be cancelled.";
    assert_eq!(
        panel.post(&path, json!({})).await.refusal(),
        (409, code(), text.into())
    );
    hosting.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_shows_the_backups_of_disks_and_servers() {
    let hosting = Hosting::start().await;
    let panel = &hosting.panel;
    let (uuid, owner) = hosting.server_with_files("one").await;
    let mut bytes = 0;
    for _ in 0..2 {
        let backup = owner.create(json!({})).await.uuid();
        bytes += ended(&owner, &backup).await["bytes"].as_u64().unwrap();
    }
    let disks = panel.list("/storage").await;
    assert_eq!(disks.len(), 1);
    let disk = &disks[0];
    assert_eq!(
        (&disk["name"], &disk["is_default"]),
        (&json!("local"), &json!(true))
    );
    assert_eq!(
        (&disk["backups"], &disk["bytes"]),
        (&json!(2), &json!(bytes))
    );
    assert!(disk["free_bytes"].as_u64() > Some(0), "{disk}");
    let servers = panel.list("/storage/servers").await;
    assert_eq!(servers.len(), 2);
    assert_eq!(
        (&servers[0]["backups"], &servers[0]["disks"]),
        (&json!(0), &json!({}))
    );
    assert_eq!(servers[1]["server"], uuid);
    assert_eq!(
        (&servers[1]["backups"], &servers[1]["bytes"]),
        (&json!(2), &json!(bytes))
    );
    assert_eq!(servers[1]["disks"]["local"]["backups"], 2);
    let second = panel.list("/storage/servers?per_page=1&page=2").await;
    assert_eq!(second, servers[1..]);
    hosting.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_by_operators_are_logged_with_user_address_and_result() {
    let hosting = Hosting::without_worker().await;
    let panel = &hosting.panel;
    let uuid = hosting.server("audited").await["uuid"].clone();
    let server = format!("/servers/{}", uuid.as_str().unwrap());
    assert_eq!(panel.get(&server).await.status, 200);
    let state = json!({ "state": "suspended" });
    assert_eq!(
        panel.put(&format!("{server}/state"), state).await.status,
        200
    );
    assert_eq!(panel.patch(&server, json!({ "name": 1 })).await.status, 422);
    assert_eq!(panel.delete("/keys/ptlc_aaaaaaaaaaa").await.status, 404);
    // Requests without permission are not in the log, and neither are requests that only read.
    let stranger = Panel::with(&hosting.app, hosting.app.as_admin());
    assert_eq!(stranger.delete(&server).await.status, 403);

    let mut lines = panel.list("/activity").await;
    lines.retain(|line| line["command"].is_null());
    let told: Vec<String> = lines
        .iter()
        .map(|line| {
            let path = line["path"].as_str().unwrap();
            let path = path.strip_prefix("/api/application").unwrap();
            let method = line["method"].as_str().unwrap();
            format!("{method} {path} {}", line["status"])
        })
        .collect();
    assert_eq!(
        told,
        [
            "DELETE /keys/ptlc_aaaaaaaaaaa 404".to_owned(),
            format!("PATCH {server} 422"),
            format!("PUT {server}/state 200"),
            "POST /servers 201".to_owned(),
        ]
    );
    assert_eq!(lines[3]["subject"], uuid);
    for line in &lines {
        assert_eq!(line["email"], "admin@example.com");
        assert_eq!(line["ip"], "127.0.0.1");
        assert!(line["key"].as_str().unwrap().starts_with("ptla_"));
        assert!(!line["request_id"].as_str().unwrap().is_empty());
        assert_eq!(line["typed_by"], json!(null));
    }
    hosting.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_cannot_be_logged_is_not_made() {
    let hosting = Hosting::without_worker().await;
    let (sql, panel) = (hosting.app.sql(), &hosting.panel);
    let uuid = hosting.server("audited").await["uuid"].clone();
    let server = format!("/servers/{}", uuid.as_str().unwrap());
    let user = json!({ "email": "second@example.com" });
    assert_eq!(panel.post("/users", user).await.status, 201);
    let key = json!({ "user": "second@example.com" });
    let key = made(&panel.post("/keys", key).await)["identifier"].clone();
    let key = format!("/keys/{}", key.as_str().unwrap());
    let subuser = format!("{server}/subusers/second@example.com");
    let granted = json!({ "permissions": ["backup.read"] });
    assert_eq!(panel.put(&subuser, granted.clone()).await.status, 200);
    let (_, owner) = hosting.server_with_files("busy").await;
    owner.create(json!({})).await.uuid();
    let job = panel.list("/jobs").await.remove(0);
    let cancel = format!("/jobs/{}/cancel", job["id"]);

    // Every row of every table that an operator can change.
    let all = "SELECT md5(string_agg(row::text, '' ORDER BY row::text)) FROM (
                   SELECT to_jsonb(users) AS row FROM users
                   UNION ALL SELECT to_jsonb(api_keys) FROM api_keys
                   UNION ALL SELECT to_jsonb(servers) FROM servers
                   UNION ALL SELECT to_jsonb(subusers) FROM subusers
                   UNION ALL SELECT to_jsonb(backups) FROM backups
                   UNION ALL SELECT to_jsonb(jobs) FROM jobs
               ) rows";
    let before = sql.query(all).await;
    sql.query(
        "ALTER TABLE operator_actions ADD CONSTRAINT no_more CHECK (status >= 400) NOT VALID",
    )
    .await;
    let directory = hosting.root.join("third");
    let new = json!({ "owner": "second@example.com", "name": "third", "dir": directory });
    for (method, path, body) in [
        ("POST", "/users", json!({ "email": "third@example.com" })),
        (
            "PATCH",
            "/users/second@example.com",
            json!({ "admin": true }),
        ),
        ("DELETE", "/users/second@example.com", json!({})),
        ("POST", "/keys", json!({ "user": "second@example.com" })),
        ("DELETE", &key, json!({})),
        ("POST", "/servers", new.clone()),
        ("PATCH", &server, json!({ "name": "renamed" })),
        (
            "PUT",
            &format!("{server}/state"),
            json!({ "state": "suspended" }),
        ),
        ("DELETE", &format!("{server}?backups=keep"), json!({})),
        ("PUT", &subuser, json!({ "permissions": ["backup.delete"] })),
        ("DELETE", &subuser, json!({})),
        ("POST", &cancel, json!({})),
    ] {
        let answer = panel.ask(method, path, Some(&body)).await;
        assert_eq!(answer.status, 500, "{method} {path}: {answer:?}");
        assert_eq!(sql.query(all).await, before, "{method} {path}");
    }
    // Once the table can be written again, the last change is made and logged.
    sql.query("ALTER TABLE operator_actions DROP CONSTRAINT no_more")
        .await;
    assert_eq!(panel.post(&cancel, json!({})).await.status, 200);
    assert_ne!(sql.query(all).await, before);
    let line = panel.list("/activity").await.remove(0);
    assert_eq!(
        (&line["status"], &line["method"]),
        (&json!(200), &json!("POST"))
    );
    hosting.app.stop().await;
}
