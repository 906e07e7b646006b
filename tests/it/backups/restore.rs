//! `POST …/backups/{backup}/restore`.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use reqwest::Method;
use serde_json::json;

use holdfast_domain::{NodeName, ServerState};

use crate::support::app::App;
use crate::support::client::{redact, send};
use crate::support::files;

const BUSY: &str = "ConflictingServerStateException";

/// A service with a server that was backed up and then damaged.
async fn with_damage() -> (App, String) {
    let app = App::start().await;
    files::make_server(&app.directory);
    let uuid = app.backup().await;
    damage(&app.directory);
    (app, uuid)
}

fn damage(directory: &Path) {
    fs_err::remove_dir_all(directory.join("world")).unwrap();
    fs_err::write(directory.join("server.properties"), "motd=Broken\n").unwrap();
    fs_err::write(directory.join("new.txt"), "made later\n").unwrap();
    // A former folder is a file now, and a former file a folder.
    fs_err::remove_dir(directory.join("plugins")).unwrap();
    fs_err::write(directory.join("plugins"), "a file").unwrap();
    fs_err::remove_file(directory.join("empty.txt")).unwrap();
    fs_err::create_dir(directory.join("empty.txt")).unwrap();
}

/// Leftovers of restores beside the server's directory.
fn leftovers(app: &App) -> Vec<String> {
    fs_err::read_dir(app.directory.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(".holdfast"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_brings_back_exactly_the_backed_up_files() {
    let app = App::start().await;
    files::make_server(&app.directory);
    let uuid = app.backup().await;
    let before = files::tree(&app.directory);
    damage(&app.directory);
    // The directory itself belongs to the host, not to the backup.
    files::set_mode(&app.directory, 0o2751);
    let answer = app.as_owner().restore(&uuid, json!({})).await;
    assert_eq!((answer.status, answer.bytes.len()), (202, 0));
    let restore = app.restored(&uuid).await;
    insta::assert_json_snapshot!("completed", redact("", &restore));
    assert_eq!(files::tree(&app.directory), before);
    assert_eq!(files::mode(&app.directory), 0o2751);
    assert_eq!(leftovers(&app), [""; 0]);
    let backup = app.as_owner().show(&uuid).await.attributes();
    assert_eq!(backup["status"], "completed");
    assert_eq!(backup["progress"], serde_json::Value::Null);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_without_truncation_keeps_files_that_the_archive_lacks() {
    for by_query in [false, true] {
        let app = App::start().await;
        files::make_server(&app.directory);
        let uuid = app.backup().await;
        let mut expected = files::tree(&app.directory);
        damage(&app.directory);
        let now = files::tree(&app.directory);
        let kept = Path::new("new.txt");
        expected.insert(kept.to_owned(), now[kept].clone());
        // The archive has a folder of this name, so the file is kept under a new one.
        let displaced =
            now[Path::new("plugins")].replace("as plugins", "as plugins.before-restore");
        expected.insert("plugins.before-restore".into(), displaced);
        let answer = if by_query {
            let path = format!("/{uuid}/restore?truncate=0");
            send(app.as_owner().request(Method::POST, &path)).await
        } else {
            let body = json!({ "truncate": "false" });
            app.as_owner().restore(&uuid, body).await
        };
        assert_eq!(answer.status, 202);
        let restore = app.restored(&uuid).await;
        assert_eq!(restore["status"], "completed");
        assert_eq!(files::tree(&app.directory), expected);
        let note = "plugins.before-restore: this file was `plugins`, and the backup has a folder \
                    of that name";
        assert_eq!(restore["notes"], json!({ "count": 1, "first": [note] }));
        // The list shows them, too.
        let list = app.as_owner().list("").await.json();
        let listed = &list["data"][0]["attributes"]["restore"];
        assert_eq!(listed["notes"], restore["notes"]);
        assert_eq!(leftovers(&app), [""; 0]);
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_directory_is_created_again() {
    let app = App::start().await;
    files::make_server(&app.directory);
    let uuid = app.backup().await;
    let before = files::tree(&app.directory);
    fs_err::remove_dir_all(&app.directory).unwrap();
    assert_eq!(app.as_owner().restore(&uuid, json!({})).await.status, 202);
    assert_eq!(app.restored(&uuid).await["status"], "completed");
    assert_eq!(files::tree(&app.directory), before);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_directory_itself_stays_if_a_setting_says_so_or_a_process_has_it_open() {
    for (swap, stays, stays_open) in [
        ("auto", false, true),
        ("exchange", false, false),
        ("children", true, true),
    ] {
        let app = App::start_with(&[("worker.swap", swap)]).await;
        files::make_server(&app.directory);
        let uuid = app.backup().await;
        let before = files::tree(&app.directory);
        for is_open in [false, true] {
            // This process runs the worker. Its own handles do not count.
            let holder = is_open.then(|| {
                let mut command = std::process::Command::new("sleep");
                command.arg("1000").current_dir(&app.directory);
                Killed(command.spawn().unwrap())
            });
            let inode = fs_err::metadata(&app.directory).unwrap().ino();
            damage(&app.directory);
            assert_eq!(app.as_owner().restore(&uuid, json!({})).await.status, 202);
            assert_eq!(app.restored(&uuid).await["status"], "completed");
            assert_eq!(files::tree(&app.directory), before, "{swap}");
            let same = fs_err::metadata(&app.directory).unwrap().ino() == inode;
            let expected = if is_open { stays_open } else { stays };
            assert_eq!(same, expected, "{swap}, open: {is_open}");
            drop(holder);
        }
        assert_eq!(leftovers(&app), [""; 0]);
        app.stop().await;
    }
}

/// A process that is killed at the end.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_archive_is_detected_and_nothing_is_touched() {
    let (app, uuid) = with_damage().await;
    let before = files::tree(&app.directory);
    let mut archive = fs_err::OpenOptions::new()
        .read(true)
        .write(true)
        .open(app.archive(&uuid))
        .unwrap();
    let middle = archive.metadata().unwrap().len() / 2;
    let mut byte = [0];
    archive.seek(SeekFrom::Start(middle)).unwrap();
    archive.read_exact(&mut byte).unwrap();
    archive.seek(SeekFrom::Start(middle)).unwrap();
    archive.write_all(&[byte[0] ^ 1]).unwrap();
    drop(archive);

    assert_eq!(app.as_owner().restore(&uuid, json!({})).await.status, 202);
    let restore = app.restored(&uuid).await;
    insta::assert_json_snapshot!("damaged", redact("", &restore));
    assert_eq!(files::tree(&app.directory), before);
    assert_eq!(leftovers(&app), [""; 0]);
    // A failed restore does not block the next backup.
    app.backup().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_whole_archive_in_its_place_is_detected() {
    let (app, uuid) = with_damage().await;
    let other = app.backup().await;
    let before = files::tree(&app.directory);
    for suffix in ["tar.gz", "index"] {
        let place = |uuid| {
            let archive = app.archive(uuid);
            archive.with_file_name(format!("{uuid}.{suffix}"))
        };
        fs_err::copy(place(&other), place(&uuid)).unwrap();
    }
    assert_eq!(app.as_owner().restore(&uuid, json!({})).await.status, 202);
    let restore = app.restored(&uuid).await;
    assert_eq!(restore["status"], "failed", "{restore}");
    assert_eq!(files::tree(&app.directory), before);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_is_missing_or_cut_short_fails_the_restore() {
    let (app, uuid) = with_damage().await;
    let before = files::tree(&app.directory);
    let archive = app.archive(&uuid);
    let whole = fs_err::read(&archive).unwrap();
    fs_err::write(&archive, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(app.as_owner().restore(&uuid, json!({})).await.status, 202);
    let restore = app.restored(&uuid).await;
    assert_eq!(restore["status"], "failed");
    let cut = restore["error"].as_str().unwrap();
    assert!(cut.contains("damaged"), "{cut}");
    fs_err::remove_file(&archive).unwrap();
    assert_eq!(app.as_owner().restore(&uuid, json!({})).await.status, 202);
    let restore = app.restored(&uuid).await;
    assert_eq!(restore["error"], "The stored archive is missing.");
    assert_eq!(files::tree(&app.directory), before);
    // The archive is whole again, so the server can be restored.
    fs_err::write(&archive, whole).unwrap();
    assert_eq!(app.as_owner().restore(&uuid, json!({})).await.status, 202);
    assert_eq!(app.restored(&uuid).await["status"], "completed");
    assert!(app.directory.join("world/level.dat").exists());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_completed_backups_can_be_restored() {
    let mut app = App::start().await;
    let failed = app.failed_backup().await;
    app.server.node = NodeName::parse("elsewhere").unwrap();
    app.save_server().await;
    let owner = app.as_owner();
    let creating = owner.create(json!({})).await.uuid();
    let refused = owner.restore(&creating, json!({})).await.refusal();
    let text = "This backup has not completed yet and cannot be restored.";
    assert_eq!(
        refused,
        (400, "BackupNotCompletedException".into(), text.into())
    );
    let refused = owner.restore(&failed, json!({})).await.refusal();
    let text = "This backup failed and cannot be restored.";
    assert_eq!(refused, (400, "BackupFailedException".into(), text.into()));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_the_backup_is_checked_before_that_of_the_server() {
    let mut app = App::start().await;
    let failed = app.failed_backup().await;
    let completed = app.backup().await;
    app.server.state = ServerState::Suspended;
    app.save_server().await;
    let owner = app.as_owner();
    let refused = owner.restore(&failed, json!({})).await.refusal();
    assert_eq!(
        (refused.0, refused.1.as_str()),
        (400, "BackupFailedException")
    );
    let refused = owner.restore(&completed, json!({})).await.refusal();
    assert_eq!((refused.0, refused.1.as_str()), (409, BUSY));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_restored_while_the_server_is_busy() {
    let mut app = App::start().await;
    let uuid = app.backup().await;
    app.server.node = NodeName::parse("elsewhere").unwrap();
    let owner = app.as_owner();
    for (state, text) in [
        (ServerState::Installing, "server is installing"),
        (ServerState::Suspended, "server is suspended"),
        (ServerState::Restoring, "another restore is in progress"),
    ] {
        app.server.state = state;
        app.save_server().await;
        let text = format!("Cannot restore backup while {text}.");
        let refused = owner.restore(&uuid, json!({})).await.refusal();
        assert_eq!(refused, (409, BUSY.into(), text));
    }
    app.server.state = ServerState::Normal;
    app.save_server().await;
    owner.create(json!({})).await.uuid();
    let refused = owner.restore(&uuid, json!({})).await.refusal();
    let text = "Cannot restore backup while another backup is in progress.";
    assert_eq!(refused, (409, BUSY.into(), text.into()));
    app.sql()
        .query("DELETE FROM jobs WHERE state = 'available'")
        .await;
    let both = tokio::join!(
        owner.restore(&uuid, json!({})),
        owner.restore(&uuid, json!({}))
    );
    let (accepted, refused) = match both {
        (one, other) if one.status == 202 => (one, other),
        (one, other) => (other, one),
    };
    assert_eq!(accepted.status, 202);
    let text = "Cannot restore backup while another restore is in progress.";
    assert_eq!(refused.refusal(), (409, BUSY.into(), text.into()));
    app.stop().await;
}
