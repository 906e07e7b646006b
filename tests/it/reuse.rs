//! Backups that reuse the archive of the one before.

use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{App, Setting};
use crate::support::client::{Answer, Client, send};
use crate::support::{eventually, files, skipped};

/// How far the clock of scans is ahead. A file that has changed in the last minute would be read
/// again.
const AHEAD: Duration = Duration::from_secs(300);
/// The size of a file that does not change.
const LARGE_BYTES: u64 = 3_000_000;

/// Starts the service, with a server and its first backup. `None` if this file system does not tell
/// of all changes.
async fn with_first_backup(changed: &[Setting<'_>]) -> Option<(App, String)> {
    let mut app = App::without_worker(changed).await;
    app.add_worker_with(&[], |options| options.scans_ahead = AHEAD);
    files::make_server(&app.directory);
    let large = app.directory.join("world/large.mca");
    files::write(&large, &files::noise(LARGE_BYTES as usize, 5));
    let first = app.backup().await;
    let attributes = shown(&app, &first).await;
    assert_eq!(attributes["reused_from"], Value::Null, "{attributes}");
    assert_eq!(attributes["reused_bytes"], 0);
    assert!(number(&attributes, "read_bytes") > LARGE_BYTES);
    let probe = app.backup().await;
    if number(&shown(&app, &probe).await, "reused_bytes") == 0 {
        skipped("the file system of the temporary folder does not tell of all changes");
        app.stop().await;
        return None;
    }
    assert_eq!(app.as_owner().delete(&probe).await.status, 204);
    let owner = app.as_owner();
    eventually("the probe is deleted", async || {
        (owner.show(&probe).await.status == 404).then_some(())
    })
    .await;
    Some((app, first))
}

async fn verify(client: &Client, backup: &str) -> Answer {
    send(client.request(Method::POST, &format!("/{backup}/verify"))).await
}

async fn shown(app: &App, uuid: &str) -> Value {
    app.as_owner().show(uuid).await.attributes()
}

fn number(attributes: &Value, name: &str) -> u64 {
    let value = attributes[name].as_u64();
    value.unwrap_or_else(|| panic!("{name} in {attributes}"))
}

/// The archive is the stored one, any tar reads it, and it restores to the server's tree.
async fn assert_whole(app: &App, uuid: &str) {
    let attributes = shown(app, uuid).await;
    let archive = app.archive(uuid);
    let hash = files::sha256(&fs_err::read(&archive).unwrap());
    assert_eq!(attributes["checksum"], format!("sha256:{hash}"));
    let beside = app.beside("unpacked");
    fs_err::create_dir(&beside).unwrap();
    let unpacked = Command::new("tar")
        .arg("-xzpf")
        .arg(&archive)
        .arg("-C")
        .arg(&beside)
        .status();
    assert!(unpacked.unwrap().success());
    assert_eq!(files::tree(&beside), files::tree(&app.directory));
    fs_err::remove_dir_all(&beside).unwrap();
}

/// The notes of a backup, without that about the link that leads out of the server.
fn notes(attributes: &Value) -> Vec<&str> {
    let first = attributes["notes"]["first"].as_array().unwrap();
    let notes = first.iter().map(|note| note.as_str().unwrap());
    notes
        .filter(|note| !note.starts_with("dangling: "))
        .collect()
}

/// The unchanged large file was not read.
fn assert_reused(attributes: &Value, from: &str) {
    assert_eq!(attributes["reused_from"], from, "{attributes}");
    assert!(
        number(attributes, "reused_bytes") > LARGE_BYTES,
        "{attributes}"
    );
    assert!(
        number(attributes, "read_bytes") < LARGE_BYTES / 10,
        "{attributes}"
    );
}

/// Everything was read and packed.
fn assert_full(attributes: &Value) {
    assert_eq!(attributes["status"], "completed", "{attributes}");
    assert_eq!(attributes["reused_from"], Value::Null, "{attributes}");
    assert_eq!(attributes["reused_bytes"], 0);
    assert!(
        number(attributes, "read_bytes") > LARGE_BYTES,
        "{attributes}"
    );
}

fn change(app: &App) {
    files::write(&app.directory.join("server.properties"), b"motd=Changed\n");
    files::write(
        &app.directory.join("world/new.dat"),
        &files::noise(40_000, 9),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_backup_reads_what_has_changed() {
    let Some((app, first)) = with_first_backup(&[]).await else {
        return;
    };
    change(&app);
    let second = app.backup().await;
    let attributes = shown(&app, &second).await;
    assert_reused(&attributes, &first);
    let (size, stored) = (
        number(&attributes, "bytes"),
        number(&attributes, "stored_bytes"),
    );
    assert!(stored <= size, "{attributes}");
    assert_whole(&app, &second).await;

    // The first one may go: the second one has all it needs.
    assert_eq!(app.as_owner().delete(&first).await.status, 204);
    let archive = app.archive(&first);
    eventually("the first is gone", async || {
        (!archive.exists()).then_some(())
    })
    .await;
    assert_whole(&app, &second).await;
    let before = files::tree(&app.directory);
    fs_err::remove_dir_all(app.directory.join("world")).unwrap();
    let body = json!({ "truncate": true });
    assert_eq!(app.as_owner().restore(&second, body).await.status, 202);
    assert_eq!(app.restored(&second).await["status"], "completed");
    assert_eq!(files::tree(&app.directory), before);

    // The inodes of restored files are new, so the next backup reads them.
    let third = shown(&app, &app.backup().await).await;
    assert_eq!(third["reused_from"], json!(second), "{third}");
    assert!(number(&third, "read_bytes") > LARGE_BYTES, "{third}");
    assert!(number(&third, "reused_bytes") > LARGE_BYTES, "{third}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_backup_can_be_asked_for() {
    let Some((app, _)) = with_first_backup(&[]).await else {
        return;
    };
    let second = app.as_owner().create(json!({ "full": true })).await.uuid();
    assert_full(&app.ended(&second).await);
    let third = shown(&app, &app.backup().await).await;
    assert_reused(&third, &second);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_turn_reuse_off() {
    let app = App::start_with(&[("backup.reuse", "false")]).await;
    files::make_server(&app.directory);
    for _ in 0..2 {
        let attributes = shown(&app, &app.backup().await).await;
        assert_eq!(attributes["reused_bytes"], 0, "{attributes}");
        assert_eq!(attributes["reused_from"], Value::Null);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_few_backups_all_files_are_read() {
    let Some((app, first)) = with_first_backup(&[("backup.reread_every", "3")]).await else {
        return;
    };
    let mut previous = first;
    for is_reread in [false, false, true, false, false, true] {
        let next = app.backup().await;
        let attributes = shown(&app, &next).await;
        assert_eq!(attributes["reused_from"], json!(previous), "{attributes}");
        let read = number(&attributes, "read_bytes");
        assert_eq!(read > LARGE_BYTES, is_reread, "{attributes}");
        assert!(
            number(&attributes, "reused_bytes") > LARGE_BYTES,
            "{attributes}"
        );
        assert_whole(&app, &next).await;
        previous = next;
    }
    app.stop().await;
}

/// The entries of few small files are packed again, without a read of the files.
#[tokio::test(flavor = "multi_thread")]
async fn all_files_of_a_small_server_are_read_every_few_backups_too() {
    let mut app = App::without_worker(&[("backup.reread_every", "2")]).await;
    app.add_worker_with(&[], |options| options.scans_ahead = AHEAD);
    files::write(&app.directory.join("server.properties"), b"motd=Small\n");
    let mut previous = app.backup().await;
    let probe = app.backup().await;
    if number(&shown(&app, &probe).await, "read_bytes") > 0 {
        skipped("the file system of the temporary folder does not tell of all changes");
        app.stop().await;
        return;
    }
    assert_eq!(shown(&app, &probe).await["reused_from"], json!(previous));
    previous = probe;
    for read in [11, 0, 11, 0] {
        let next = app.backup().await;
        let attributes = shown(&app, &next).await;
        assert_eq!(number(&attributes, "read_bytes"), read, "{attributes}");
        // So small a block is not kept for its contents, so nothing is left if its file was read.
        let from = if read == 0 {
            json!(previous)
        } else {
            Value::Null
        };
        assert_eq!(attributes["reused_from"], from, "{attributes}");
        assert_whole(&app, &next).await;
        previous = next;
    }
    app.stop().await;
}

/// Damages a byte in the middle of the large file, which is the first in the archive.
fn damage(archive: &PathBuf) {
    let file = fs_err::OpenOptions::new()
        .read(true)
        .write(true)
        .open(archive)
        .unwrap();
    let mut byte = [0];
    file.file()
        .read_exact_at(&mut byte, LARGE_BYTES / 2)
        .unwrap();
    file.file()
        .write_all_at(&[byte[0] ^ 0x10], LARGE_BYTES / 2)
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_archive_is_not_reused_and_is_told_of() {
    let Some((app, first)) = with_first_backup(&[]).await else {
        return;
    };
    damage(&app.archive(&first));
    let second = app.backup().await;
    let attributes = shown(&app, &second).await;
    assert_full(&attributes);
    let expected = ".: everything was archived again: the archive is damaged: a block does not \
                    match its index";
    assert_eq!(notes(&attributes), [expected]);
    assert_whole(&app, &second).await;
    let verdict = eventually("the first is verified", async || {
        let verification = shown(&app, &first).await["verification"].clone();
        (verification["status"] == "failed").then_some(verification)
    })
    .await;
    assert_ne!(verdict["finished_at"], Value::Null);
    // The second was complete before that, and may hold the same bytes as far as the service knows.
    let third = app.backup().await;
    let attributes = shown(&app, &third).await;
    assert_full(&attributes);
    assert!(notes(&attributes).is_empty(), "{attributes}");
    let fourth = shown(&app, &app.backup().await).await;
    assert_reused(&fourth, &third);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_bad_verdict_the_next_backup_is_full() {
    let Some((app, first)) = with_first_backup(&[]).await else {
        return;
    };
    let second = app.backup().await;
    assert_reused(&shown(&app, &second).await, &first);
    // Only the earlier one is damaged, and found out.
    damage(&app.archive(&first));
    assert_eq!(verify(&app.as_owner(), &first).await.status, 202);
    eventually("the first is verified", async || {
        let verification = shown(&app, &first).await["verification"].clone();
        (verification["status"] == "failed").then_some(())
    })
    .await;
    let third = app.backup().await;
    let attributes = shown(&app, &third).await;
    assert_full(&attributes);
    assert!(notes(&attributes).is_empty(), "{attributes}");
    assert_reused(&shown(&app, &app.backup().await).await, &third);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_without_its_index_or_without_itself_is_not_reused() {
    let Some((app, first)) = with_first_backup(&[]).await else {
        return;
    };
    let archive = app.archive(&first);
    let index = archive.with_file_name(format!("{first}.index"));
    for lost in [index, archive] {
        assert!(lost.exists(), "{}", lost.display());
        let kept = app.beside("kept");
        fs_err::rename(&lost, &kept).unwrap();
        let uuid = app.as_owner().create(json!({})).await.uuid();
        let attributes = app.ended(&uuid).await;
        assert_full(&attributes);
        fs_err::rename(&kept, &lost).unwrap();
        assert_eq!(app.as_owner().delete(&uuid).await.status, 204);
        let owner = app.as_owner();
        eventually("it is deleted", async || {
            (owner.show(&uuid).await.status == 404).then_some(())
        })
        .await;
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_options_make_a_full_backup_without_a_note() {
    let Some((mut app, _)) = with_first_backup(&[]).await else {
        return;
    };
    app.stop_workers().await;
    app.add_worker_with(&[("worker.compression_level", "5")], |options| {
        options.scans_ahead = AHEAD;
    });
    let second = app.backup().await;
    let attributes = shown(&app, &second).await;
    assert_full(&attributes);
    assert!(notes(&attributes).is_empty(), "{attributes}");
    assert_reused(&shown(&app, &app.backup().await).await, &second);
    app.stop().await;
}
