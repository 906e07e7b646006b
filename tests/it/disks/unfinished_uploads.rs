//! Tests that need a server that lists unfinished uploads and can be full: wherever an upload ends
//! in the middle, none of it stays for long.

use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;
use serde_json::json;
use uuid::Uuid;

use holdfast_domain::BackupId;
use holdfast_storage::{ArchiveKey, StorageKey};

use super::{Bucket, PART_BYTES, make_server, partials, stored};
use crate::support::process::{Process, holdfast};
use crate::support::proxy::{Fault, Proxy};
use crate::support::{eventually, files, skipped};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_upload_is_swept_and_its_backup_is_made_again() {
    let Some(bucket) = Bucket::outside() else {
        return;
    };
    let disk = bucket.disk();
    let mut app = bucket.service().await;
    make_server(&app);
    // The leftovers of a worker that was killed long ago, in its last attempt.
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
    assert_eq!(partials(&disk).await.len(), 1);

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
        let left = partials(&disk).await;
        let is_new = |key: StorageKey| key.archive().backup.to_string() == uuid;
        (left.len() == 1 && is_new(left[0].key)).then_some(())
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
    assert_eq!(partials(&disk).await.len(), 1, "the kill came too late");

    app.add_worker(&[("worker.lease_seconds", "5")]);
    let backup = app.ended(&uuid).await;
    assert_eq!(backup["status"], "completed", "{backup}");
    assert_eq!(partials(&disk).await, []);
    let left = stored(&disk).await;
    assert_eq!(left.len(), 3, "{left:?}");
    assert!(
        left.iter().all(|key| key.archive().attempt == 2),
        "{left:?}"
    );
    app.stop().await;
}

/// A proxy for the server that passes the first part of an upload and then nothing more.
async fn dies_in_the_middle(bucket: &Bucket) -> Proxy {
    let is_dead = AtomicBool::new(false);
    Proxy::start(bucket.address(), move |_, head| {
        if is_dead.load(Ordering::SeqCst) {
            return Fault::CutRequest(0);
        }
        is_dead.store(head.contains("partNumber=2"), Ordering::SeqCst);
        Fault::None
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_during_an_upload_and_returns_keeps_no_part_of_it() {
    let Some(bucket) = Bucket::outside() else {
        return;
    };
    let proxy = dies_in_the_middle(&bucket).await;
    let mut app = bucket.through(&proxy).service().await;
    make_server(&app);
    app.add_worker(&[]);
    let uuid = app.as_owner().create(json!({})).await.uuid();
    eventually("the backup was tried", async || {
        let tried = "SELECT count(*) FROM jobs WHERE jsonb_array_length(errors) > 0";
        (app.sql().number(tried).await > 0).then_some(())
    })
    .await;
    let disk = bucket.disk();
    assert_eq!(partials(&disk).await.len(), 1);
    proxy.plan(|_, _| Fault::None);
    let backup = app.ended(&uuid).await;
    assert_eq!(backup["status"], "completed", "{backup}");
    assert_eq!(partials(&disk).await, []);
    assert_eq!(stored(&disk).await.len(), 3);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_during_an_upload_is_swept_when_it_returns() {
    let Some(bucket) = Bucket::outside() else {
        return;
    };
    let proxy = dies_in_the_middle(&bucket).await;
    let mut app = bucket.through(&proxy).service().await;
    make_server(&app);
    app.add_worker(&[]);
    let uuid = app.as_owner().create(json!({})).await.uuid();
    let backup = app.ended(&uuid).await;
    assert_eq!(backup["status"], "failed", "{backup}");
    let why = "The storage `offsite` could not be reached.";
    assert_eq!(backup["error"], why);
    let disk = bucket.disk();
    assert_eq!(partials(&disk).await.len(), 1);
    proxy.plan(|_, _| Fault::None);
    // A new leader sweeps at once, and then repeatedly.
    app.stop_workers().await;
    app.add_worker(&[]);
    eventually("the upload is swept", async || {
        partials(&disk).await.is_empty().then_some(())
    })
    .await;
    assert_eq!(stored(&disk).await, []);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_bucket_fails_the_backup_with_a_helpful_message_and_keeps_nothing() {
    let (Some(bucket), Ok(full), Ok(access_key)) = (
        Bucket::outside(),
        std::env::var("HOLDFAST_TEST_S3_FULL_BUCKET"),
        std::env::var("HOLDFAST_TEST_S3_FULL_ACCESS_KEY"),
    ) else {
        return skipped("HOLDFAST_TEST_S3_FULL_BUCKET is not set; scripts/with-ceph sets it");
    };
    let bucket = Bucket {
        name: full,
        access_key,
        ..bucket
    };
    let mut app = bucket.service().await;
    make_server(&app);
    app.add_worker(&[]);
    let uuid = app.as_owner().create(json!({})).await.uuid();
    let backup = app.ended(&uuid).await;
    assert_eq!(backup["status"], "failed", "{backup}");
    let why = "The storage `offsite` has no space left for this backup.";
    assert_eq!(backup["error"], why);
    let disk = bucket.disk();
    // Parts in transit are discarded after the answer.
    eventually("no parts are left", async || {
        partials(&disk).await.is_empty().then_some(())
    })
    .await;
    assert_eq!(stored(&disk).await, []);
    app.stop().await;
}
