//! `DELETE /api/application/servers/{server}`, and the same on the command line.

use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::servers::ended;
use super::{Hosting, broken};
use crate::support::app::{App, Setting};
use crate::support::process::{Process, holdfast, run};
use crate::support::{eventually, files};

/// Waits until a job has ended.
async fn job_ended(hosting: &Hosting, job: &Value) -> Value {
    let path = format!("/jobs/{}", job["id"]);
    eventually("the job has ended", async || {
        let job = hosting.panel.get(&path).await.attributes();
        job["finalized_at"].is_string().then_some(job)
    })
    .await
}

/// Requests a deletion, and returns the job.
async fn ask(hosting: &Hosting, server: &str, backups: &str) -> Value {
    let path = format!("/servers/{server}?backups={backups}");
    let answer = hosting.panel.delete(&path).await;
    assert_eq!(answer.status, 202, "{}", answer.json());
    assert_eq!(answer.json()["object"], "job");
    answer.json()["attributes"].clone()
}

async fn rows(app: &App, table: &str, server: &str) -> i64 {
    let column = if table == "servers" {
        "id"
    } else {
        "server_id"
    };
    let statement = format!("SELECT count(*) FROM {table} WHERE {column} = '{server}'");
    app.sql().number(&statement).await
}

#[tokio::test(flavor = "multi_thread")]
async fn row_15_a_server_is_deleted_with_or_without_its_archives_and_its_directory_stays() {
    let hosting = Hosting::start().await;
    let app = &hosting.app;
    for (name, backups, left) in [("one", "delete", 0), ("two", "keep", 3)] {
        let (uuid, owner) = hosting.server_with_files(name).await;
        let before = files::tree(&hosting.root.join(name));
        let backup = owner.create(json!({ "is_locked": true })).await.uuid();
        assert_eq!(ended(&owner, &backup).await["status"], "completed");
        let link = owner.download(&backup).await.link();
        let subuser = format!("/servers/{uuid}/subusers/stranger@example.com");
        hosting
            .panel
            .put(&subuser, json!({ "permissions": ["backup.read"] }))
            .await;

        let job = ask(&hosting, &uuid, backups).await;
        assert_eq!(job["kind"], "delete_server");
        assert_eq!(job["args"], json!({ "backups": backups }));
        let job = job_ended(&hosting, &job).await;
        assert_eq!(job["state"], "completed", "{job}");
        for table in ["servers", "backups", "subusers"] {
            assert_eq!(rows(app, table, &uuid).await, 0, "{table}");
        }
        assert_eq!(rows(app, "jobs", &uuid).await, 2, "history stays");
        assert_eq!(
            hosting
                .panel
                .list(&format!("/jobs?server={uuid}"))
                .await
                .len(),
            2
        );
        let stored = files::files_below(&app.disk.join(&uuid));
        assert_eq!(stored.len(), left, "{stored:?}");
        assert_eq!(files::tree(&hosting.root.join(name)), before);
        let answer =
            crate::support::client::send(app.as_anonymous().plain(reqwest::Method::GET, &link))
                .await;
        assert_eq!(answer.status, 404, "the link ends with its backup");
        // The directory is free again.
        hosting.server(name).await;
    }
    hosting.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_gone_for_all_callers_as_soon_as_its_deletion_is_requested() {
    let hosting = Hosting::without_worker().await;
    let (app, panel) = (&hosting.app, &hosting.panel);
    let uuid = app.server.id.to_string();
    let backup = "a4962fe6-90c8-4b89-ba62-a5d3b06426c0";
    let completed = format!(
        "INSERT INTO backups (id, server_id, name, disk, state, completed_at, sha256, size_bytes, \
         archive_attempt)
         VALUES ('{backup}', '{uuid}', 'kept', 'local', 'completed', now(), \
         decode(repeat('00', 32), 'hex'), 1, 1)"
    );
    app.sql().query(&completed).await;
    let job = ask(&hosting, &uuid, "keep").await;
    for client in [app.as_owner(), app.as_admin()] {
        assert_eq!(client.list("").await.status, 404);
        assert_eq!(client.show(backup).await.status, 404);
        assert_eq!(client.create(json!({})).await.status, 404);
        assert_eq!(client.restore(backup, json!({})).await.status, 404);
        assert_eq!(client.delete(backup).await.status, 404);
        assert_eq!(client.download(backup).await.status, 404);
    }
    for (method, path) in [
        ("GET", format!("/servers/{uuid}")),
        ("PATCH", format!("/servers/{uuid}")),
        ("DELETE", format!("/servers/{uuid}?backups=keep")),
        ("PUT", format!("/servers/{uuid}/state")),
        ("GET", format!("/servers/{uuid}/subusers")),
    ] {
        assert_eq!(
            panel.ask(method, &path, None).await.status,
            404,
            "{method} {path}"
        );
    }
    assert!(panel.list("/servers").await.is_empty());
    assert!(panel.list("/storage/servers").await.is_empty());

    // The job was cancelled before a worker came, so the server is back.
    let path = format!("/jobs/{}/cancel", job["id"]);
    assert_eq!(panel.post(&path, json!({})).await.status, 200);
    assert_eq!(app.as_owner().show(backup).await.status, 200);
    assert_eq!(panel.get(&format!("/servers/{uuid}")).await.status, 200);
    hosting.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_must_say_what_happens_to_backups_and_is_refused_while_one_runs() {
    let hosting = Hosting::without_worker().await;
    let (app, panel) = (&hosting.app, &hosting.panel);
    let path = format!("/servers/{}", app.server.id);
    for (query, rule) in [
        ("", "required"),
        ("?backups=", "required"),
        ("?backups=both", "in"),
    ] {
        let answer = panel.delete(&format!("{path}{query}")).await;
        assert_eq!(
            broken(&answer),
            [("backups".to_owned(), rule.to_owned())],
            "{query}"
        );
    }
    let backup = app.as_owner().create(json!({})).await.uuid();
    let code = || "ConflictingServerStateException".to_owned();
    let answer = panel.delete(&format!("{path}?backups=delete")).await;
    let text = "Cannot delete server while a backup of it is in progress.";
    assert_eq!(answer.refusal(), (409, code(), text.into()));
    let answer = panel.patch(&path, json!({ "node": "elsewhere" })).await;
    // Without a root above it, this server cannot be moved at all.
    assert_eq!(answer.status, 422);
    let restoring = format!("UPDATE jobs SET kind = 'restore_backup' WHERE backup_id = '{backup}'");
    app.sql().query(&restoring).await;
    let answer = panel.delete(&format!("{path}?backups=keep")).await;
    let text = "Cannot delete server while a restore of it is in progress.";
    assert_eq!(answer.refusal(), (409, code(), text.into()));
    assert_eq!(panel.get(&path).await.status, 200);
    hosting.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_back_with_its_backups_after_its_deletion_has_failed() {
    let hosting = Hosting::start().await;
    let app = &hosting.app;
    let (uuid, owner) = hosting.server_with_files("one").await;
    let backup = owner.create(json!({})).await.uuid();
    ended(&owner, &backup).await;
    let away = app.beside("away");
    fs_err::rename(&app.disk, &away).unwrap();
    let job = ask(&hosting, &uuid, "delete").await;
    let job = job_ended(&hosting, &job).await;
    assert_eq!(
        (&job["state"], &job["attempt"]),
        (&json!("discarded"), &json!(3)),
        "{job}"
    );
    fs_err::rename(&away, &app.disk).unwrap();
    assert_eq!(
        owner.show(&backup).await.attributes()["status"],
        "completed"
    );
    let job = ask(&hosting, &uuid, "delete").await;
    assert_eq!(job_ended(&hosting, &job).await["state"], "completed");
    assert_eq!(owner.list("").await.status, 404);
    hosting.app.stop().await;
}

fn worker(app: &App, folder: &Path) -> Process {
    let url = app.sql().url();
    let settings: [Setting<'_>; 2] = [("database.url", &url), ("worker.lease_seconds", "5")];
    let mut command = holdfast(&settings);
    Process::start(command.args(["worker", "--data"]).arg(folder), folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_whose_worker_is_killed_is_completed_by_the_next() {
    const MANY: i64 = 1500;
    let hosting = Hosting::without_worker().await;
    let app = &hosting.app;
    let (uuid, _) = hosting.server_with_files("one").await;
    let rows_of_many = format!(
        "INSERT INTO backups (id, server_id, name, disk, state, completed_at, sha256, size_bytes, \
         archive_attempt)
         SELECT gen_random_uuid(), '{uuid}', 'kept', 'local', 'completed', now(),
                decode(repeat('00', 32), 'hex'), 1, 1
         FROM generate_series(1, {MANY}) RETURNING id::text"
    );
    // Each backup has its archive and its index.
    let folder = app.disk.join(&uuid);
    for row in app.sql().query(&rows_of_many).await.iter().take(100) {
        let backup = row[0].as_deref().unwrap();
        files::write(&folder.join(format!("{backup}.tar.gz")), b"an archive");
        files::write(&folder.join(format!("{backup}.index")), b"an index");
    }
    let job = ask(&hosting, &uuid, "delete").await;
    let data = app.disk.parent().unwrap();
    let mut first = worker(app, data);
    let left = eventually("some backups are gone", async || {
        let left = rows(app, "backups", &uuid).await;
        (left < MANY - 50).then_some(left)
    })
    .await;
    first.signal(Signal::KILL);
    first.ended().await;
    assert!(left > 0, "too quick to be killed in between");
    assert_eq!(rows(app, "servers", &uuid).await, 1, "the row goes last");
    assert_eq!(app.as_owner().about(&uuid).list("").await.status, 404);

    let mut second = worker(app, data);
    let job = job_ended(&hosting, &job).await;
    assert_eq!(
        (&job["state"], &job["attempt"]),
        (&json!("completed"), &json!(2)),
        "{job}"
    );
    assert_eq!(rows(app, "servers", &uuid).await, 0);
    assert_eq!(rows(app, "backups", &uuid).await, 0);
    assert!(files::files_below(&folder).is_empty());
    second.signal(Signal::TERM);
    assert!(second.ended().await.success(), "{}", second.log());
    hosting.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_deletes_a_server_and_waits_for_it() {
    let app = App::start().await;
    files::make_server(&app.directory);
    let backup = app.backup().await;
    let url = app.sql().url();
    let settings: [Setting<'_>; 1] = [("database.url", &url)];
    let admin = |arguments: &[&str]| {
        let mut command = holdfast(&settings);
        command.args(["admin", "--json", "server", "delete", "--data"]);
        command.arg(app.disk.parent().unwrap()).args(arguments);
        run(&mut command)
    };
    let short = app.server.id.short();
    assert_eq!(
        admin(&[&short]).code,
        Some(2),
        "it must say what becomes of backups"
    );
    assert_eq!(
        admin(&[&short, "--delete-backups", "--keep-backups"]).code,
        Some(2)
    );
    let (deleted, archive) = (admin(&[&short, "--delete-backups"]), app.archive(&backup));
    let deleted = deleted.json();
    assert_eq!(
        (&deleted["deleted"], &deleted["backups"]),
        (&json!(true), &json!("delete"))
    );
    assert!(!archive.exists());
    assert_eq!(app.as_owner().list("").await.status, 404);
    let again = admin(&[&short, "--keep-backups"]);
    assert!(again.failure().contains("there is no server"), "{again:?}");
    app.stop().await;
}
