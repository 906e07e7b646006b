//! Failures while a backup reuses the archive of the one before: its worker is killed, the other
//! backup is deleted, the disk becomes full. Each time the earlier backups stay as they are, and
//! the next one is right.

mod deletions;
mod full_disks;
mod kills;

use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use crate::support::app::App;
use crate::support::client::send;
use crate::support::files;

/// How far the clock of scans is ahead, since a file that changed in the last minute is read again.
const AHEAD: Duration = Duration::from_secs(120);
/// The sizes of three large files, in the order of the archive: one in front of what changes, one
/// that changes, and one after it, which is taken over from the middle of the earlier archive.
const SIZES: [(&str, usize); 3] = [
    ("world/first.mca", 1_600_000),
    ("world/second.mca", 1_200_000),
    ("world/third.mca", 900_000),
];

/// Creates a server's directory.
fn make_server(root: &Path) {
    files::make_server(root);
    for (number, (name, size)) in (0..).zip(SIZES) {
        files::write(&root.join(name), &files::noise(size, 20 + number));
    }
}

/// Changes the second large file, a small file and the list of files.
fn change(root: &Path, seed: u64) {
    let (name, size) = SIZES[1];
    files::write(&root.join(name), &files::noise(size, 100 + seed));
    let motd = format!("motd={seed}\n");
    files::write(&root.join("server.properties"), motd.as_bytes());
    files::write(
        &root.join(format!("new-{seed}.dat")),
        &files::noise(9_000, seed),
    );
}

/// Checks that an archive has the recorded hash, and that GNU tar reads this tree from it.
async fn assert_whole(app: &App, backup: &Value, tree: &files::Tree) {
    assert_eq!(backup["status"], "completed", "{backup}");
    let uuid = backup["uuid"].as_str().unwrap();
    let owner = app.as_owner();
    let link = owner.download(uuid).await.link();
    let bytes = send(owner.plain(Method::GET, &link)).await.bytes;
    assert_eq!(backup["sha256_hash"], files::sha256(&bytes), "{backup}");
    assert_eq!(backup["bytes"], bytes.len(), "{backup}");
    let folder = files::scratch();
    let archive = folder.path().join("archive.tar.gz");
    fs_err::write(&archive, bytes).unwrap();
    let unpacked = folder.path().join("unpacked");
    files::unpack(&archive, &unpacked);
    assert_eq!(&files::tree(&unpacked), tree, "{backup}");
}

/// Checks that a backup has reused the archive of another one, at least the large files that have
/// not changed.
fn assert_reused(backup: &Value, from: &Value) {
    let unchanged = (SIZES[0].1 + SIZES[2].1) as u64;
    assert_eq!(backup["reused_from"], from["uuid"], "{backup}");
    let reused = backup["reused_bytes"].as_u64();
    assert!(reused > Some(unchanged), "{backup}");
}

/// Waits until a backup has ended, and returns its attributes; it is the next one of the server.
async fn back_up(app: &App) -> Value {
    let uuid = app.backup().await;
    app.as_owner().show(&uuid).await.attributes()
}
