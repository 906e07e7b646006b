//! Reads at any offset, by several threads that block.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use holdfast_storage::{Disk, Encryption, Error, RandomReader};

use crate::objects::{key, noise, put};
use crate::places::{self, Place, name};
use crate::proxy::{Fault, Proxy};
use crate::s3::S3Server;

const SEGMENT: usize = 1 << 20;

/// Returns pseudo-random numbers.
fn numbers(seed: u64) -> impl Iterator<Item = usize> {
    let mut state = seed | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 16).unwrap()
    })
}

fn assert_range(reader: &RandomReader, content: &Bytes, range: Range<usize>) {
    let mut found = vec![0; range.len()];
    reader
        .read_exact_at(&mut found, range.start as u64)
        .unwrap();
    assert!(found == content[range.clone()], "{range:?}");
}

/// Reads from several threads that are not of the runtime.
async fn on_threads(
    reader: &Arc<RandomReader>,
    content: &Bytes,
    count: u64,
    work: impl Fn(u64, &RandomReader, &Bytes) + Send + Sync + 'static,
) {
    let work = Arc::new(work);
    let threads: Vec<_> = (0..count)
        .map(|number| {
            let (reader, content, work) = (Arc::clone(reader), content.clone(), Arc::clone(&work));
            std::thread::spawn(move || work(number, &reader, &content))
        })
        .collect();
    let joined = tokio::task::spawn_blocking(move || {
        for thread in threads {
            thread.join().unwrap();
        }
    });
    joined.await.unwrap();
}

/// Reads the whole content by threads that take the next block, one after the other.
async fn read_in_order(reader: &Arc<RandomReader>, content: &Bytes) {
    let blocks: Vec<_> = {
        let mut start = 0;
        let lengths = numbers(3).map(|number| 300_000 + number % 700_000);
        let blocks = lengths.map_while(|length| {
            let block = start..(start + length).min(content.len());
            start = block.end;
            (!block.is_empty()).then_some(block)
        });
        blocks.collect()
    };
    let next = AtomicUsize::new(0);
    on_threads(reader, content, 4, move |_, reader, content| {
        while let Some(block) = blocks.get(next.fetch_add(1, Ordering::SeqCst)) {
            assert_range(reader, content, block.clone());
        }
    })
    .await;
}

async fn reads_are_exact(place: Option<Place>) {
    let Some(place) = place else { return };
    let disk = &place.disk;
    let missing = disk.random_reader(key(1)).await.unwrap_err();
    assert!(matches!(missing, Error::NotFound { .. }), "{missing:?}");

    let content = noise(6 * SEGMENT + 4_321);
    put(disk, key(1), &content).await.unwrap();
    let reader = Arc::new(disk.random_reader(key(1)).await.unwrap());
    assert_eq!(reader.size(), content.len() as u64);
    on_threads(&reader, &content, 1, |_, reader, content| {
        let end = content.len();
        for range in [
            end - 8..end,
            0..0,
            0..1,
            SEGMENT - 1..SEGMENT + 1,
            SEGMENT..2 * SEGMENT,
            0..end,
            end..end,
        ] {
            assert_range(reader, content, range);
        }
        for (offset, length) in [(end, 1), (end - 5, 6), (usize::MAX, 1), (0, end + 1)] {
            let error = reader.read_exact_at(&mut vec![0; length], offset as u64);
            let kind = error.unwrap_err().kind();
            assert_eq!(kind, std::io::ErrorKind::UnexpectedEof, "{offset} {length}");
        }
    })
    .await;
    read_in_order(&reader, &content).await;
    // More threads than downloads, each at a place of its own.
    on_threads(&reader, &content, 9, |number, reader, content| {
        let mut numbers = numbers(0x9E37_79B9_7F4A_7C15 ^ (number + 1));
        for _ in 0..12 {
            let start = numbers.next().unwrap() % content.len();
            let length = numbers.next().unwrap() % 100_000;
            assert_range(reader, content, start..(start + length).min(content.len()));
        }
    })
    .await;

    put(disk, key(2), &Bytes::new()).await.unwrap();
    let reader = Arc::new(disk.random_reader(key(2)).await.unwrap());
    on_threads(&reader, &Bytes::new(), 1, |_, reader, content| {
        assert_range(reader, content, 0..0);
        reader.read_exact_at(&mut [0], 0).unwrap_err();
    })
    .await;
}

macro_rules! places {
    ($($place:ident)*) => {
        mod reads_are_exact {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $place() {
                    super::reads_are_exact(crate::places::$place().await).await;
                }
            )*
        }
    };
}

places! { local encrypted s3s encrypted_s3s outside gcs encrypted_gcs }

/// A runtime of one thread must not wait for itself.
#[tokio::test]
async fn reads_are_exact_in_a_runtime_of_one_thread() {
    reads_are_exact(places::s3s().await).await;
    reads_are_exact(places::encrypted_s3s().await).await;
}

/// A disk behind a proxy that records the ranges of all downloads.
struct RecordedDisk {
    disk: Disk,
    ranges: Arc<Mutex<Vec<Range<usize>>>>,
    _proxy: Proxy,
    _server: S3Server,
}

async fn recorded(content: &Bytes, keys: Option<Encryption>) -> RecordedDisk {
    let server = S3Server::start().await;
    let ranges: Arc<Mutex<Vec<_>>> = Arc::default();
    let recorded = Arc::clone(&ranges);
    let proxy = Proxy::start(server.address, move |_, head| {
        let range = head.to_lowercase().lines().find_map(|line| {
            let (start, end) = line.strip_prefix("range: bytes=")?.trim().split_once('-')?;
            Some(start.parse().unwrap()..end.parse::<usize>().unwrap() + 1)
        });
        recorded.lock().unwrap().extend(range);
        Fault::None
    })
    .await;
    let mut disk = Disk::s3(name("recorded"), places::options(&proxy.endpoint()));
    if let Some(keys) = keys {
        disk = disk.with_encryption(keys);
    }
    put(&disk, key(1), content).await.unwrap();
    RecordedDisk {
        disk,
        ranges,
        _proxy: proxy,
        _server: server,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_in_order_download_each_byte_once_with_few_requests() {
    let content = noise(40 * SEGMENT + 5);
    let recorded = recorded(&content, None).await;
    let reader = Arc::new(recorded.disk.random_reader(key(1)).await.unwrap());
    read_in_order(&reader, &content).await;
    let mut ranges = recorded.ranges.lock().unwrap().clone();
    ranges.sort_by_key(|range| range.start);
    // 1, 2, 4, 8, 16 and the rest, or a little more if the threads begin out of order.
    assert!(ranges.len() <= 9, "{ranges:?}");
    let bytes: usize = ranges.iter().map(Range::len).sum();
    assert!(bytes <= content.len() + 4 * SEGMENT, "{bytes}: {ranges:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encrypted_object_is_read_in_order_with_few_requests() {
    let keys = Encryption::new(true, &[], Some(&places::identity())).unwrap();
    let content = noise(40 * SEGMENT + 5);
    let recorded = recorded(&content, Some(keys)).await;
    let reader = Arc::new(recorded.disk.random_reader(key(1)).await.unwrap());
    read_in_order(&reader, &content).await;
    // The requests for the header and for the end of the object are open, and cut soon.
    let ranges = recorded.ranges.lock().unwrap().clone();
    assert!(ranges.len() <= 45, "{}", ranges.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_places_are_read_in_turns_without_a_request_for_each() {
    let content = noise(24 * SEGMENT);
    let recorded = recorded(&content, None).await;
    let reader = Arc::new(recorded.disk.random_reader(key(1)).await.unwrap());
    on_threads(&reader, &content, 1, |_, reader, content| {
        const BLOCK: usize = 200_000;
        for start in (0..10 * SEGMENT).step_by(BLOCK) {
            assert_range(reader, content, start..start + BLOCK);
            let other = 12 * SEGMENT + start;
            assert_range(reader, content, other..other + BLOCK);
        }
    })
    .await;
    let ranges = recorded.ranges.lock().unwrap().clone();
    assert!(ranges.len() <= 12, "{ranges:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jump_downloads_little_more_than_what_is_read() {
    let content = noise(64 * SEGMENT);
    let recorded = recorded(&content, None).await;
    let reader = Arc::new(recorded.disk.random_reader(key(1)).await.unwrap());
    on_threads(&reader, &content, 1, |_, reader, content| {
        for index in [50, 7, 30, 60, 20, 40, 1, 12] {
            let start = index * SEGMENT + 1_000;
            assert_range(reader, content, start..start + 50_000);
            // What was just read is still in memory.
            assert_range(reader, content, start + 50_000..start + 90_000);
        }
    })
    .await;
    let ranges = recorded.ranges.lock().unwrap().clone();
    assert_eq!(ranges.len(), 8, "{ranges:?}");
    let bytes: usize = ranges.iter().map(Range::len).sum();
    assert_eq!(bytes, 8 * SEGMENT, "{ranges:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_vanishes_fails_all_reads_with_the_error_of_the_disk() {
    for place in [
        places::s3s().await.unwrap(),
        places::encrypted_s3s().await.unwrap(),
    ] {
        let content = noise(9 * SEGMENT);
        put(&place.disk, key(1), &content).await.unwrap();
        let reader = Arc::new(place.disk.random_reader(key(1)).await.unwrap());
        on_threads(&reader, &content, 1, |_, reader, content| {
            assert_range(reader, content, 0..10);
        })
        .await;
        place.disk.delete(key(1)).await.unwrap();
        on_threads(&reader, &content, 3, |number, reader, _| {
            let offset = (number + 4) * SEGMENT as u64;
            for _ in 0..2 {
                let error = reader.read_exact_at(&mut [0; 10], offset).unwrap_err();
                let source = error
                    .get_ref()
                    .unwrap()
                    .downcast_ref::<Arc<Error>>()
                    .unwrap();
                assert!(matches!(**source, Error::NotFound { .. }), "{source:?}");
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_is_replaced_by_a_longer_one_is_an_error() {
    let place = places::s3s().await.unwrap();
    put(&place.disk, key(1), &noise(5 * SEGMENT)).await.unwrap();
    let reader = Arc::new(place.disk.random_reader(key(1)).await.unwrap());
    place.disk.delete(key(1)).await.unwrap();
    put(&place.disk, key(1), &noise(6 * SEGMENT)).await.unwrap();
    on_threads(&reader, &Bytes::new(), 1, |_, reader, _| {
        let error = reader.read_exact_at(&mut [0; 10], 3).unwrap_err();
        let source = error
            .get_ref()
            .unwrap()
            .downcast_ref::<Arc<Error>>()
            .unwrap();
        assert!(source.is_temporary(), "{source:?}");
    })
    .await;
}

#[test]
fn reads_fail_after_the_end_of_the_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let reader = runtime.block_on(async {
        let disk = Disk::local(name("local"), folder.path()).unwrap();
        put(&disk, key(1), &noise(9 * SEGMENT)).await.unwrap();
        disk.random_reader(key(1)).await.unwrap()
    });
    let mut byte = [0];
    reader.read_exact_at(&mut byte, 0).unwrap();
    drop(runtime);
    for offset in [5 * SEGMENT, 8 * SEGMENT] {
        reader.read_exact_at(&mut byte, offset as u64).unwrap_err();
    }
}
