//! One failure at each request of an object's life cycle, on every kind of remote disk. A retry
//! must hide each of them.

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

/// Runs every operation of a disk.
async fn run_life_cycle(disk: &Disk) {
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

/// A disk behind a proxy, with its server.
struct ProxiedDisk {
    proxy: Proxy,
    disk: Disk,
    _server: Option<S3Server>,
}

/// Runs the life cycle once for each of its requests and each fault, with the fault at that
/// request.
async fn test_each_request(proxied: impl AsyncFn(u64, Fault) -> ProxiedDisk) {
    let behind = proxied(0, Fault::None).await;
    run_life_cycle(&behind.disk).await;
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
        let runs = (1..=requests).map(async |at| {
            let behind = proxied(at, fault).await;
            run_life_cycle(&behind.disk).await;
            let taken = behind.proxy.requests();
            assert!(taken >= requests, "{fault:?} at {at}: {taken}");
        });
        join_all(runs).await;
    }
}

fn fault_at(at: u64, fault: Fault) -> impl Fn(u64, &str) -> Fault {
    move |number, _| if number == at { fault } else { Fault::None }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_failure_at_s3s_is_hidden_by_a_retry() {
    test_each_request(async |at, fault| {
        let server = S3Server::start().await;
        let proxy = Proxy::start(server.address, fault_at(at, fault)).await;
        let disk = Disk::s3(
            name(&format!("s3s-{at}")),
            places::options(&proxy.endpoint()),
        );
        ProxiedDisk {
            proxy,
            disk,
            _server: Some(server),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_failure_at_google_is_hidden_by_a_retry() {
    let Some(options) = places::gcs_options("ENDPOINT") else {
        return;
    };
    let emulator = options.endpoint.clone().unwrap();
    let emulator = emulator.strip_prefix("http://").unwrap().parse().unwrap();
    test_each_request(async |at, fault| {
        let proxy = Proxy::start(emulator, fault_at(at, fault)).await;
        let own = places::gcs_options("ENDPOINT").unwrap();
        let options = GcsOptions {
            endpoint: Some(proxy.endpoint()),
            chunk_bytes: PART_BYTES,
            ..own
        };
        ProxiedDisk {
            proxy,
            disk: Disk::gcs(name("google"), options).unwrap(),
            _server: None,
        }
    })
    .await;
}
