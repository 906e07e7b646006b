//! A network and a server that fail at every point: an upload either completes or leaves nothing
//! visible, and a download brings every byte or says that it can't.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::join_all;
use holdfast_storage::{Disk, Error, StorageKey};

use crate::objects::{
    MOST, archive_key, assert_invisible, collect, key, noise, put, read_all, told,
};
use crate::places::{self, PART_BYTES, name};
use crate::proxy::{Fault, Proxy};
use crate::s3::S3Server;

/// The size of an object of two parts.
const LENGTH: u64 = PART_BYTES + 5;

/// A server, and two disks on its bucket: one behind a network that fails, and one that sees it as it is.
struct Broken {
    server: S3Server,
    proxy: Proxy,
    behind: Disk,
    direct: Disk,
}

impl Broken {
    async fn start(tag: &str, plan: impl Fn(u64, &str) -> Fault + Send + Sync + 'static) -> Self {
        let server = S3Server::start().await;
        let proxy = Proxy::start(server.address, plan).await;
        // Each of its own name, since a name has its own ration of tries.
        let behind = Disk::s3(name(tag), places::options(&proxy.endpoint()));
        let direct = Disk::s3(name("direct"), places::options(&server.endpoint()));
        Self {
            server,
            proxy,
            behind,
            direct,
        }
    }

    /// Uploads an object that has parts, and one that has none, and looks at what is there then.
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

    /// The parts that the server still keeps.
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

/// Begin, two parts, the look whether the key is taken, and then: visible.
const VISIBLE: u64 = 5;
/// The requests that the two uploads take, the looks afterwards among them: every one is hit.
const REQUESTS: u64 = 9;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_9_whatever_fails_once_is_tried_again_with_the_same_bytes() {
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
            let broken = Broken::start(&format!("once-{at}"), plan).await;
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
async fn row_10_what_fails_for_good_leaves_nothing_visible_and_no_parts() {
    for fault in [Fault::Busy, Fault::CutRequest(0), Fault::CutAnswer(0)] {
        let tries = (1..=REQUESTS).map(async |at| {
            let plan = move |number, _: &str| if number >= at { fault } else { Fault::None };
            let broken = Broken::start(&format!("always-{at}"), plan).await;
            let mut upload = broken.behind.begin(key(1), MOST).await.unwrap();
            let end = async {
                upload
                    .write(noise(usize::try_from(LENGTH).unwrap()))
                    .await?;
                upload.finish().await
            };
            let ended = end.await;
            if let Err(error) = &ended {
                assert!(error.may_pass(), "{error}");
            }
            // From the request on that makes it visible, a lost server leaves open what was done:
            // what is there is whole then. Before that, nothing is.
            let may_be_there = ended.is_ok() || at >= VISIBLE;
            match broken.direct.size(key(1)).await {
                Ok(size) => {
                    assert!(may_be_there, "{fault:?} at {at}");
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_refusals_is_outlasted() {
    // Every request is refused twice before it is done.
    let seen = Mutex::new(HashMap::new());
    let broken = Broken::start("storm", move |_, head: &str| {
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
    // The looks before and after are the same request, which is refused twice in all.
    assert!(broken.proxy.requests() >= 2 * REQUESTS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_goes_on_where_it_was_cut() {
    let broken = Broken::start("cuts", |_, _| Fault::None).await;
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
    // A server that never brings a byte of the body is not asked for ever.
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
    assert!(nothing.unwrap_err().may_pass());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_that_will_not_pass_are_told_and_not_repeated() {
    let table = [
        (403, "QuotaExceeded", "is full"),
        (507, "InsufficientStorage", "is full"),
        (507, "XMinioStorageFull", "is full"),
        (
            403,
            "AccessDenied",
            "its credentials may not do this in bucket `backups`",
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
        let broken = Broken::start("refusing", plan).await;
        for end in broken.uploads().await {
            let error = end.unwrap_err();
            let told = told(&error);
            assert!(
                told.contains("disk `refusing`") && told.contains(expected),
                "{told}"
            );
            assert_eq!(matches!(error, Error::Full { .. }), expected == "is full");
            assert!(!error.may_pass(), "{told}");
        }
        let requests = broken.proxy.requests();
        // The clock is the one thing that the client itself tries to mend.
        assert!(
            requests <= 6 || code == "RequestTimeTooSkewed",
            "{code}: {requests}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_lies_in_another_region_is_told_with_that_region() {
    let broken = Broken::start("moved", |_, _| Fault::Moved("eu-central-1")).await;
    let expected =
        "bucket `backups` lies in region `eu-central-1`, not in `us-east-1`: set its region";
    let mut ended: Vec<_> = broken.uploads().await;
    ended.push(broken.behind.check().await);
    for end in ended {
        let error = end.unwrap_err();
        assert!(told(&error).contains(expected), "{}", told(&error));
        assert!(!error.may_pass());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_knows_no_conditions_is_served_without() {
    let plan = |number, first: &str| match number {
        // The first write of each kind, which is conditional.
        2 if first.starts_with("PUT") => Fault::Answer(501, "NotImplemented"),
        _ => Fault::None,
    };
    let broken = Broken::start("old", plan).await;
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
async fn a_server_that_goes_silent_is_given_up() {
    if std::env::var_os("HOLDFAST_TEST_SLOW").is_none() {
        return places::skipped("HOLDFAST_TEST_SLOW is not set; this takes two minutes");
    }
    let broken = Broken::start("silent", |_, _| Fault::Silence).await;
    let begun = std::time::Instant::now();
    let error = broken.behind.size(key(1)).await.unwrap_err();
    assert!(
        error.may_pass() && begun.elapsed() < Duration::from_secs(240),
        "{error}"
    );
}
