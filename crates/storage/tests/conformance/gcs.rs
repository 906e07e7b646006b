//! What only a bucket at Google has to hold: sessions that are taken up where they were cut, and links.

use std::time::Duration;

use holdfast_storage::{Disk, Error, GcsOptions};

use crate::objects::{assert_invisible, collect, key, noise, put, read_all, told};
use crate::places::{gcs_options, name};
use crate::proxy::{Fault, Proxy};

const CHUNK: usize = 256 << 10;

/// A proxy before the emulator, a disk behind it, and one that sees the bucket as it is.
async fn behind(
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
async fn whatever_fails_once_at_google_is_tried_again() {
    let faults = [
        Fault::Busy,
        Fault::Late(Duration::from_millis(200)),
        Fault::CutRequest(0),
        Fault::CutRequest(3_000),
        Fault::CutAnswer(0),
        Fault::CutAnswer(20),
    ];
    for fault in faults {
        // Begin, two chunks, the look, and the end; then the look and the small object.
        for at in 1..=7 {
            let plan = move |number, _: &str| if number == at { fault } else { Fault::None };
            let Some((proxy, disk, direct)) = behind(plan).await else {
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
async fn what_fails_for_good_at_google_leaves_nothing_visible() {
    for at in [1, 2, 3, 4] {
        let plan = move |number, _: &str| {
            if number >= at {
                Fault::Busy
            } else {
                Fault::None
            }
        };
        let Some((_proxy, disk, direct)) = behind(plan).await else {
            return;
        };
        let error = put(&disk, key(1), &noise(2 * CHUNK + 5)).await.unwrap_err();
        assert!(error.may_pass(), "{error}");
        let told = told(&error);
        assert!(
            told.contains("disk `google` failed on") && told.contains("503"),
            "{told}"
        );
        assert!(!told.contains("upload_id"), "{told}");
        assert_invisible(&direct, key(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_from_google_goes_on_where_it_was_cut() {
    let Some((proxy, disk, direct)) = behind(|_, _| Fault::None).await else {
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
async fn refusals_of_google_are_told_and_not_repeated() {
    for (status, expected) in [
        (401, "was not opened to nobody"),
        (403, "give the account the role Storage Object Admin"),
        (404, "there is no bucket `holdfast-test`"),
        (400, "check endpoint"),
    ] {
        let Some((proxy, disk, _)) = behind(move |_, _| Fault::Answer(status, "no")).await else {
            return;
        };
        let error = disk.check().await.unwrap_err();
        assert!(told(&error).contains(expected), "{}", told(&error));
        assert!(!error.may_pass());
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
async fn every_write_at_google_is_told_not_to_overwrite() {
    use std::sync::{Arc, Mutex};
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let plan = move |_, first: &str| {
        if first.starts_with("POST") {
            noted.lock().unwrap().push(first.to_owned());
        }
        Fault::None
    };
    let Some((_proxy, disk, _)) = behind(plan).await else {
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
async fn a_link_to_google_leads_to_the_bytes() {
    let Some((_proxy, disk, _)) = behind(|_, _| Fault::None).await else {
        return;
    };
    put(&disk, key(1), &noise(3)).await.unwrap();
    let url = disk
        .link(key(1), "world.tar.gz", Duration::from_secs(60))
        .await;
    let url = url.unwrap().unwrap();
    assert!(url.contains("/holdfast-test/test-"), "{url}");
}
