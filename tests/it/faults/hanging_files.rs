//! File systems that hang, like one whose network server is gone: a read blocks until they answer.
//! Stopping a worker and cancelling a backup must not wait for that.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use reqwest::Method;
use serde_json::json;

use super::job_phases::assert_given_back;
use super::make_server;
use crate::support::app::App;
use crate::support::client::send;
use crate::support::{eventually, files, is_root, skipped};

/// A FUSE file system without a server. It returns errors once it is dropped.
struct Hanging {
    folder: PathBuf,
    holder: Child,
}

impl Hanging {
    fn mount(folder: &Path) -> Option<Self> {
        if !is_root() || !Path::new("/dev/fuse").exists() {
            skipped("only root may mount a file system, and it takes /dev/fuse");
            return None;
        }
        fs_err::create_dir_all(folder).unwrap();
        // It hangs as long as its other end is open.
        let script = r#"exec 3<>/dev/fuse
            mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 hanging "$1" || exit 1
            echo mounted
            exec sleep 120"#;
        let holder = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(folder)
            .stdout(Stdio::piped())
            .spawn();
        let mut hanging = Self {
            folder: folder.to_owned(),
            holder: holder.unwrap(),
        };
        let mut said = String::new();
        let stdout = hanging.holder.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut said).unwrap();
        if said == "mounted\n" {
            return Some(hanging);
        }
        skipped("mounting is forbidden here");
        None
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        // It may have ended already if it could not be mounted.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}

async fn scans(app: &App, uuid: &str) {
    let owner = app.as_owner();
    eventually("the server is scanned", async || {
        let backup = owner.show(uuid).await.attributes();
        (backup["progress"]["phase"] == "scanning").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stops_returns_a_backup_of_a_hanging_file_system() {
    let mut app = App::without_worker(&[]).await;
    make_server(&app);
    let Some(hanging) = Hanging::mount(&app.directory.join("world/hangs")) else {
        return app.stop().await;
    };
    let uuid = app.as_owner().create(json!({})).await.uuid();
    app.add_worker(&[]);
    scans(&app, &uuid).await;
    app.stop_workers().await;
    assert_given_back(&app, "while it scans").await;
    drop(hanging);
    app.add_worker(&[]);
    assert_eq!(app.ended(&uuid).await["status"], "completed");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_hanging_file_system_can_be_cancelled_and_delays_no_other() {
    let mut app = App::without_worker(&[("worker.concurrency", "1")]).await;
    make_server(&app);
    let Some(hanging) = Hanging::mount(&app.directory.join("world/hangs")) else {
        return app.stop().await;
    };
    let owner = app.as_owner();
    let uuid = owner.create(json!({})).await.uuid();
    app.add_worker(&[]);
    scans(&app, &uuid).await;
    let cancel = owner.request(Method::POST, &format!("/{uuid}/cancel"));
    assert_eq!(send(cancel).await.status, 204);
    assert_eq!(app.ended(&uuid).await["status"], "failed");
    // The only slot of the worker is free again.
    let other = app.another_server("other").await;
    files::make_server(&other.directory);
    let of_other = owner.about(&other.id.to_string());
    let uuid = of_other.create(json!({})).await.uuid();
    eventually("another server is backed up", async || {
        let backup = of_other.show(&uuid).await.attributes();
        (backup["status"] == "completed").then_some(())
    })
    .await;
    drop(hanging);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stops_leaves_a_restore_with_a_hanging_staging_folder_to_its_lease() {
    let mut app = App::without_worker(&[("worker.lease_seconds", "5")]).await;
    make_server(&app);
    app.add_worker(&[]);
    let uuid = app.backup().await;
    app.stop_workers().await;
    let before = files::tree(&app.directory);
    fs_err::remove_dir_all(app.directory.join("world")).unwrap();
    let damaged = files::tree(&app.directory);
    let staging = app.beside("hangs");
    let Some(hanging) = Hanging::mount(&staging) else {
        return app.stop().await;
    };
    app.add_worker(&[("worker.staging_dir", staging.to_str().unwrap())]);
    let owner = app.as_owner();
    assert_eq!(owner.restore(&uuid, json!({})).await.status, 202);
    eventually("the restore runs", async || {
        let backup = owner.show(&uuid).await.attributes();
        (backup["restore"]["status"] == "running").then_some(())
    })
    .await;
    // The process ends although its thread still blocks. The thread has the job's claim, but
    // nothing extends the lease.
    app.stop_workers().await;
    assert_eq!(files::tree(&app.directory), damaged);
    drop(hanging);
    app.add_worker(&[]);
    assert_eq!(app.restored(&uuid).await["status"], "completed");
    assert_eq!(files::tree(&app.directory), before);
    app.stop().await;
}
