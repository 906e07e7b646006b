//! Failures of the network and of the server at every request. An upload must complete or leave
//! nothing visible. A download must return every byte or an error.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::join_all;

use holdfast_storage::{Disk, Error, StorageKey};

use crate::objects::{
    SIZE_MAX, archive_key, assert_invisible, collect, error_text, key, noise, put, read_all,
};
use crate::places::{self, PART_BYTES, name};
use crate::proxy::{Fault, Proxy};
use crate::s3::S3Server;

/// The size of an object of two parts.
const LENGTH: u64 = PART_BYTES + 5;

/// A server with two disks on its bucket: one behind a failing proxy, and one with direct access.
struct FaultyServer {
    server: S3Server,
    proxy: Proxy,
    behind: Disk,
    direct: Disk,
}

impl FaultyServer {
    async fn start(tag: &str, plan: impl Fn(u64, &str) -> Fault + Send + Sync + 'static) -> Self {
        let server = S3Server::start().await;
        let proxy = Proxy::start(server.address, plan).await;
        // The names differ, since disks with the same name share their retries.
        let behind = Disk::s3(name(tag), places::options(&proxy.endpoint()));
        let direct = Disk::s3(name("direct"), places::options(&server.endpoint()));
        Self {
            server,
            proxy,
            behind,
            direct,
        }
    }

    /// Uploads an object with two parts and a small one, and checks what is visible afterwards.
    async fn uploads(&self) -> Vec<Result<(), Error>> {
        let mut ended = Vec::new();
        for (n, length) in [(1, LENGTH), (2, 5)] {
            let content = noise(usize::try_from(length).unwrap());
            let end = put(&self.behind, key(n), &content).await;
            match &end {
                Ok(()) => assert!(read_all(&self.direct, key(n)).await == content),
                Err(_) => assert_invisible(&self.direct, key(n)).await,
            }
            ended.push(end);
        }
        ended
    }

    /// Counts the parts that the server still stores.
    fn parts_left(&self) -> usize {
        fs_err::read_dir(self.server.folder())
            .unwrap()
            .filter(|entry| {
                let name = entry.as_ref().unwrap().file_name();
                name.to_string_lossy().contains(".part-")
            })
            .count()
    }
}

/// The request that makes the object visible: after the begin, two parts and the check of the key.
const COMPLETION: u64 = 5;
/// The number of requests of the two uploads, including the checks afterwards.
const REQUESTS: u64 = 9;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_9_a_single_failure_is_retried_with_the_same_bytes() {
    let faults = [
        Fault::Busy,
        Fault::Late(Duration::from_millis(300)),
        Fault::CutRequest(0),
        Fault::CutRequest(3_000),
        Fault::CutAnswer(0),
        Fault::CutAnswer(20),
    ];
    for fault in faults {
        let tries = (1..=REQUESTS).map(async |at| {
            let plan = move |number, _: &str| if number == at { fault } else { Fault::None };
            let broken = FaultyServer::start(&format!("once-{at}"), plan).await;
            let ended = broken.uploads().await;
            assert!(
                ended.iter().all(Result::is_ok),
                "{fault:?} at {at}: {ended:?}"
            );
            let requests = broken.proxy.requests();
            assert!(requests >= REQUESTS, "{requests} requests");
            assert_eq!(broken.parts_left(), 0, "{fault:?} at {at}");
        });
        join_all(tries).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_10_a_permanent_failure_leaves_nothing_visible_and_no_parts() {
    for fault in [Fault::Busy, Fault::CutRequest(0), Fault::CutAnswer(0)] {
        let tries = (1..=REQUESTS).map(async |at| {
            let plan = move |number, _: &str| if number >= at { fault } else { Fault::None };
            let broken = FaultyServer::start(&format!("always-{at}"), plan).await;
            let mut upload = broken.behind.begin(key(1), SIZE_MAX).await.unwrap();
            let end = async {
                upload
                    .write(noise(usize::try_from(LENGTH).unwrap()))
                    .await?;
                upload.finish().await
            };
            let ended = end.await;
            if let Err(error) = &ended {
                assert!(error.is_temporary(), "{error}");
            }
            // If the completion request fails, the server may have executed it. Then the object
            // must be complete. Before that request, nothing may be visible.
            let may_be_visible = ended.is_ok() || at >= COMPLETION;
            match broken.direct.size(key(1)).await {
                Ok(size) => {
                    assert!(may_be_visible, "{fault:?} at {at}");
                    assert_eq!(size, LENGTH, "{fault:?} at {at}");
                }
                Err(_) => {
                    assert!(ended.is_err());
                    assert_invisible(&broken.direct, key(1)).await;
                }
            }
        });
        join_all(tries).await;
    }
}

/// The answer to the completion is lost, its retry is refused, and then the server is away. The
/// refusal must not count: a job that fails for good would lose a complete archive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_whose_end_is_unknown_can_be_tried_again() {
    let plan = |number, head: &str| match number {
        COMPLETION => Fault::CutAnswer(0),
        later if later > COMPLETION && head.starts_with("HEAD") => Fault::Busy,
        _ => Fault::None,
    };
    let broken = FaultyServer::start("unknown", plan).await;
    let content = noise(usize::try_from(LENGTH).unwrap());
    let error = put(&broken.behind, key(1), &content).await.unwrap_err();
    assert!(error.is_temporary(), "{error}");
    assert!(read_all(&broken.direct, key(1)).await == content);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_succeed_if_each_request_fails_twice() {
    // Each request is refused twice.
    let seen = Mutex::new(HashMap::new());
    let broken = FaultyServer::start("storm", move |_, head: &str| {
        let mut seen = seen.lock().unwrap();
        let first = head.lines().next().unwrap();
        let tries = seen.entry(first.to_owned()).or_insert(0);
        *tries += 1;
        if *tries <= 2 {
            Fault::Busy
        } else {
            Fault::None
        }
    })
    .await;
    let ended = broken.uploads().await;
    assert!(ended.iter().all(Result::is_ok), "{ended:?}");
    // The checks before and after are the same request, so they are refused twice in total.
    assert!(broken.proxy.requests() >= 2 * REQUESTS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_resumes_after_a_lost_connection() {
    let broken = FaultyServer::start("cuts", |_, _| Fault::None).await;
    let content = noise(3_000_001);
    put(&broken.direct, key(1), &content).await.unwrap();
    broken
        .proxy
        .plan(|_, first| match first.starts_with("GET") {
            true => Fault::CutAnswer(700_000),
            false => Fault::None,
        });
    assert!(read_all(&broken.behind, key(1)).await == content);
    let part = broken
        .behind
        .read(key(1), 1_000_000..2_500_000)
        .await
        .unwrap();
    assert!(collect(part).await.unwrap() == content[1_000_000..2_500_000]);
    // Retries end if the server never sends a byte of the body.
    broken
        .proxy
        .plan(|_, first| match first.starts_with("GET") {
            true => Fault::CutAnswer(450),
            false => Fault::None,
        });
    let nothing = match broken.behind.read(key(1), 0..u64::MAX).await {
        Ok(reader) => collect(reader).await,
        Err(error) => Err(error),
    };
    assert!(nothing.unwrap_err().is_temporary());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn permanent_errors_give_advice_and_are_not_retried() {
    let table = [
        (403, "QuotaExceeded", "is full"),
        (507, "InsufficientStorage", "is full"),
        (507, "XMinioStorageFull", "is full"),
        (
            403,
            "AccessDenied",
            "its credentials do not allow this in bucket `backups`",
        ),
        (
            400,
            "ExpiredToken",
            "the credentials for bucket `backups` have expired",
        ),
        (403, "RequestTimeTooSkewed", "set this machine's clock"),
        (301, "PermanentRedirect", "not served in region `us-east-1`"),
        (400, "AuthorizationHeaderMalformed", "check region"),
        (400, "InvalidArgument", "path_style, sse and checksums"),
    ];
    for (status, code, expected) in table {
        let plan = move |_, first: &str| match first.starts_with("POST") || first.starts_with("PUT")
        {
            true => Fault::Answer(status, code),
            false => Fault::None,
        };
        let broken = FaultyServer::start("refusing", plan).await;
        for end in broken.uploads().await {
            let error = end.unwrap_err();
            let text = error_text(&error);
            assert!(
                text.contains("disk `refusing`") && text.contains(expected),
                "{text}"
            );
            assert_eq!(matches!(error, Error::Full { .. }), expected == "is full");
            assert!(!error.is_temporary(), "{text}");
        }
        let requests = broken.proxy.requests();
        // After a clock error, the client retries with a corrected clock.
        assert!(
            requests <= 6 || code == "RequestTimeTooSkewed",
            "{code}: {requests}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_error_of_a_wrong_region_names_the_right_one() {
    let broken = FaultyServer::start("moved", |_, _| Fault::Moved("eu-central-1")).await;
    let expected =
        "bucket `backups` lies in region `eu-central-1`, not in `us-east-1`: set its region";
    let mut ended: Vec<_> = broken.uploads().await;
    ended.push(broken.behind.check().await);
    for end in ended {
        let error = end.unwrap_err();
        assert!(
            error_text(&error).contains(expected),
            "{}",
            error_text(&error)
        );
        assert!(!error.is_temporary());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_conditional_writes_can_be_used() {
    let plan = |number, first: &str| match number {
        // The first conditional write.
        2 if first.starts_with("PUT") => Fault::Answer(501, "NotImplemented"),
        _ => Fault::None,
    };
    let broken = FaultyServer::start("old", plan).await;
    put(&broken.behind, key(1), &noise(3)).await.unwrap();
    put(
        &broken.behind,
        StorageKey::Index(archive_key(1, 1)),
        &noise(3),
    )
    .await
    .unwrap();
    let refused = put(&broken.behind, key(1), &noise(4)).await;
    assert!(matches!(refused, Err(Error::Exists { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_to_a_silent_server_times_out() {
    if std::env::var_os("HOLDFAST_TEST_SLOW").is_none() {
        return places::skipped("HOLDFAST_TEST_SLOW is not set; this takes two minutes");
    }
    let broken = FaultyServer::start("silent", |_, _| Fault::Silence).await;
    let begun = std::time::Instant::now();
    let error = broken.behind.size(key(1)).await.unwrap_err();
    assert!(
        error.is_temporary() && begun.elapsed() < Duration::from_secs(240),
        "{error}"
    );
}
