//! Full disks: that of the archives, that of a server, and that of PostgreSQL. They are small file
//! systems that the test mounts, which needs root.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use reqwest::Method;
use rustix::fs::FallocateFlags;
use serde_json::{Value, json};

use holdfast_db::Database;
use holdfast_postgres::{PostgresOptions, PrivatePostgres};

use super::{SLOWLY, make_server, under_way};
use crate::disks::Bucket;
use crate::support::app::App;
use crate::support::client::send;
use crate::support::s3::S3Server;
use crate::support::{eventually, files, is_root, skipped};

/// A disk of a few megabytes.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    pub(crate) fn mount(folder: PathBuf, megabytes: u32) -> Option<Self> {
        if !is_root() {
            skipped("only root may mount a small disk");
            return None;
        }
        fs_err::create_dir_all(&folder).unwrap();
        let size = format!("size={megabytes}m,mode=711");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(&folder);
        if mount.status().is_ok_and(|status| status.success()) {
            return Some(Self(folder));
        }
        skipped("mounting is forbidden here");
        None
    }

    /// Makes a file system of this kind in a file beside `folder`, and mounts it.
    pub(super) fn make(folder: PathBuf, kind: &str, megabytes: u64) -> Option<Self> {
        if !is_root() {
            skipped("only root may mount a small disk");
            return None;
        }
        let image = folder.with_extension("image");
        let file = fs_err::File::create(&image).unwrap();
        file.set_len(megabytes << 20).unwrap();
        fs_err::create_dir(&folder).unwrap();
        let mkfs = format!("mkfs.{kind}");
        let mut make = Command::new(&mkfs);
        let made = make.arg("-q").arg(&image).status();
        let mut mount = Command::new("mount");
        mount.args(["-t", kind, "-o", "loop"]).arg(&image);
        if made.is_ok_and(|status| status.success())
            && mount
                .arg(&folder)
                .status()
                .is_ok_and(|status| status.success())
        {
            return Some(Self(folder));
        }
        skipped(&format!(
            "{mkfs} or mounting a loop device does not work here"
        ));
        None
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes until the disk is full.
    pub(super) fn fill(&self) {
        let mut file = fs_err::File::create(self.ballast()).unwrap();
        // Most of it takes space without being written.
        let mut end = 0;
        for size in [64 << 20, 1 << 20] {
            let flags = FallocateFlags::empty();
            while rustix::fs::fallocate(file.file(), flags, end, size).is_ok() {
                end += size;
            }
        }
        file.seek(SeekFrom::End(0)).unwrap();
        for size in [1 << 20, 4096, 1] {
            let bytes = vec![b'x'; size];
            while file.write_all(&bytes).is_ok() {}
        }
    }

    pub(super) fn empty(&self) {
        fs_err::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.0.join(".ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A lazy unmount, since a failed test may still have open files.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_archive_disk_fails_the_backup_with_that_reason_and_leaves_nothing() {
    let folder = files::scratch();
    let Some(disk) = SmallDisk::mount(folder.path().join("small"), 24) else {
        return;
    };
    let root = disk.0.join("backups");
    let mut app = App::without_worker(&[
        ("storage.disks.local.root", root.to_str().unwrap()),
        ("limits.disk_reserve_bytes", "0"),
    ])
    .await;
    app.disk = root;
    make_server(&app);
    app.add_worker(&[SLOWLY]);
    let uuid = app.as_owner().create(json!({})).await.uuid();
    under_way(&app).await;
    disk.fill();
    let backup = app.ended(&uuid).await;
    let full = "The storage `local` has no space left for this backup.";
    assert_eq!(
        (&backup["status"], &backup["error"]),
        (&json!("failed"), &json!(full))
    );
    assert_eq!(files::files_below(&app.disk), [".holdfast-disk"]);
    disk.empty();
    let uuid = eventually("the worker has told that there is room", async || {
        let answer = app.as_owner().create(json!({})).await;
        (answer.status == 200).then(|| answer.uuid())
    })
    .await;
    assert_eq!(app.ended(&uuid).await["status"], "completed");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_disk_is_full_is_not_restored_and_not_changed() {
    let folder = files::scratch();
    let Some(disk) = SmallDisk::mount(folder.path().join("small"), 24) else {
        return;
    };
    let mut app = App::start().await;
    app.directory = disk.0.join("server");
    app.server.directory.clone_from(&app.directory);
    app.save_server().await;
    make_server(&app);
    let uuid = app.backup().await;
    let tree = files::tree(&app.directory);
    disk.fill();
    let owner = app.as_owner();
    assert_eq!(owner.restore(&uuid, json!({})).await.status, 202);
    let restore = app.restored(&uuid).await;
    let error = restore["error"].as_str().unwrap();
    let begins = error.starts_with("There is not enough space on the server's node: ");
    assert!(
        begins && error.ends_with(" Nothing was changed."),
        "{error}"
    );
    assert_eq!(files::tree(&app.directory), tree);
    let beside = fs_err::read_dir(&disk.0).unwrap();
    let names: Vec<_> = beside.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(
        names.len(),
        2,
        "{names:?}: the server and what fills the disk"
    );
    disk.empty();
    assert_eq!(owner.restore(&uuid, json!({})).await.status, 202);
    eventually("the second restore has ended", async || {
        (app.restored(&uuid).await["status"] == "completed").then_some(())
    })
    .await;
    assert_eq!(files::tree(&app.directory), tree);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_with_a_full_staging_disk_changes_nothing() {
    let folder = files::scratch();
    let Some(disk) = SmallDisk::mount(folder.path().join("small"), 24) else {
        return;
    };
    let staging = disk.0.join("staging");
    fs_err::create_dir(&staging).unwrap();
    let bucket = S3Server::start().await;
    let mut app = Bucket::at(bucket.endpoint()).service().await;
    app.directory = disk.0.join("server");
    app.server.directory.clone_from(&app.directory);
    app.save_server().await;
    make_server(&app);
    app.add_worker(&[("worker.staging_dir", staging.to_str().unwrap())]);
    let uuid = app.backup().await;
    let tree = files::tree(&app.directory);
    disk.fill();
    let owner = app.as_owner();
    assert_eq!(owner.restore(&uuid, json!({})).await.status, 202);
    let restore = app.restored(&uuid).await;
    let full =
        "There is not enough space on the server's node to fetch the archive. Nothing was changed.";
    assert_eq!(
        (&restore["status"], &restore["error"]),
        (&json!("failed"), &json!(full))
    );
    assert_eq!(files::tree(&app.directory), tree);
    disk.empty();
    fs_err::remove_dir_all(app.directory.join("world")).unwrap();
    assert_eq!(owner.restore(&uuid, json!({})).await.status, 202);
    eventually("the second restore has ended", async || {
        (app.restored(&uuid).await["status"] == "completed").then_some(())
    })
    .await;
    assert_eq!(files::tree(&app.directory), tree);
    assert_eq!(fs_err::read_dir(&staging).unwrap().count(), 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_postgres_disk_is_reported_with_503_and_waited_for() {
    let folder = files::scratch();
    let Some(disk) = SmallDisk::mount(folder.path().join("pg"), 150) else {
        return;
    };
    let postgres = start_postgres(&disk.0.join("cluster")).await;
    let url = postgres.url("postgres");
    let app = App::start_with(&[("database.url", &url)]).await;
    let uuid = app.backup().await;
    let owner = app.as_owner();
    disk.fill();
    // PostgreSQL accepts writes as long as existing pages have space.
    let refused = eventually("the disk is really full", async || {
        let rename = owner.request(Method::PUT, &format!("/{uuid}/rename"));
        let answer = send(rename.json(&json!({"name": "x".repeat(190)}))).await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_eq!(refused.refusal().0, 503);
    assert_eq!(refused.header("retry-after"), "5");
    assert_eq!(owner.list("").await.status, 200, "reading goes on");
    disk.empty();
    let done = eventually("it takes backups again", async || {
        let answer = owner.create(json!({})).await;
        (answer.status == 200).then(|| answer.uuid())
    })
    .await;
    let ended: Value = app.ended(&done).await;
    assert_eq!(ended["status"], "completed", "{ended}");
    app.stop().await;
    postgres.stop().await.unwrap();
}

/// A migrated cluster for one test.
pub(super) async fn start_postgres(folder: &Path) -> PrivatePostgres {
    let options = PostgresOptions::new(folder);
    let postgres = PrivatePostgres::start(&options).await.unwrap();
    let database = Database::connect(&postgres.url("postgres"), 2)
        .await
        .unwrap();
    holdfast_db::migrate(&database).await.unwrap();
    database.close().await;
    postgres
}
