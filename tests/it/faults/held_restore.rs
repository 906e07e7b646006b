//! A restore that is held after everything is verified and unpacked, and before anything is
//! touched. Its worker is asked to stop there, or is paused for longer than its lease. The command
//! that says whether the server runs holds it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::json;

use super::job_phases::assert_given_back;
use super::make_server;
use crate::support::app::{App, Setting, variable};
use crate::support::process::{Process, holdfast};
use crate::support::{eventually, files};

/// A worker's power driver whose second answer, the one before the exchange, blocks.
struct Held {
    folder: PathBuf,
    command: String,
}

impl Held {
    fn new(app: &App) -> Self {
        let folder = app.beside("power");
        fs_err::create_dir(&folder).unwrap();
        let path = folder.join("running");
        let text = format!(
            "#!/bin/sh\ncd {}\ntest -e first || {{ echo > first; exit 1; }}\necho > asked\n\
             while ! test -e let-go; do sleep 0.05; done\nexit 1\n",
            folder.display()
        );
        fs_err::write(&path, text).unwrap();
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self {
            command: path.to_str().unwrap().to_owned(),
            folder,
        }
    }

    fn settings(&self) -> [Setting<'_>; 4] {
        [
            ("power.driver", "command"),
            ("power.running_command", &self.command),
            ("power.stop_command", "/bin/true"),
            ("worker.lease_seconds", "5"),
        ]
    }

    async fn is_reached(&self) {
        eventually("everything is unpacked", async || {
            self.folder.join("asked").exists().then_some(())
        })
        .await;
    }

    fn let_go(&self) {
        fs_err::write(self.folder.join("let-go"), "").unwrap();
    }
}

/// Folders of restores beside the server's directory.
fn staging(app: &App) -> Vec<String> {
    let beside = fs_err::read_dir(app.directory.parent().unwrap()).unwrap();
    let names = beside.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter(|name| name.starts_with(".holdfast-restore"))
        .collect()
}

/// A backup, and a server that has changed since.
async fn scene(app: &mut App) -> (String, PathBuf) {
    make_server(app);
    app.add_worker(&[]);
    let uuid = app.backup().await;
    app.stop_workers().await;
    let new = app.directory.join("new.txt");
    fs_err::write(&new, "made later\n").unwrap();
    (uuid, new)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_whose_worker_stops_after_unpacking_changes_nothing_and_is_completed_by_the_next()
{
    let mut app = App::without_worker(&[]).await;
    let (uuid, new) = scene(&mut app).await;
    let held = Held::new(&app);
    let now = files::tree(&app.directory);
    app.add_worker(&held.settings());
    assert_eq!(app.as_owner().restore(&uuid, json!({})).await.status, 202);
    held.is_reached().await;
    assert_eq!(staging(&app).len(), 1, "it is unpacked");
    app.stop_workers().await;
    assert_given_back(&app, "when all is unpacked").await;
    assert_eq!(files::tree(&app.directory), now);
    assert_eq!(staging(&app), [""; 0]);
    app.add_worker(&[]);
    assert_eq!(app.restored(&uuid).await["status"], "completed");
    assert!(!new.exists());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_paused_during_a_restore_beyond_its_lease_overwrites_nothing() {
    let mut app = App::without_worker(&[]).await;
    let (uuid, new) = scene(&mut app).await;
    let held = Held::new(&app);
    let data = app.disk.parent().unwrap();
    let mut command = holdfast(&held.settings());
    command.env(variable(&("database.url", "")).0, app.sql().url());
    let mut paused = Process::start(command.args(["worker", "--data"]).arg(data), data);
    assert_eq!(app.as_owner().restore(&uuid, json!({})).await.status, 202);
    held.is_reached().await;
    paused.signal(Signal::STOP);
    app.add_worker(&[("worker.lease_seconds", "5")]);
    eventually("another worker has the job", async || {
        let attempt = "SELECT max(attempt) FROM jobs WHERE kind = 'restore_backup'";
        (app.sql().number(attempt).await > 1).then_some(())
    })
    .await;
    // It still holds the lock of the directory, so the other one could not touch it either.
    assert!(new.exists());
    held.let_go();
    paused.signal(Signal::CONT);
    let restore = app.restored(&uuid).await;
    if restore["status"] == "completed" {
        assert!(!new.exists());
    } else {
        // It woke up too slowly for the other's last attempt.
        let busy = "Another process is restoring this server. Nothing was changed.";
        assert_eq!(restore["error"], busy);
        assert!(new.exists());
    }
    let after = app.directory.join("after.txt");
    fs_err::write(&after, "made after it\n").unwrap();
    paused.signal(Signal::TERM);
    assert!(paused.ended().await.success(), "{}", paused.log());
    let log = paused.log();
    let has_noticed =
        log.contains("the lease is lost") || log.contains("a job failed after its lease was lost");
    assert!(has_noticed, "{log}");
    assert!(after.exists());
    assert_eq!(staging(&app), [""; 0]);
    // The worker that restored the files, perhaps the same one, did so in a later attempt.
    let later = "SELECT count(*) FROM jobs WHERE kind = 'restore_backup' AND attempt > 1
                 AND errors -> 0 ->> 'sentence' = \
                 'The process that worked on it stopped responding.'";
    assert_eq!(app.sql().number(later).await, 1);
    app.stop().await;
}
