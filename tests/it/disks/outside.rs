//! What only a server can show that lists unfinished uploads: a worker that is killed in the middle of
//! one leaves nothing behind for long.

use rustix::process::Signal;
use serde_json::json;
use uuid::Uuid;

use holdfast_domain::BackupId;
use holdfast_storage::{ArchiveKey, StorageKey};

use super::{Bucket, PART_BYTES, make_server, stored};
use crate::support::process::{Process, holdfast};
use crate::support::{eventually, files};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_upload_is_swept_and_its_backup_made_again() {
    let Some(bucket) = Bucket::outside() else {
        return;
    };
    let disk = bucket.disk();
    let mut app = bucket.service().await;
    make_server(&app);
    // What a worker has left that was killed long ago, in the last attempt that there was.
    let key = StorageKey::Archive(ArchiveKey {
        server: app.server.id,
        backup: BackupId(Uuid::new_v4()),
        attempt: 1,
    });
    let (server, backup) = (key.archive().server, key.archive().backup);
    app.sql()
        .query(&format!(
            "INSERT INTO jobs (kind, server_id, backup_id, node, state, attempt, finalized_at)
             VALUES ('create_backup', '{server}', '{backup}', 'local', 'discarded', 1, now())"
        ))
        .await;
    let mut upload = disk.begin(key, 1 << 30).await.unwrap();
    let length = usize::try_from(PART_BYTES).unwrap() + 1;
    upload.write(files::noise(length, 3).into()).await.unwrap();
    std::mem::forget(upload);
    assert_eq!(disk.partials().await.unwrap().len(), 1);

    let data = app.disk.parent().unwrap();
    let mut settings = bucket.settings().to_vec();
    let url = app.sql().url();
    settings.extend([
        ("database.url", url.as_str()),
        ("worker.lease_seconds", "5"),
        ("worker.read_limit_bytes_per_second", "2000000"),
        ("log.filter", "trace"),
    ]);
    let mut command = holdfast(&settings);
    let mut worker = Process::start(command.args(["worker", "--data"]).arg(data), data);
    let uuid = app.as_owner().create(json!({})).await.uuid();
    eventually("only the new upload is there", async || {
        let partials = disk.partials().await.unwrap();
        let is_new = |key: StorageKey| key.archive().backup.to_string() == uuid;
        (partials.len() == 1 && is_new(partials[0].key)).then_some(())
    })
    .await;
    worker.signal(Signal::KILL);
    worker.ended().await;
    let log = worker.log();
    assert!(
        log.contains("CreateMultipartUpload"),
        "it logs all there is"
    );
    assert!(!log.contains(&bucket.secret_key), "the secret is logged");
    assert_eq!(
        disk.partials().await.unwrap().len(),
        1,
        "the kill came too late"
    );

    app.add_worker(&[("worker.lease_seconds", "5")]);
    let backup = app.ended(&uuid).await;
    assert_eq!(backup["status"], "completed", "{backup}");
    assert_eq!(disk.partials().await.unwrap(), []);
    let left = stored(&disk).await;
    assert_eq!(left.len(), 3, "{left:?}");
    assert!(
        left.iter().all(|key| key.archive().attempt == 2),
        "{left:?}"
    );
    app.stop().await;
}
