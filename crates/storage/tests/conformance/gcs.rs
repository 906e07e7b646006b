//! Tests of Google Cloud Storage only: sessions that resume, and presigned URLs.

use std::time::Duration;

use holdfast_storage::{Disk, Error, GcsOptions};

use crate::objects::{assert_invisible, collect, error_text, key, noise, put, read_all};
use crate::places::{gcs_options, name};
use crate::proxy::{Fault, Proxy};

const CHUNK: usize = 256 << 10;

/// Returns a proxy in front of the emulator, a disk behind it, and a disk with direct access.
async fn behind_proxy(
    plan: impl Fn(u64, &str) -> Fault + Send + Sync + 'static,
) -> Option<(Proxy, Disk, Disk)> {
    let options = gcs_options("ENDPOINT")?;
    let direct = Disk::gcs(name("direct"), options.clone()).unwrap();
    let address = options.endpoint.as_deref().unwrap();
    let address = address.strip_prefix("http://").unwrap().parse().unwrap();
    let proxy = Proxy::start(address, plan).await;
    let options = GcsOptions {
        endpoint: Some(proxy.endpoint()),
        ..options
    };
    Some((proxy, Disk::gcs(name("google"), options).unwrap(), direct))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_failure_at_google_is_retried() {
    let faults = [
        Fault::Busy,
        Fault::Late(Duration::from_millis(200)),
        Fault::CutRequest(0),
        Fault::CutRequest(3_000),
        Fault::CutAnswer(0),
        Fault::CutAnswer(20),
    ];
    for fault in faults {
        // The begin, two chunks, the check of the key and the last chunk; then the check and the
        // upload of the small object.
        for at in 1..=7 {
            let plan = move |number, _: &str| if number == at { fault } else { Fault::None };
            let Some((proxy, disk, direct)) = behind_proxy(plan).await else {
                return;
            };
            for (n, length) in [(1, 2 * CHUNK + 5), (2, 5)] {
                let content = noise(length);
                let ended = put(&disk, key(n), &content).await;
                assert!(ended.is_ok(), "{fault:?} at {at}: {ended:?}");
                assert!(read_all(&direct, key(n)).await == content);
            }
            assert!(proxy.requests() >= 7, "{}", proxy.requests());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permanent_failure_at_google_leaves_nothing_visible() {
    for at in [1, 2, 3, 4] {
        let plan = move |number, _: &str| {
            if number >= at {
                Fault::Busy
            } else {
                Fault::None
            }
        };
        let Some((_proxy, disk, direct)) = behind_proxy(plan).await else {
            return;
        };
        let error = put(&disk, key(1), &noise(2 * CHUNK + 5)).await.unwrap_err();
        assert!(error.is_temporary(), "{error}");
        let text = error_text(&error);
        assert!(
            text.contains("disk `google` failed on") && text.contains("503"),
            "{text}"
        );
        assert!(!text.contains("upload_id"), "{text}");
        assert_invisible(&direct, key(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_from_google_resumes_after_a_lost_connection() {
    let Some((proxy, disk, direct)) = behind_proxy(|_, _| Fault::None).await else {
        return;
    };
    let content = noise(3_000_001);
    put(&direct, key(1), &content).await.unwrap();
    proxy.plan(|_, first| match first.contains("alt=media") {
        true => Fault::CutAnswer(700_000),
        false => Fault::None,
    });
    assert!(read_all(&disk, key(1)).await == content);
    let part = disk.read(key(1), 1_000_000..2_500_000).await.unwrap();
    assert!(collect(part).await.unwrap() == content[1_000_000..2_500_000]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn permanent_errors_of_google_give_advice_and_are_not_retried() {
    for (status, expected) in [
        (401, "refused unauthenticated requests"),
        (403, "give the account the role Storage Object Admin"),
        (404, "there is no bucket `holdfast-test`"),
        (400, "check endpoint"),
    ] {
        let Some((proxy, disk, _)) = behind_proxy(move |_, _| Fault::Answer(status, "no")).await
        else {
            return;
        };
        let error = disk.check().await.unwrap_err();
        assert!(
            error_text(&error).contains(expected),
            "{}",
            error_text(&error)
        );
        assert!(!error.is_temporary());
        assert_eq!(proxy.requests(), 1);
    }
    let mut options = gcs_options("ENDPOINT").unwrap();
    options.bucket = "elsewhere".to_owned();
    let disk = Disk::gcs(name("google"), options).unwrap();
    for error in [
        disk.size(key(1)).await.unwrap_err(),
        put(&disk, key(1), &noise(3)).await.unwrap_err(),
        put(&disk, key(1), &noise(CHUNK + 1)).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::Misconfigured { .. }), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_write_at_google_must_not_overwrite() {
    use std::sync::{Arc, Mutex};
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let plan = move |_, first: &str| {
        if first.starts_with("POST") {
            noted.lock().unwrap().push(first.to_owned());
        }
        Fault::None
    };
    let Some((_proxy, disk, _)) = behind_proxy(plan).await else {
        return;
    };
    put(&disk, key(1), &noise(3)).await.unwrap();
    put(&disk, key(2), &noise(CHUNK + 1)).await.unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2);
    for first in &*seen {
        assert!(first.contains("ifGenerationMatch=0"), "{first}");
    }
}

#[tokio::test]
async fn a_presigned_url_of_google_contains_bucket_and_prefix() {
    let Some((_proxy, disk, _)) = behind_proxy(|_, _| Fault::None).await else {
        return;
    };
    put(&disk, key(1), &noise(3)).await.unwrap();
    let url = disk
        .presigned_url(key(1), "world.tar.gz", Duration::from_secs(60))
        .await;
    let url = url.unwrap().unwrap();
    assert!(url.contains("/holdfast-test/test-"), "{url}");
}
