//! Free space for backups: 507 before a backup exists, by quota, by disk, and with many requests at
//! once.

use serde_json::{Value, json};

use holdfast_domain::ServerState;

use crate::support::app::App;
use crate::support::client::{Answer, Client};
use crate::support::files;

/// A request for a backup of known size.
fn only_the_world() -> Value {
    json!({"ignored": ["*", "!world.bin"]})
}

fn assert_no_space(answer: &Answer) {
    let text = "Not enough storage space available for backup.";
    let expected = (507, "InsufficientStorageException".into(), text.into());
    assert_eq!(answer.refusal(), expected);
}

async fn assert_nothing_is_left(app: &App) {
    for table in ["backups", "jobs", "activity"] {
        let rows = format!("SELECT count(*) FROM {table}");
        assert_eq!(app.sql().number(&rows).await, 0, "{table}");
    }
}

/// Writes a worker's report about the disk, for a service without a worker.
async fn say_free(app: &App, bytes: u64) {
    app.sql()
        .query(&format!(
            "INSERT INTO workers (name, node, version, host, pid, concurrency, disk_free_bytes)
             VALUES ('told', 'local', '0', 'here', 1, 1, '{{\"local\": {bytes}}}')
             ON CONFLICT (name) DO UPDATE SET disk_free_bytes = EXCLUDED.disk_free_bytes, \
             last_heartbeat_at = now()"
        ))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn create_507_when_a_first_backup_may_exceed_the_quota() {
    let mut app = App::start().await;
    files::write(&app.directory.join("world.bin"), &files::noise(200_000, 1));
    app.server.limits.quota_bytes = Some(150_000);
    app.save_server().await;
    assert_no_space(&app.as_owner().create(json!({})).await);
    assert_nothing_is_left(&app).await;
    // Excluded files need no space.
    let answer = app
        .as_owner()
        .create(json!({"ignored": ["world.bin", "*.jar"]}))
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    app.ended(&answer.uuid()).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn create_507_when_one_more_like_the_last_would_exceed_the_quota_by_a_byte() {
    let mut app = App::start().await;
    let first = app.backup().await;
    let shown = app.as_owner().show(&first).await.attributes();
    let bytes = shown["bytes"].as_u64().unwrap();
    app.server.limits.quota_bytes = Some(2 * bytes - 1);
    app.save_server().await;
    assert_no_space(&app.as_owner().create(json!({})).await);
    assert_eq!(
        app.as_owner().list("").await.json()["meta"]["backup_count"],
        1
    );
    app.server.limits.quota_bytes = Some(2 * bytes);
    app.save_server().await;
    app.backup().await;
    assert_no_space(&app.as_owner().create(json!({})).await);
    // Deleting a backup frees space again.
    assert_eq!(app.as_owner().delete(&first).await.status, 204);
    app.backup().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn create_507_by_the_quota_of_the_settings_unless_the_server_has_its_own() {
    let mut app = App::start_with(&[("limits.quota_bytes_per_server", "1")]).await;
    files::write(&app.directory.join("world.bin"), b"two bytes or more");
    assert_no_space(&app.as_owner().create(json!({})).await);
    assert_nothing_is_left(&app).await;
    app.server.limits.quota_bytes = Some(0);
    app.save_server().await;
    app.backup().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn create_507_when_the_disk_is_full() {
    // No disk has that much space to keep free.
    let reserve = ("limits.disk_reserve_bytes", "9000000000000000000");
    let app = App::start_with(&[reserve]).await;
    let workers = "SELECT count(*) FROM workers";
    crate::support::eventually("the worker has told what is free", async || {
        (app.sql().number(workers).await == 1).then_some(())
    })
    .await;
    assert_no_space(&app.as_owner().create(json!({})).await);
    assert_nothing_is_left(&app).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn free_space_is_exact_to_the_byte_and_excludes_running_backups() {
    let app = App::without_worker(&[("limits.disk_reserve_bytes", "1000")]).await;
    let size: u64 = 1 << 20;
    let mut servers = Vec::new();
    for n in 0..2 {
        let server = app.another_server(&format!("Server {n}")).await;
        files::write(
            &server.directory.join("world.bin"),
            &files::noise(1 << 20, n),
        );
        servers.push(server);
    }
    let as_first = app.as_owner().about(&servers[0].id.to_string());
    say_free(&app, size + 999).await;
    assert_no_space(&as_first.create(only_the_world()).await);
    assert_nothing_is_left(&app).await;
    say_free(&app, size + 1000).await;
    assert_eq!(as_first.create(only_the_world()).await.status, 200);
    // It has written nothing yet, but its space is reserved.
    let as_second = app.as_owner().about(&servers[1].id.to_string());
    assert_no_space(&as_second.create(only_the_world()).await);
    say_free(&app, 2 * size + 1000).await;
    assert_eq!(as_second.create(only_the_world()).await.status, 200);
    // A report that is too old no longer counts. The backup itself then finds the disk full.
    say_free(&app, 1).await;
    app.sql()
        .query(
            "UPDATE workers SET last_heartbeat_at = now() - interval '61 seconds'; \
            UPDATE backups SET state = 'failed', failed_at = now(), error = 'x'; DELETE FROM jobs",
        )
        .await;
    assert_eq!(as_first.create(only_the_world()).await.status, 200);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn simultaneous_backups_of_many_servers_never_exceed_the_free_space() {
    let app = App::without_worker(&[("limits.disk_reserve_bytes", "0")]).await;
    let mut clients = Vec::new();
    for n in 0..20 {
        let server = app.another_server(&format!("Server {n}")).await;
        files::write(
            &server.directory.join("world.bin"),
            &files::noise(100_000, n),
        );
        clients.push(app.as_owner().about(&server.id.to_string()));
    }
    say_free(&app, 350_000).await;
    let asked = clients.iter().map(|client| client.create(only_the_world()));
    let answers = futures_util::future::join_all(asked).await;
    let count = |status| {
        answers
            .iter()
            .filter(|answer| answer.status == status)
            .count()
    };
    assert_eq!((count(200), count(507)), (3, 17));
    assert_eq!(app.sql().number("SELECT count(*) FROM backups").await, 3);
    app.stop().await;
}

/// Inserts a backup of a megabyte, for which the disk grew by 1,000 bytes. It has no archive.
pub(crate) async fn insert_last_backup(app: &App) {
    let server = app.server.id;
    app.sql()
        .query(&format!(
            "INSERT INTO backups (id, server_id, name, disk, node, state, completed_at, sha256,
                                  size_bytes, archive_attempt, reused_bytes, read_bytes,
                                  stored_bytes, unread_backups, created_at)
             VALUES (gen_random_uuid(), '{server}', 'last', 'local', 'local', 'completed', now(),
                     decode(repeat('00', 32), 'hex'), 1000000, 1, 999000, 1000, 1000, 3,
                     now() - interval '1 hour')"
        ))
        .await;
}

/// Requests a backup, which reserves this many bytes, or is refused.
async fn check(app: &App, client: &Client, body: Value, reserved: Option<i64>, why: &str) {
    let answer = client.create(body).await;
    let Some(reserved) = reserved else {
        return assert_no_space(&answer);
    };
    assert_eq!(answer.status, 200, "{why}: {answer:?}");
    let select = "SELECT reserved_bytes FROM backups WHERE state = 'creating'";
    assert_eq!(app.sql().number(select).await, reserved, "{why}");
    app.sql()
        .query("DELETE FROM jobs; DELETE FROM backups WHERE state = 'creating'")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_reuses_the_last_archive_needs_what_that_one_stored() {
    let reserve = ("limits.disk_reserve_bytes", "0");
    let mut app = App::without_worker(&[reserve]).await;
    let without_reuse = app.add_api(&[reserve, ("backup.reuse", "false")]).await;
    let without_reread = app.add_api(&[reserve, ("backup.reread_every", "0")]).await;
    let owner = app.as_owner();
    let server = app.server.id;
    insert_last_backup(&app).await;
    say_free(&app, 1000).await;
    let none = json!({});
    check(&app, &owner, none.clone(), Some(1000), "like the last one").await;
    check(&app, &owner, json!({"full": true}), None, "a full one").await;
    check(
        &app,
        &owner.at(&without_reuse),
        none.clone(),
        None,
        "no reuse",
    )
    .await;
    for (change, reserved) in [
        ("UPDATE backups SET unread_backups = 12", Some(1000)),
        ("UPDATE backups SET unread_backups = 13", None),
    ] {
        app.sql().query(change).await;
        check(&app, &owner, none.clone(), reserved, change).await;
    }
    let never = owner.at(&without_reread);
    check(&app, &never, none.clone(), Some(1000), "never read again").await;
    app.sql()
        .query("UPDATE backups SET unread_backups = 3")
        .await;
    for (change, back) in [
        ("stored_bytes = NULL", "stored_bytes = 1000"),
        ("disk = 'other'", "disk = 'local'"),
        ("node = 'other'", "node = 'local'"),
        ("missing_since = now()", "missing_since = NULL"),
    ] {
        app.sql()
            .query(&format!("UPDATE backups SET {change}"))
            .await;
        check(&app, &owner, none.clone(), None, change).await;
        app.sql().query(&format!("UPDATE backups SET {back}")).await;
        check(&app, &owner, none.clone(), Some(1000), back).await;
    }
    for column in ["restored_at", "damage_found_at"] {
        app.sql()
            .query(&format!(
                "INSERT INTO reuse_barriers (server_id, {column}) VALUES ('{server}', now())"
            ))
            .await;
        check(&app, &owner, none.clone(), None, column).await;
        app.sql().query("DELETE FROM reuse_barriers").await;
    }
    // The quota counts whole archives.
    app.server.limits.quota_bytes = Some(1_999_999);
    app.save_server().await;
    check(&app, &owner, none.clone(), None, "above the quota").await;
    app.server.limits.quota_bytes = Some(2_000_000);
    app.save_server().await;
    check(&app, &owner, none, Some(1000), "within the quota").await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cheaper_checks_come_before_a_directory_is_measured() {
    let mut app = App::without_worker(&[
        ("limits.create_throttle_count", "1"),
        ("limits.create_throttle_seconds", "600"),
    ])
    .await;
    let owner = app.as_owner();
    let folder = app.directory.join("folder");
    files::write(&folder.join("world.bin"), b"two bytes or more");
    // A folder whose access time is older than its modification time updates it when it is read.
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    let opened = fs_err::File::open(&folder).unwrap().into_file();
    let times = std::fs::FileTimes::new().set_accessed(long_ago);
    opened.set_times(times).unwrap();
    let is_read = || fs_err::metadata(&folder).unwrap().accessed().unwrap() != long_ago;

    app.server.limits.quota_bytes = Some(1);
    app.server.limits.backups = Some(0);
    app.save_server().await;
    assert_eq!(owner.create(json!({})).await.refusal().0, 400);
    app.server.limits.backups = None;
    app.server.state = ServerState::Installing;
    app.save_server().await;
    assert_eq!(owner.create(json!({})).await.refusal().0, 409);
    app.server.state = ServerState::Normal;
    app.save_server().await;
    let server = app.server.id;
    let ended = format!(
        "INSERT INTO jobs (kind, server_id, backup_id, node, state, finalized_at)
         VALUES ('create_backup', '{server}', gen_random_uuid(), 'local', 'completed', now())"
    );
    app.sql().query(&ended).await;
    assert_eq!(owner.create(json!({})).await.refusal().0, 429);
    assert_eq!(owner.create(json!({"name": 1})).await.status, 422);
    assert_eq!(app.as_stranger().create(json!({})).await.status, 404);
    assert!(
        !is_read(),
        "it was measured for a request that is refused anyway"
    );

    app.sql().query("DELETE FROM jobs").await;
    assert_no_space(&owner.create(json!({})).await);
    if !is_read() {
        // Some file systems are mounted without access times. There, only the status codes were
        // tested.
        fs_err::read_dir(&folder).unwrap().for_each(drop);
        assert!(!is_read(), "nothing was measured where it had to be");
    }
    app.stop().await;
}
