//! Backups in buckets and on encrypted disks that reuse the archive of the one before.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;

use holdfast_domain::{BackupId, DiskName};
use holdfast_storage::{ArchiveKey, Disk, StorageKey};

use super::life_cycle::{AtGoogle, ENCRYPTED_FOLDER, IDENTITY, keys};
use super::{Bucket, PART_BYTES, open_proxy, parts, read};
use crate::support::app::{App, Setting};
use crate::support::proxy::{Fault, Proxy};
use crate::support::s3::S3Server;
use crate::support::{eventually, files, skipped};

/// How far the clock of scans is ahead. A file that has changed in the last minute would be read
/// again.
const AHEAD: Duration = Duration::from_secs(300);
/// The size of a file that does not change: two parts and a bit.
const LARGE_BYTES: u64 = 2 * PART_BYTES + 1_000_000;

/// Starts the service, with a server and its first backup. `None` if this file system does not tell
/// of all changes, so that every file is read.
async fn with_first_backup(settings: &[Setting<'_>]) -> Option<(App, String)> {
    let mut app = App::without_worker(settings).await;
    // ext4, XFS, btrfs, ZFS, F2FS and bcachefs.
    let trusted = [
        0xef53,
        0x5846_5342,
        0x9123_683e,
        0x2fc1_2fc1,
        0xf2f5_2010,
        0xca45_1a4e,
    ];
    if !trusted.contains(&rustix::fs::statfs(&app.directory).unwrap().f_type) {
        skipped("the file system of the temporary folder does not tell of all changes");
        app.stop().await;
        return None;
    }
    app.add_worker_with(&[], |options| options.scans_ahead = AHEAD);
    files::make_server(&app.directory);
    let large = files::noise(usize::try_from(LARGE_BYTES).unwrap(), 5);
    files::write(&app.directory.join("world/large.mca"), &large);
    let first = app.backup().await;
    Some((app, first))
}

fn change(app: &App, number: u64) {
    let new = app.directory.join(format!("world/new-{number}.dat"));
    files::write(&new, &files::noise(40_000, 9 + number));
    files::write(&app.directory.join("server.properties"), b"motd=Changed\n");
}

async fn shown(app: &App, uuid: &str) -> Value {
    app.as_owner().show(uuid).await.attributes()
}

fn number(attributes: &Value, name: &str) -> u64 {
    let value = attributes[name].as_u64();
    value.unwrap_or_else(|| panic!("{name} in {attributes}"))
}

fn key(app: &App, uuid: &str) -> StorageKey {
    StorageKey::Archive(ArchiveKey {
        server: app.server.id,
        backup: BackupId::parse(uuid).unwrap(),
        attempt: 1,
    })
}

/// The first attempt has stored the archive with its checksum, and any tar unpacks the server's
/// tree from it.
async fn assert_whole(app: &App, disk: &Disk, uuid: &str) {
    let attributes = shown(app, uuid).await;
    assert_eq!(attributes["status"], "completed", "{attributes}");
    let archive = read(disk, key(app, uuid)).await;
    let hash = files::sha256(&archive);
    assert_eq!(attributes["checksum"], format!("sha256:{hash}"));
    let beside = app.beside("unpacked");
    fs_err::create_dir(&beside).unwrap();
    let file = app.beside("archive.tar.gz");
    files::write(&file, &archive);
    let mut tar = Command::new("tar");
    let unpacked = tar.arg("-xzpf").arg(&file).arg("-C").arg(&beside).status();
    assert!(unpacked.unwrap().success());
    assert_eq!(files::tree(&beside), files::tree(&app.directory));
    fs_err::remove_dir_all(&beside).unwrap();
}

/// The large file was not read.
async fn assert_reused(app: &App, uuid: &str, from: &str) {
    let attributes = shown(app, uuid).await;
    assert_eq!(attributes["reused_from"], from, "{attributes}");
    assert!(
        number(&attributes, "reused_bytes") > LARGE_BYTES,
        "{attributes}"
    );
    assert!(number(&attributes, "read_bytes") < 500_000, "{attributes}");
}

/// Everything was read.
async fn assert_full(app: &App, uuid: &str) {
    let attributes = shown(app, uuid).await;
    assert_eq!(attributes["reused_from"], Value::Null, "{attributes}");
    assert!(
        number(&attributes, "read_bytes") > LARGE_BYTES,
        "{attributes}"
    );
}

/// The notes of a backup, without that about the link that leads out of the server.
async fn notes(app: &App, uuid: &str) -> Vec<String> {
    let attributes = shown(app, uuid).await;
    let first = attributes["notes"]["first"].as_array().unwrap();
    let notes = first.iter().map(|note| note.as_str().unwrap().to_owned());
    notes
        .filter(|note| !note.starts_with("dangling: "))
        .collect()
}

/// A bucket of s3s-fs behind a proxy.
struct ProxiedBucket {
    server: S3Server,
    proxy: Proxy,
    bucket: Bucket,
    /// The disk, past the service and the proxy.
    disk: Disk,
}

impl ProxiedBucket {
    async fn start() -> Self {
        let server = S3Server::start().await;
        let proxy = open_proxy(&server).await;
        let past = Bucket::at(server.endpoint());
        Self {
            bucket: past.through(&proxy),
            disk: past.disk(),
            server,
            proxy,
        }
    }

    /// Counts the bytes of all objects that are sent from now on.
    fn count_sent(&self) -> Arc<AtomicU64> {
        let sent = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&sent);
        self.proxy.plan(move |_, head| {
            let lines = head.to_lowercase();
            let mut lines = lines.lines();
            let length = lines.find_map(|line| line.strip_prefix("content-length: "));
            if head.starts_with("PUT") {
                let length = length.map_or(0, |length| length.trim().parse().unwrap());
                counted.fetch_add(length, Ordering::SeqCst);
            }
            Fault::None
        });
        sent
    }
}

fn is_copy(head: &str) -> bool {
    head.to_lowercase().contains("\r\nx-amz-copy-source: ")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_copies_what_has_not_changed() {
    let at = ProxiedBucket::start().await;
    let Some((app, first)) = with_first_backup(&at.bucket.settings()).await else {
        return;
    };
    let mut previous = first;
    for round in 0..2 {
        change(&app, round);
        let sent = at.count_sent();
        let next = app.backup().await;
        assert_reused(&app, &next, &previous).await;
        assert_whole(&app, &at.disk, &next).await;
        // The rest of the front is about a megabyte, and the other files are 400 KB.
        let sent = sent.load(Ordering::SeqCst);
        assert!(sent < 2_000_000, "{sent}");
        assert_eq!(notes(&app, &next).await, [""; 0]);
        previous = next;
    }
    assert_eq!(parts(&at.server), 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_outside_copies_what_has_not_changed() {
    let Some(bucket) = Bucket::outside() else {
        return;
    };
    let Some((app, first)) = with_first_backup(&bucket.settings()).await else {
        return;
    };
    change(&app, 1);
    let second = app.backup().await;
    assert_reused(&app, &second, &first).await;
    assert_whole(&app, &bucket.disk(), &second).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_refuses_to_copy_gets_a_full_backup_in_the_same_attempt() {
    for (status, code) in [(501, "NotImplemented"), (403, "AccessDenied")] {
        let at = ProxiedBucket::start().await;
        let Some((app, first)) = with_first_backup(&at.bucket.settings()).await else {
            return;
        };
        at.proxy.plan(move |_, head| match is_copy(head) {
            true => Fault::Answer(status, code),
            false => Fault::None,
        });
        change(&app, 1);
        let second = app.backup().await;
        assert_full(&app, &second).await;
        assert_whole(&app, &at.disk, &second).await;
        assert_eq!(parts(&at.server), 0);
        // The archive is not to blame.
        assert_eq!(notes(&app, &second).await, [""; 0]);
        assert_eq!(shown(&app, &first).await["verification"], Value::Null);

        // The next one does not ask again. It reads the archive, and sends what it takes over.
        at.proxy.plan(|_, head| {
            assert!(!is_copy(head), "{head}");
            Fault::None
        });
        change(&app, 2);
        let third = app.backup().await;
        assert_reused(&app, &third, &second).await;
        assert_whole(&app, &at.disk, &third).await;
        app.stop().await;
    }
}

/// The path of an archive in the server's folder.
fn stored_file(at: &ProxiedBucket, app: &App, uuid: &str) -> PathBuf {
    let name = format!("backups/panel/{}", key(app, uuid).path());
    let path = at.server.folder().join(name);
    assert!(path.exists(), "{}", path.display());
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_vanishes_while_it_is_copied_harms_nothing() {
    let at = ProxiedBucket::start().await;
    let Some((app, first)) = with_first_backup(&at.bucket.settings()).await else {
        return;
    };
    let archive = stored_file(&at, &app, &first);
    at.proxy.plan(move |_, head| {
        if is_copy(head) {
            // Another copy may have removed it.
            let _gone = fs_err::remove_file(&archive);
        }
        Fault::None
    });
    change(&app, 1);
    let second = app.backup().await;
    assert_full(&app, &second).await;
    assert_whole(&app, &at.disk, &second).await;
    let noted = notes(&app, &second).await;
    assert_eq!(noted.len(), 1, "{noted:?}");
    assert!(
        noted[0].contains("everything was archived again"),
        "{noted:?}"
    );
    assert!(noted[0].contains("404, NoSuchKey"), "{noted:?}");
    // Users learn that the first backup is lost.
    eventually("the first is verified", async || {
        let verification = shown(&app, &first).await["verification"].clone();
        (verification["status"] == "failed").then_some(())
    })
    .await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_part_that_is_lost_at_the_end_costs_an_attempt() {
    let at = ProxiedBucket::start().await;
    let Some((app, _)) = with_first_backup(&at.bucket.settings()).await else {
        return;
    };
    let completions = AtomicU64::new(0);
    at.proxy.plan(move |_, head| {
        let is_completion = head.starts_with("POST") && head.contains("uploadId=");
        match is_completion && completions.fetch_add(1, Ordering::SeqCst) == 0 {
            true => Fault::Answer(400, "InvalidPart"),
            false => Fault::None,
        }
    });
    change(&app, 1);
    let second = app.backup().await;
    assert_full(&app, &second).await;
    let failed = "SELECT count(*) FROM jobs WHERE jsonb_array_length(errors) = 1";
    assert_eq!(app.sql().number(failed).await, 1);
    assert_eq!(parts(&at.server), 0);
    at.proxy.plan(|_, _| Fault::None);
    change(&app, 2);
    let third = app.backup().await;
    assert_reused(&app, &third, &second).await;
    assert_whole(&app, &at.disk, &third).await;
    app.stop().await;
}

/// A disk that copies nothing still saves the work of reading and packing.
async fn reuses_without_copies(settings: &[Setting<'_>], disk: &Disk) {
    let Some((app, first)) = with_first_backup(settings).await else {
        return;
    };
    let mut previous = first;
    for round in 0..2 {
        change(&app, round);
        let next = app.backup().await;
        assert_reused(&app, &next, &previous).await;
        assert_whole(&app, disk, &next).await;
        previous = next;
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_folder_reuses_archives() {
    let folder = files::scratch();
    let root = folder.path().join("disk");
    let text = root.to_string_lossy();
    let mut settings = ENCRYPTED_FOLDER.to_vec();
    settings.push(("storage.disks.local.root", &text));
    let disk = Disk::local(DiskName::parse("local").unwrap(), &root).unwrap();
    reuses_without_copies(&settings, &disk.with_encryption(keys())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_bucket_reuses_archives() {
    let server = S3Server::start().await;
    let bucket = Bucket::at(server.endpoint());
    let mut settings = bucket.settings().to_vec();
    settings.push(("storage.disks.offsite.encryption", "age"));
    settings.push(("storage.disks.offsite.age_identity", IDENTITY));
    reuses_without_copies(&settings, &bucket.disk().with_encryption(keys())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_of_google_reuses_archives() {
    let Some(at) = AtGoogle::start().await else {
        return;
    };
    reuses_without_copies(&at.settings(), &at.disk).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_bucket_of_google_reuses_archives() {
    let Some(at) = AtGoogle::start().await else {
        return;
    };
    let mut settings = at.settings();
    settings.push(("storage.disks.offsite.encryption", "age"));
    settings.push(("storage.disks.offsite.age_identity", IDENTITY));
    reuses_without_copies(&settings, &at.disk.clone().with_encryption(keys())).await;
}
