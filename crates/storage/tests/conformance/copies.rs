//! Uploads that begin with the front of another object, which the server copies.

mod refused;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::future::join_all;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use holdfast_storage::{Disk, Disks, Error, S3Options, Upload};

use crate::copying_server::{self, Quirk};
use crate::objects::{SIZE_MAX, assert_invisible, key, noise, partials, put, read_all};
use crate::places::{self, PART_BYTES, name};
use crate::proxy::{Fault, Proxy};
use crate::s3::S3Server;

const PART: usize = PART_BYTES as usize;
/// The size of objects that are copied from: one or three parts and a bit.
const SHORT: usize = PART + 70_000;
const LENGTH: usize = 3 * PART + 70_000;

/// Uploads the first `length` bytes of object 1, then `rest`, as object `n`.
async fn copy(
    disk: &Disk,
    n: u128,
    old: &Bytes,
    length: usize,
    rest: &Bytes,
) -> Result<u64, Error> {
    let mut upload = disk.begin(key(n), SIZE_MAX).await?;
    assert!(upload.copies_front());
    if let Err(error) = copy_front(&mut upload, old, length).await {
        upload.abort().await?;
        return Err(error);
    }
    for piece in rest.chunks(999_983) {
        upload.write(rest.slice_ref(piece)).await?;
    }
    let copied = upload.copied_bytes();
    upload.finish().await?;
    Ok(copied)
}

async fn copy_front(upload: &mut Upload, old: &Bytes, length: usize) -> Result<(), Error> {
    let crc = crc32fast::hash(&old[..length]);
    upload.copy_front(key(1), length as u64, crc).await
}

async fn store_old(disk: &Disk, length: usize) -> Bytes {
    let old = noise(length);
    put(disk, key(1), &old).await.unwrap();
    old
}

/// Copies fronts of all kinds of lengths, with nothing, little or several parts after them.
async fn assert_copies(disk: &Disk) {
    let old = store_old(disk, LENGTH).await;
    let table = [
        (0, PART + 1),
        (5, 0),
        (PART - 1, 3),
        (PART - 1, PART + 1),
        (PART, 0),
        (PART + 1, 3),
        (3 * PART, 0),
        (LENGTH, PART + 1),
    ];
    for (n, (length, more)) in (2..).zip(table) {
        let rest = noise(more);
        let copied = copy(disk, n, &old, length, &rest).await.unwrap();
        assert_eq!(copied, (length / PART * PART) as u64, "{length} {more}");
        let expected = [&old[..length], &rest].concat();
        assert!(read_all(disk, key(n)).await == expected, "{length} {more}");
    }
    assert_eq!(partials(disk).await, []);
}

/// A server, with a disk behind a proxy in front of it.
struct CopyPlace {
    server: S3Server,
    proxy: Proxy,
    disk: Disk,
}

impl CopyPlace {
    /// The disks have different names, since those with the same name share their retries.
    async fn start(tag: &str, quirk: Option<Quirk>, change: impl Fn(&mut S3Options)) -> Self {
        let server = match quirk {
            None => S3Server::start().await,
            Some(Quirk::None) => S3Server::start_with(copying_server::like_aws).await,
            Some(Quirk::ListedChecksums) => {
                S3Server::start_with(|at| copying_server::service(at, Quirk::ListedChecksums)).await
            }
            Some(Quirk::MissingChecksums) => {
                S3Server::start_with(|at| copying_server::service(at, Quirk::MissingChecksums))
                    .await
            }
            Some(Quirk::WrongByte) => {
                S3Server::start_with(|at| copying_server::service(at, Quirk::WrongByte)).await
            }
        };
        let proxy = Proxy::start(server.address, |_, _| Fault::None).await;
        let mut options = places::options(&proxy.endpoint());
        change(&mut options);
        let disk = Disk::s3(name(tag), options);
        Self {
            server,
            proxy,
            disk,
        }
    }

    /// Returns the parts of unfinished uploads.
    fn parts(&self) -> Vec<PathBuf> {
        parts(self.server.folder())
    }

    /// Gives requests of one kind a fate.
    fn refuse(&self, is_refused: fn(&str) -> bool, fault: Fault) {
        self.proxy.plan(move |_, head| match is_refused(head) {
            true => fault,
            false => Fault::None,
        });
    }
}

fn parts(folder: &Path) -> Vec<PathBuf> {
    let entries = fs_err::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut parts: Vec<_> = paths
        .filter(|path| path.to_string_lossy().contains(".part-"))
        .collect();
    parts.sort();
    parts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3s_copies_fronts_of_any_length() {
    let place = places::s3s().await.unwrap();
    assert_copies(&place.disk).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_external_server_copies_fronts_of_any_length() {
    if let Some(place) = places::outside().await {
        assert_copies(&place.disk).await;
    }
}

/// The server also wants equal parts, the right condition and the checksum of every part.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_like_aws_copies_fronts_of_any_length() {
    for (tag, quirk) in [("aws", Quirk::None), ("listed", Quirk::ListedChecksums)] {
        let place = CopyPlace::start(tag, Some(quirk), |_| {}).await;
        assert_copies(&place.disk).await;
        assert_eq!(place.parts(), Vec::<PathBuf>::new());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_with_special_characters_are_copied() {
    let place = CopyPlace::start("names", Some(Quirk::None), |options| {
        options.prefix = "a folder/ü+&?#=~'(1)/".to_owned();
    })
    .await;
    let old = store_old(&place.disk, SHORT).await;
    let copied = copy(&place.disk, 2, &old, PART, &noise(3)).await;
    assert_eq!(copied.unwrap(), PART_BYTES);
    let Some(mut options) = places::outside_options() else {
        return;
    };
    options.prefix = format!("a folder/{}/ü+&?#=~'(1)/", std::process::id());
    let disk = Disk::s3(name("outside"), options);
    let old = store_old(&disk, SHORT).await;
    let copied = copy(&disk, 2, &old, PART, &noise(3)).await;
    assert_eq!(copied.unwrap(), PART_BYTES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_rest_of_a_front_is_sent() {
    let place = CopyPlace::start("sent", Some(Quirk::None), |_| {}).await;
    let disks = BTreeMap::from([(name("sent"), place.disk.clone())]);
    let disks = Disks::new(disks, name("sent")).unwrap();
    let mut registry = Registry::default();
    disks.register(&mut registry);
    let disk = disks.get(&name("sent")).unwrap();
    let old = store_old(&place.disk, LENGTH).await;
    let sent = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&sent);
    place.proxy.plan(move |_, head| {
        let length = head.to_lowercase().lines().find_map(|line| {
            let length = line.strip_prefix("content-length: ")?;
            Some(length.trim().parse::<u64>().unwrap())
        });
        if head.starts_with("PUT") {
            counted.fetch_add(length.unwrap_or(0), Ordering::SeqCst);
        }
        Fault::None
    });
    let copied = copy(disk, 2, &old, LENGTH, &noise(1_000)).await.unwrap();
    assert_eq!(copied, 3 * PART_BYTES);
    assert_eq!(sent.load(Ordering::SeqCst), 71_000);

    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    for (direction, bytes) in [("copied", 3 * PART), ("written", 71_000), ("read", 70_000)] {
        let line = format!("disk=\"sent\",direction=\"{direction}\"}} {bytes}\n");
        assert!(text.contains(&line), "{line} {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_failure_of_a_copying_upload_is_retried() {
    // The query of the source, the begin, the copy, the list of parts, the download of the rest,
    // its part, and the completion between two queries.
    const REQUESTS: u64 = 9;
    for fault in [Fault::Busy, Fault::CutRequest(0), Fault::CutAnswer(0)] {
        let tries = (1..=REQUESTS).map(async |at| {
            let place = CopyPlace::start(&format!("once-{at}"), None, |_| {}).await;
            let old = store_old(&place.disk, SHORT).await;
            let plan = move |number, _: &str| if number == at { fault } else { Fault::None };
            place.proxy.plan(plan);
            let rest = noise(3);
            let copied = copy(&place.disk, 2, &old, SHORT, &rest).await;
            assert_eq!(copied.unwrap(), PART_BYTES, "{fault:?} at {at}");
            assert!(place.proxy.requests() > REQUESTS, "{fault:?} at {at}");
            let expected = [&old[..], &rest].concat();
            assert!(read_all(&place.disk, key(2)).await == expected);
            assert_eq!(place.parts(), Vec::<PathBuf>::new(), "{fault:?} at {at}");
        });
        join_all(tries).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_upload_leaves_no_copied_parts() {
    let place = CopyPlace::start("dropped", Some(Quirk::None), |_| {}).await;
    let old = store_old(&place.disk, LENGTH).await;
    let mut upload = place.disk.begin(key(2), SIZE_MAX).await.unwrap();
    copy_front(&mut upload, &old, LENGTH).await.unwrap();
    assert_eq!(place.parts().len(), 3);
    drop(upload);
    let begun = std::time::Instant::now();
    while !place.parts().is_empty() {
        assert!(begun.elapsed().as_secs() < 30, "the parts are still there");
        tokio::task::yield_now().await;
    }
    assert_invisible(&place.disk, key(2)).await;
}
