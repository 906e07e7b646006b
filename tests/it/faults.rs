//! Failures around the service: of its database, its disks and its clock, and requests to stop. In
//! each case jobs wait and continue, and completed work is kept.

mod clocks;
mod database_away;
pub(crate) mod full_disks;
mod hanging_files;
mod held_restore;
mod job_phases;
mod postgres_dies;
mod reuse;

use serde_json::Value;

use crate::support::app::App;
use crate::support::{eventually, files};

/// How fast servers are read if a backup must not end at once: three megabytes take two seconds.
const SLOWLY: (&str, &str) = ("worker.read_limit_bytes_per_second", "1500000");

/// Creates a server's directory with about three megabytes of incompressible files.
fn make_server(app: &App) {
    files::make_server(&app.directory);
    let region = app.directory.join("world/big.mca");
    files::write(&region, &files::noise(3_000_000, 7));
}

/// Waits until bytes of a backup are on the local disk.
async fn under_way(app: &App) {
    eventually("the backup is under way", async || {
        let begun = files::files_below(&app.disk)
            .iter()
            .any(|name| name.ends_with(".partial"));
        begun.then_some(())
    })
    .await;
}

/// Waits until an archive and all that belongs to it are on the local disk, recorded or not.
async fn finished(app: &App) {
    eventually("the archive is finished", async || {
        let files = files::files_below(&app.disk);
        files
            .iter()
            .any(|name| name.ends_with(".json"))
            .then_some(())
    })
    .await;
}

/// Checks that the archive on the local disk is the recorded one, made at the first attempt, and
/// that nothing else is there.
fn assert_kept(app: &App, backup: &Value) {
    assert_eq!(backup["status"], "completed", "{backup}");
    let archive = fs_err::read(app.archive(backup["uuid"].as_str().unwrap())).unwrap();
    assert_eq!(backup["sha256_hash"], files::sha256(&archive));
    assert_eq!(
        files::files_below(&app.disk).len(),
        4,
        "and the disk's mark"
    );
}
