//! Wrong clocks and clocks that jump. Leases depend on the clock of the database, so the clock of a
//! worker does not matter. Needs Debian's `libfaketime`.

use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::json;

use super::{SLOWLY, assert_kept, make_server, under_way};
use crate::support::app::{App, variable};
use crate::support::process::{Process, holdfast};
use crate::support::{files, skipped};

/// The path of the library that fakes the time.
pub(super) fn faketime() -> Option<PathBuf> {
    let folders = fs_err::read_dir("/usr/lib").into_iter().flatten();
    let mut places =
        folders.filter_map(|folder| Some(folder.ok()?.path().join("faketime/libfaketime.so.1")));
    let found = places.find(|path| path.exists());
    if found.is_none() {
        skipped("libfaketime is not installed");
    }
    found
}

/// A worker whose clock shows `clock`, which may change.
fn start_worker(app: &App, library: &Path, clock: &Path) -> Process {
    let url = app.sql().url();
    let mut command = holdfast(&[("worker.lease_seconds", "5"), SLOWLY]);
    command.env(variable(&("database.url", "")).0, url);
    command.env("LD_PRELOAD", library);
    command.env("FAKETIME_TIMESTAMP_FILE", clock);
    // The kernel's monotonic clock does not jump.
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    command.env("FAKETIME_NO_CACHE", "1");
    let data = app.disk.parent().unwrap();
    Process::start(command.args(["worker", "--data"]).arg(data), data)
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_with_wrong_clocks_leave_each_others_jobs_alone() {
    let Some(library) = faketime() else { return };
    let app = App::without_worker(&[]).await;
    make_server(&app);
    let clocks = ["ahead", "behind"].map(|name| app.beside(name));
    let set = |ahead: &str, behind: &str| {
        fs_err::write(&clocks[0], ahead).unwrap();
        fs_err::write(&clocks[1], behind).unwrap();
    };
    set("+3h", "-3h");
    let mut workers = clocks
        .each_ref()
        .map(|clock| start_worker(&app, &library, clock));
    let owner = app.as_owner();
    let uuid = owner.create(json!({})).await.uuid();
    under_way(&app).await;
    set("-2d", "+2d");
    let backup = app.ended(&uuid).await;
    assert_kept(&app, &backup);
    set("+1d", "-1d");
    let before = files::tree(&app.directory);
    fs_err::remove_dir_all(app.directory.join("world")).unwrap();
    assert_eq!(owner.restore(&uuid, json!({})).await.status, 202);
    assert_eq!(app.restored(&uuid).await["status"], "completed");
    assert_eq!(files::tree(&app.directory), before);
    let once =
        "SELECT count(*) FROM jobs WHERE attempt = 1 AND errors = '[]' AND state = 'completed'";
    assert_eq!(app.sql().number(once).await, 2);
    for worker in &mut workers {
        worker.signal(Signal::TERM);
        assert!(worker.ended().await.success(), "{}", worker.log());
    }
    app.stop().await;
}
