//! Workers that are killed at random instants of a backup that reuses the one before: real
//! processes, whose clock is ahead. `HOLDFAST_TEST_KILLS` is how often.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use holdfast_domain::BackupId;
use holdfast_storage::{ArchiveKey, StorageKey};

use super::{AHEAD, assert_reused, assert_whole, back_up, change, make_server};
use crate::faults::clocks::faketime;
use crate::faults::full_disks::SmallDisk;
use crate::support::app::{App, Setting};
use crate::support::process::{Process, holdfast};
use crate::support::{eventually, files};

/// How often a worker is killed by default.
const KILLS: u64 = 4;
/// How many backups are kept.
const KEPT: usize = 3;
/// How fast servers are read: a backup that reuses takes about a second.
const SLOWLY: Setting<'static> = ("worker.read_limit_bytes_per_second", "2500000");

#[tokio::test(flavor = "multi_thread")]
async fn killing_workers_harms_no_archive_that_is_reused() {
    let folder = files::scratch();
    kill_again_and_again(folder.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_workers_harms_no_archive_whose_pages_are_shared() {
    let folder = files::scratch();
    let Some(disk) = SmallDisk::make(folder.path().join("xfs"), "xfs", 320) else {
        return;
    };
    kill_again_and_again(disk.path()).await;
}

/// Kills the worker of a service whose server and disk are in `place`, and checks everything after
/// each time.
async fn kill_again_and_again(place: &Path) {
    let Some(library) = faketime() else { return };
    let root = place.join("backups");
    let settings = [
        ("storage.disks.local.root", root.to_str().unwrap()),
        ("limits.disk_reserve_bytes", "0"),
    ];
    let mut app = App::without_worker(&settings).await;
    app.disk.clone_from(&root);
    app.directory = place.join("server");
    app.server.directory.clone_from(&app.directory);
    app.save_server().await;
    make_server(&app.directory);
    // It leads, and takes jobs away from dead workers sooner than one that has just started.
    app.add_worker(&[("worker.node", "elsewhere"), ("worker.lease_seconds", "5")]);
    let mut worker = start_worker(&app, &library).await;
    let first = back_up(&app).await;
    let mut kept = vec![(first, files::tree(&app.directory))];
    // How long a backup takes, from the request on.
    let mut seconds = 1.0;
    let kills = std::env::var("HOLDFAST_TEST_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let mut interrupted = 0;
    for kill in 0..kills {
        change(&app.directory, 2 * kill);
        let uuid = app.as_owner().create(json!({})).await.uuid();
        let after = Duration::from_secs_f64(rand::random::<f64>() * seconds);
        tokio::time::sleep(after).await;
        worker.signal(Signal::KILL);
        worker.ended().await;
        forget_clock(&worker);
        for (backup, tree) in &kept {
            assert_whole(&app, backup, tree).await;
        }

        // Jobs of a dead worker are taken over without the wait for their lease.
        let expire = "UPDATE jobs SET lease_expires_at = now() - interval '1 second'
                      WHERE state = 'running'";
        app.sql().query(expire).await;
        worker = start_worker(&app, &library).await;
        let backup = app.ended(&uuid).await;
        let tree = files::tree(&app.directory);
        assert_whole(&app, &backup, &tree).await;
        let attempts = format!("SELECT attempt FROM jobs WHERE backup_id = '{uuid}'");
        if app.sql().number(&attempts).await == 1 {
            assert_reused(&backup, &kept.last().unwrap().0);
        } else {
            interrupted += 1;
            assert_eq!(backup["reused_from"], Value::Null, "{after:?}: {backup}");
        }
        kept.push((backup, tree));
        assert_nothing_else(&app, &kept).await;

        change(&app.directory, 2 * kill + 1);
        let begun = Instant::now();
        let next = back_up(&app).await;
        seconds = begun.elapsed().as_secs_f64();
        assert_reused(&next, &kept.last().unwrap().0);
        let tree = files::tree(&app.directory);
        assert_whole(&app, &next, &tree).await;
        kept.push((next, tree));
        while kept.len() > KEPT {
            let (oldest, _) = kept.remove(0);
            let oldest = oldest["uuid"].as_str().unwrap();
            assert_eq!(app.as_owner().delete(oldest).await.status, 204);
        }
        assert_nothing_else(&app, &kept).await;
    }
    assert!(interrupted > 0, "no backup was interrupted");
    worker.signal(Signal::TERM);
    assert!(worker.ended().await.success(), "{}", worker.log());
    app.stop().await;
}

/// Starts a worker whose clock is ahead, and waits until it is ready.
async fn start_worker(app: &App, library: &Path) -> Process {
    let url = app.sql().url();
    let mut command = holdfast(&[
        ("database.url", &url),
        ("storage.disks.local.root", app.disk.to_str().unwrap()),
        ("worker.nice", "0"),
        ("worker.io_class", "none"),
        ("worker.yield_above_percent", "0"),
        SLOWLY,
    ]);
    command.env("LD_PRELOAD", library);
    command.env("FAKETIME", format!("+{}s", AHEAD.as_secs()));
    // Neither the kernel's monotonic clock nor the times of files are ahead.
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    command.env("NO_FAKE_STAT", "1");
    let folder = app.beside("");
    let process = Process::start(command.args(["worker", "--data"]).arg(&folder), &folder);
    eventually("the worker is ready", async || {
        process.log().contains("the worker is ready").then_some(())
    })
    .await;
    process
}

/// Removes what libfaketime shares with the children of a process. A killed one leaves it behind.
fn forget_clock(process: &Process) {
    for name in ["faketime_shm_", "sem.faketime_sem_"] {
        // It may use another place.
        let _ = fs_err::remove_file(format!("/dev/shm/{name}{}", process.id()));
    }
}

/// Waits until the disk holds the three objects of each backup, and nothing else.
async fn assert_nothing_else(app: &App, kept: &[(Value, files::Tree)]) {
    let mut expected = vec![".holdfast-disk".to_owned()];
    for (backup, _) in kept {
        let uuid = backup["uuid"].as_str().unwrap();
        let attempt = format!("SELECT archive_attempt FROM backups WHERE id = '{uuid}'");
        let key = ArchiveKey {
            server: app.server.id,
            backup: BackupId::parse(uuid).unwrap(),
            attempt: u32::try_from(app.sql().number(&attempt).await).unwrap(),
        };
        expected.extend(StorageKey::all(key).map(|key| key.path()));
    }
    expected.sort();
    eventually("nothing else is on the disk", async || {
        (files::files_below(&app.disk) == expected).then_some(())
    })
    .await;
}
