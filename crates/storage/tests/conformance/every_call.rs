//! One failure at every request of an object's whole life, on every kind of remote disk: each is passed
//! over by another try, and the life ends as it should.

use std::time::Duration;

use futures_util::future::join_all;
use holdfast_storage::{Disk, GcsOptions, StorageKey};

use crate::objects::{
    archive_key, assert_invisible, backup, collect, key, list, noise, partials, put, read_all,
    server,
};
use crate::places::{self, PART_BYTES, name};
use crate::proxy::{Fault, Proxy};
use crate::s3::S3Server;

/// Everything that a disk is asked.
async fn live(disk: &Disk) {
    let content = noise(usize::try_from(PART_BYTES).unwrap() + 5);
    put(disk, key(1), &content).await.unwrap();
    let index = StorageKey::Index(archive_key(1, 1));
    put(disk, index, &noise(5)).await.unwrap();
    assert_eq!(disk.size(key(1)).await.unwrap(), content.len() as u64);
    assert!(read_all(disk, key(1)).await == content);
    let part = disk.read(key(1), 100..PART_BYTES).await.unwrap();
    let expected = 100..usize::try_from(PART_BYTES).unwrap();
    assert!(collect(part).await.unwrap() == content[expected]);
    disk.check().await.unwrap();
    assert_eq!(list(disk, Some(server(1))).await.len(), 2);
    assert_eq!(partials(disk).await, []);
    disk.delete(index).await.unwrap();
    disk.delete_backup(server(1), backup(1)).await.unwrap();
    assert_invisible(disk, key(1)).await;
}

/// A disk behind a proxy, and what has to live as long as it.
struct Behind {
    proxy: Proxy,
    disk: Disk,
    _server: Option<S3Server>,
}

/// Lives the life through a proxy once for every request that it takes, with a fault at that one.
async fn outlive(proxied: impl AsyncFn(u64, Fault) -> Behind) {
    let behind = proxied(0, Fault::None).await;
    live(&behind.disk).await;
    let requests = behind.proxy.requests();
    assert!(requests >= 15, "{requests}");
    let faults = [
        Fault::Busy,
        Fault::Late(Duration::from_millis(200)),
        Fault::CutRequest(0),
        Fault::CutAnswer(0),
        Fault::CutAnswer(300),
    ];
    for fault in faults {
        let lives = (1..=requests).map(async |at| {
            let behind = proxied(at, fault).await;
            live(&behind.disk).await;
            let taken = behind.proxy.requests();
            assert!(taken >= requests, "{fault:?} at {at}: {taken}");
        });
        join_all(lives).await;
    }
}

fn plan(at: u64, fault: Fault) -> impl Fn(u64, &str) -> Fault {
    move |number, _| if number == at { fault } else { Fault::None }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fails_once_at_s3s_is_passed_over() {
    outlive(async |at, fault| {
        let server = S3Server::start().await;
        let proxy = Proxy::start(server.address, plan(at, fault)).await;
        let disk = Disk::s3(
            name(&format!("s3s-{at}")),
            places::options(&proxy.endpoint()),
        );
        Behind {
            proxy,
            disk,
            _server: Some(server),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fails_once_at_google_is_passed_over() {
    let Some(options) = places::gcs_options("ENDPOINT") else {
        return;
    };
    let emulator = options.endpoint.clone().unwrap();
    let emulator = emulator.strip_prefix("http://").unwrap().parse().unwrap();
    outlive(async |at, fault| {
        let proxy = Proxy::start(emulator, plan(at, fault)).await;
        let own = places::gcs_options("ENDPOINT").unwrap();
        let options = GcsOptions {
            endpoint: Some(proxy.endpoint()),
            chunk_bytes: PART_BYTES,
            ..own
        };
        Behind {
            proxy,
            disk: Disk::gcs(name("google"), options).unwrap(),
            _server: None,
        }
    })
    .await;
}
