//! A folder of a disk that is not mounted when a process starts is not treated as an empty disk.

use rustix::process::Signal;
use serde_json::json;

use crate::support::app::{App, variable};
use crate::support::process::{Process, holdfast, run};
use crate::support::{eventually, files};

#[tokio::test(flavor = "multi_thread")]
async fn an_unmounted_disk_is_reported_and_waited_for_and_not_created_again() {
    let mut app = App::start().await;
    files::make_server(&app.directory);
    let kept = app.backup().await;
    app.stop_workers().await;
    let away = app.beside("away");
    fs_err::rename(&app.disk, &away).unwrap();
    // The mount point.
    fs_err::create_dir(&app.disk).unwrap();
    let url = app.sql().url();
    let data = app.disk.parent().unwrap();
    let mut command = holdfast(&[("database.url", &url)]);
    let mut worker = Process::start(command.args(["worker", "--data"]).arg(data), data);
    eventually("an operator is told", async || {
        let log = worker.log();
        let told = log.contains("a disk with archives is not available")
            && log.contains("to start with an empty one, write `local` into that file");
        told.then_some(())
    })
    .await;
    let owner = app.as_owner();
    let failed = owner.create(json!({})).await.uuid();
    let backup = app.ended(&failed).await;
    let why = "The storage `local` could not be reached.";
    assert_eq!(
        (&backup["status"], &backup["error"]),
        (&json!("failed"), &json!(why))
    );
    let mut command = holdfast(&[]);
    command.env(variable(&("database.url", "")).0, &url);
    command.args(["admin", "--json", "storage", "sweep", "--data"]);
    let swept = run(command.arg(data));
    assert!(
        swept.stderr.contains("not a disk of Holdfast")
            || swept.stdout.contains("not a disk of Holdfast")
    );
    let missing = "SELECT count(*) FROM backups WHERE missing_since IS NOT NULL";
    assert_eq!(app.sql().number(missing).await, 0);
    assert_eq!(files::files_below(&app.disk), [""; 0], "nothing was made");

    // It is mounted now, and no process needs a restart.
    fs_err::remove_dir(&app.disk).unwrap();
    fs_err::rename(&away, &app.disk).unwrap();
    let uuid = owner.create(json!({})).await.uuid();
    assert_eq!(app.ended(&uuid).await["status"], "completed");
    assert!(app.archive(&kept).exists() && app.archive(&uuid).exists());
    worker.signal(Signal::TERM);
    assert!(worker.ended().await.success(), "{}", worker.log());
    app.stop().await;
}
