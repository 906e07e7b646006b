//! The disk becomes full while a backup reuses the archive of the one before.

use serde_json::json;

use super::{AHEAD, assert_reused, assert_whole, back_up, change, make_server};
use crate::faults::full_disks::SmallDisk;
use crate::faults::under_way;
use crate::support::app::App;
use crate::support::{eventually, files};

/// When the disk becomes full.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// Before anything is written.
    AtTheStart,
    /// Once the front of the earlier archive is taken over, while new bytes are written.
    InTheMiddle,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_becomes_full_fails_only_the_backup_that_reuses_on_ext4() {
    fill_in_each_moment("ext4", 40).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_becomes_full_fails_only_the_backup_that_reuses_on_xfs() {
    fill_in_each_moment("xfs", 320).await;
}

async fn fill_in_each_moment(kind: &str, megabytes: u64) {
    let folder = files::scratch();
    let Some(disk) = SmallDisk::make(folder.path().join("small"), kind, megabytes) else {
        return;
    };
    let root = disk.path().join("backups");
    let mut app = App::without_worker(&[
        ("storage.disks.local.root", root.to_str().unwrap()),
        ("limits.disk_reserve_bytes", "0"),
    ])
    .await;
    app.disk = root;
    make_server(&app.directory);
    app.add_worker_with(&[], |options| options.scans_ahead = AHEAD);
    let mut previous = back_up(&app).await;
    let mut tree = files::tree(&app.directory);
    for (seed, moment) in (1..).zip([Moment::AtTheStart, Moment::InTheMiddle]) {
        let kept = files::files_below(&app.disk);
        change(&app.directory, seed);
        app.stop_workers().await;
        let uuid = app.as_owner().create(json!({})).await.uuid();
        let slowly = ("worker.read_limit_bytes_per_second", "400000");
        let ahead = |options: &mut holdfast_worker::WorkerOptions| options.scans_ahead = AHEAD;
        match moment {
            Moment::AtTheStart => {
                disk.fill();
                app.add_worker_with(&[], ahead);
            }
            Moment::InTheMiddle => {
                app.add_worker_with(&[slowly], ahead);
                under_way(&app).await;
                disk.fill();
            }
        }
        let failed = app.ended(&uuid).await;
        let full = "The storage `local` has no space left for this backup.";
        assert_eq!(
            (&failed["status"], &failed["error"]),
            (&json!("failed"), &json!(full)),
            "{moment:?}: {failed}"
        );
        assert_eq!(files::files_below(&app.disk), kept, "{moment:?}");
        assert_whole(&app, &previous, &tree).await;

        disk.empty();
        app.stop_workers().await;
        app.add_worker_with(&[], ahead);
        let uuid = eventually("the worker has told that there is room", async || {
            let answer = app.as_owner().create(json!({})).await;
            (answer.status == 200).then(|| answer.uuid())
        })
        .await;
        let next = app.ended(&uuid).await;
        assert_reused(&next, &previous);
        tree = files::tree(&app.directory);
        assert_whole(&app, &next, &tree).await;
        previous = next;
    }
    app.stop().await;
}
