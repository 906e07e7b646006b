//! The panel is told how each backup and restore ended, whatever happens to it meanwhile.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use uuid::Uuid;

use super::Beside;
use crate::stand_ins::faults::Fault;
use crate::stand_ins::panel::PanelStandIn;
use crate::stand_ins::wings::WingsStandIn;
use crate::stand_ins::{Flavour, NodeKey};
use crate::support::database::TestDatabase;
use crate::support::process::Process;
use crate::support::{eventually, files};

#[tokio::test(flavor = "multi_thread")]
async fn the_panel_is_told_the_size_and_hash_of_a_backup_and_the_end_of_a_restore() {
    let beside = Beside::start(&[]).await;
    let server = beside.add_server();
    let backup = beside.create(server).await;
    let told = beside.reported(backup).await;
    let row = format!(
        "SELECT encode(sha256, 'hex') || ' ' || size_bytes FROM backups WHERE id = '{backup}'"
    );
    let stored = beside.sql(&row).await;
    let checksum = told.checksum.as_deref().unwrap().strip_prefix("sha256:");
    assert_eq!(format!("{} {}", checksum.unwrap(), told.bytes), stored);
    assert!(told.is_successful);
    assert_eq!(beside.answers(backup, false), [204]);

    let file = beside.wings.directory(server).join("world.dat");
    fs_err::write(&file, "damaged").unwrap();
    beside.panel.restore_backup(backup, true).await.unwrap();
    let status = || beside.panel.server(server).unwrap().status;
    assert_eq!(status().as_deref(), Some("restoring_backup"));
    eventually("the server is usable again", async || {
        status().is_none().then_some(())
    })
    .await;
    assert_eq!(fs_err::read_to_string(&file).unwrap(), "a world");
    let callbacks = beside.panel.callbacks();
    assert_eq!(callbacks.last().unwrap().body, json!({"successful": true}));

    // A restore that fails is reported, too.
    let archive = format!("{server}/{backup}.tar.gz");
    fs_err::write(beside.app.disk.join(archive), "rubbish").unwrap();
    beside.panel.restore_backup(backup, true).await.unwrap();
    eventually("the server is usable again", async || {
        status().is_none().then_some(())
    })
    .await;
    let callbacks = beside.panel.callbacks();
    assert_eq!(callbacks.last().unwrap().body, json!({"successful": false}));
    assert_eq!(fs_err::read_to_string(&file).unwrap(), "a world");

    // And a backup that fails.
    fs_err::remove_dir_all(beside.wings.directory(server)).unwrap();
    let failed = beside.create(server).await;
    assert!(!beside.reported(failed).await.is_successful);
    beside
        .waits("NOT EXISTS (SELECT 1 FROM panel_callbacks)")
        .await;
    assert_eq!(beside.readiness().await, json!({"callbacks_waiting": 0}));
    beside.stop().await;
}

/// Breaks the panel, ends a backup, and heals the panel.
async fn survive(faults: &[(Fault, &str)]) {
    let beside = Beside::start(&[]).await;
    for (fault, reason) in faults {
        let server = beside.add_server();
        beside.panel.set_fault(fault.clone());
        let backup = beside.create(server).await;
        let waiting = eventually("the callback waits", async || {
            beside.hurry().await;
            let waiting = beside.readiness().await;
            (waiting["reason"] == *reason).then_some(waiting)
        })
        .await;
        assert_eq!(waiting["callbacks_waiting"], 1, "{fault:?}");
        assert!(waiting["waiting_since"].is_string(), "{waiting}");
        let failures = beside.metric("holdfast_panel_failures_total", reason).await;
        assert!(failures >= 1.0, "{fault:?}");
        beside.panel.set_fault(Fault::None);
        assert!(beside.reported(backup).await.is_successful, "{fault:?}");
        beside
            .waits("NOT EXISTS (SELECT 1 FROM panel_callbacks)")
            .await;
    }
    beside.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panel_that_is_away_or_refuses_everything_loses_nothing() {
    survive(&[
        (Fault::Down, "unreachable"),
        (Fault::Unauthorized, "unauthorized"),
        (Fault::Forbidden, "unauthorized"),
        (Fault::TooManyRequests, "unavailable"),
        (Fault::JsonError, "unavailable"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_one_of_the_panel_loses_nothing() {
    survive(&[
        (Fault::HtmlNotFound, "not_the_panel"),
        (Fault::HtmlError, "not_the_panel"),
        (Fault::HtmlOk, "not_the_panel"),
        (Fault::Maintenance, "not_the_panel"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed_and_the_token_goes_nowhere_else() {
    let other = crate::support::receiver::Receiver::start(&[]).await;
    let to = other.url.clone();
    survive(&[(Fault::Redirect { to }, "redirect")]).await;
    assert!(other.received().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panel_that_exceeds_the_timeout_is_told_again() {
    let beside = Beside::start(&[]).await;
    let server = beside.add_server();
    let milliseconds = 17_000;
    beside.panel.set_fault(Fault::Slow { milliseconds });
    let backup = beside.create(server).await;
    beside.reported(backup).await;
    eventually("the callback waits", async || {
        (beside.readiness().await["reason"] == "timeout").then_some(())
    })
    .await;
    beside.panel.set_fault(Fault::None);
    beside
        .waits("NOT EXISTS (SELECT 1 FROM panel_callbacks)")
        .await;
    assert_eq!(beside.answers(backup, false), [204, 400]);
    beside.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_whose_answer_was_lost_is_ended_by_the_refusal_of_its_repetition() {
    let beside = Beside::start(&[]).await;
    let server = beside.add_server();
    beside.panel.set_fault(Fault::NoAnswer);
    let backup = beside.create(server).await;
    beside.reported(backup).await;
    beside.panel.set_fault(Fault::None);
    beside
        .waits("NOT EXISTS (SELECT 1 FROM panel_callbacks)")
        .await;
    let answers = beside.answers(backup, false);
    assert_eq!((answers[0], answers[answers.len() - 1]), (204, 400));
    let repeated = beside
        .metric("holdfast_panel_callbacks_total", "already_taken")
        .await;
    assert!(repeated >= 1.0);
    beside.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callbacks_wait_together_and_go_out_together() {
    let beside = Beside::start(&[]).await;
    let server = beside.add_server();
    let first = beside.create(server).await;
    beside.reported(first).await;
    beside.panel.set_fault(Fault::HtmlError);
    let before = beside.metric("holdfast_panel_failures_total", "").await;
    // Forty backups that have ended while the panel is away, and a restore of each.
    let example = beside.panel.backup(first).unwrap();
    let mut rows = Vec::new();
    for _ in 0..40 {
        let backup = Uuid::new_v4();
        beside.panel.change(|state| {
            let mut row = example.clone();
            (row.uuid, row.is_successful, row.completed_at) = (backup, false, None);
            state.backups.insert(backup, row)
        });
        let body = "'{\"checksum\": \"aa\", \"checksum_type\": \"sha256\", \"size\": 7, \
                    \"successful\": true, \"parts\": []}'";
        rows.push(format!(
            "('local', '{server}', '{backup}', 'backup', {body})"
        ));
        let body = "'{\"successful\": true}'";
        rows.push(format!(
            "('local', '{server}', '{backup}', 'restore', {body})"
        ));
    }
    let rows = rows.join(", ");
    let insert = "INSERT INTO panel_callbacks (node, server_id, backup_id, kind, body) VALUES";
    beside.sql(&format!("{insert} {rows}")).await;
    eventually("the callbacks wait", async || {
        let waiting = beside.readiness().await;
        (waiting["callbacks_waiting"] == 80 && waiting["reason"] == "not_the_panel").then_some(())
    })
    .await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // Eight at once at first, and then one at a time, after 1 s, 2 s, 4 s, …
    let failures = beside.metric("holdfast_panel_failures_total", "").await - before;
    assert!((1.0..=14.0).contains(&failures), "{failures}");
    let count = beside.panel.callbacks().len();
    beside.panel.set_fault(Fault::None);
    beside
        .waits("NOT EXISTS (SELECT 1 FROM panel_callbacks)")
        .await;
    // Each was told once, and the restore of a backup after the backup.
    let told = beside.panel.callbacks().split_off(count);
    assert_eq!(told.len(), 80);
    assert!(told.iter().all(|one| one.status == 204));
    for restore in told.iter().filter(|one| one.is_restore) {
        let backup = told
            .iter()
            .find(|one| one.backup == restore.backup && !one.is_restore);
        assert!(backup.unwrap().at <= restore.at);
    }
    beside.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_the_panel_does_not_know_yet_is_reported_when_it_does() {
    let late = Duration::from_secs(5);
    let beside = Beside::start_with(Flavour::Pelican, late, &[]).await;
    let server = beside.add_server();
    let backup = beside.create(server).await;
    assert!(beside.reported(backup).await.is_successful);
    let answers = beside.answers(backup, false);
    assert_eq!((answers[0], answers[answers.len() - 1]), (404, 204));
    beside.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_is_reported_after_the_panel_has_noted_it() {
    let late = Duration::from_secs(1);
    let beside = Beside::start_with(Flavour::Pelican, late, &[]).await;
    let server = beside.add_server();
    let backup = beside.create(server).await;
    beside.reported(backup).await;
    beside.panel.restore_backup(backup, true).await.unwrap();
    eventually("the restore was reported", async || {
        (beside.answers(backup, true) == [204]).then_some(())
    })
    .await;
    // The panel's transaction has ended before.
    assert_eq!(beside.panel.server(server).unwrap().status, None);
    beside.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_the_panel_has_deleted_ends_with_its_404_and_is_an_orphan() {
    let beside = Beside::start(&[]).await;
    let server = beside.add_server();
    beside.panel.set_fault(Fault::Down);
    let backup = beside.create(server).await;
    beside.completed(backup).await;
    beside.panel.change(|state| state.backups.remove(&backup));
    beside.panel.set_fault(Fault::None);
    eventually("the panel was asked", async || {
        (!beside.answers(backup, false).is_empty()).then_some(())
    })
    .await;
    // Only a minute later is the panel believed.
    beside.waits("EXISTS (SELECT 1 FROM panel_callbacks)").await;
    let minute = "UPDATE panel_callbacks SET created_at = now() - interval '61 s', next_at = now()";
    beside.sql(minute).await;
    beside
        .waits("NOT EXISTS (SELECT 1 FROM panel_callbacks)")
        .await;
    let orphans = beside
        .metric("holdfast_panel_orphaned_backups_total", "")
        .await;
    assert!((orphans - 1.0).abs() < 0.1, "{orphans}");
    // The archive is kept.
    let row = format!("EXISTS (SELECT 1 FROM backups WHERE id = '{backup}')");
    beside.waits(&row).await;
    let archive = beside.app.disk.join(format!("{server}/{backup}.tar.gz"));
    assert!(archive.exists());
    beside.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_before_it_has_recorded_the_answer_tells_it_again() {
    let folder = files::scratch();
    let key = NodeKey::random();
    let panel = PanelStandIn::start(Flavour::Pterodactyl, &key);
    let wings = WingsStandIn::start(Flavour::Pterodactyl, &key, &panel.url(), folder.path());
    let file = folder.path().join("config.yml");
    fs_err::write(&file, wings.settings()).unwrap();
    let database = TestDatabase::create().await;
    let url = database.url();
    let settings = [
        ("database.url", url.as_str()),
        ("wings.config", file.to_str().unwrap()),
    ];
    let data = folder.path().join("data");
    let (mut process, base_url) = Process::up(&data, &settings).await;
    panel.set_node_url(0, &base_url);
    let server = panel.add_server();
    wings.add_server(server);

    // The panel does its work at once, and answers later.
    panel.set_fault(Fault::Slow {
        milliseconds: 10_000,
    });
    let new = crate::stand_ins::panel::NewBackup::default();
    let backup = panel.create_backup(server, new).await.unwrap();
    eventually("the panel was told", async || {
        panel.backup(backup)?.completed_at
    })
    .await;
    process.signal(Signal::KILL);
    process.ended().await;
    panel.set_fault(Fault::None);
    database
        .query("UPDATE panel_callbacks SET claimed_until = now()")
        .await;
    let (mut process, base_url) = Process::up(&data, &settings).await;
    panel.set_node_url(0, &base_url);
    let statuses = eventually("the panel was told again", async || {
        let statuses: Vec<u16> = panel.callbacks().iter().map(|one| one.status).collect();
        (statuses.len() >= 2).then_some(statuses)
    })
    .await;
    assert_eq!(statuses, [204, 400]);
    assert!(panel.backup(backup).unwrap().is_successful);

    // An outage is one line in the log, and its end another.
    panel.set_fault(Fault::HtmlError);
    for _ in 0..3 {
        let new = crate::stand_ins::panel::NewBackup::default();
        let server = panel.add_server();
        wings.add_server(server);
        panel.create_backup(server, new).await.unwrap();
    }
    eventually("the outage is in the log", async || {
        process
            .log()
            .contains("the panel cannot be told how backups and restores ended")
            .then_some(())
    })
    .await;
    panel.set_fault(Fault::None);
    eventually("its end is in the log", async || {
        process
            .log()
            .contains("the panel takes reports again")
            .then_some(())
    })
    .await;
    let log = process.log();
    let lines = log.matches("the panel cannot be told how").count();
    assert_eq!(lines, 1, "{log}");
    assert!(!log.contains(&key.token), "the token is in the log");
    process.signal(Signal::TERM);
    process.ended().await;
    database.drop().await;
}
