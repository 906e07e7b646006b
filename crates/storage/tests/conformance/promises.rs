//! The guarantees that every disk must give.

use bytes::Bytes;
use futures_util::StreamExt as _;

use holdfast_storage::{Error, StorageKey};

use crate::objects::{
    SIZE_MAX, archive_key, assert_invisible, backup, collect, key, list, noise, partials, put,
    read_all, server,
};
use crate::places::{self, PART_BYTES, Place, skipped};

/// Generates a test of each guarantee for each disk.
macro_rules! promises {
    ($($promise:ident)*) => {
        promises!(@ local $($promise)*);
        promises!(@ s3s $($promise)*);
        promises!(@ encrypted $($promise)*);
        promises!(@ encrypted_s3s $($promise)*);
        promises!(@ outside $($promise)*);
        promises!(@ gcs $($promise)*);
        promises!(@ encrypted_gcs $($promise)*);
        promises!(@ other_gcs $($promise)*);
    };
    (@ $place:ident $($promise:ident)*) => {
        mod $place {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    if let Some(place) = super::places::$place().await {
                        super::$promise(place).await;
                    }
                }
            )*
        }
    };
}

promises! {
    an_object_is_visible_only_after_finish
    an_aborted_or_dropped_upload_leaves_nothing
    partial_uploads_of_killed_processes_are_listed_and_removed
    the_second_of_two_writers_is_refused
    ranges_are_exact_at_their_edges
    deleting_a_backup_deletes_all_attempts_and_is_idempotent
    thousands_of_objects_are_listed
    objects_of_any_size_are_read_unchanged
    keys_of_all_kinds_and_attempts_are_distinct
    the_check_of_a_healthy_disk_succeeds
    a_large_object_is_stored
}

async fn an_object_is_visible_only_after_finish(place: Place) {
    let disk = &place.disk;
    for (n, length) in [(1, 11), (2, usize::try_from(2 * PART_BYTES).unwrap() + 7)] {
        let content = noise(length);
        let mut upload = disk.begin(key(n), SIZE_MAX).await.unwrap();
        for piece in content.chunks(1 << 20) {
            upload.write(content.slice_ref(piece)).await.unwrap();
        }
        assert_invisible(disk, key(n)).await;
        let begun = partials(disk).await;
        // A small object is sent at its end, with one request.
        let expected = usize::from(place.lists_partials && !(place.is_remote && n == 1));
        assert_eq!(begun.len(), expected, "{begun:?}");
        upload.finish().await.unwrap();
        assert_eq!(disk.size(key(n)).await.unwrap(), length as u64);
        assert_eq!(read_all(disk, key(n)).await, content);
        assert!(list(disk, None).await.contains(&key(n)));
        assert_eq!(partials(disk).await, []);
    }
}

async fn an_aborted_or_dropped_upload_leaves_nothing(place: Place) {
    let disk = &place.disk;
    for length in [1, usize::try_from(3 * PART_BYTES).unwrap()] {
        for is_aborted in [true, false] {
            let mut upload = disk.begin(key(1), SIZE_MAX).await.unwrap();
            upload.write(noise(length)).await.unwrap();
            if is_aborted {
                upload.abort().await.unwrap();
            } else {
                drop(upload);
                // On a bucket, the abort runs in the background.
                let begun = std::time::Instant::now();
                while !partials(disk).await.is_empty() {
                    assert!(begun.elapsed().as_secs() < 30, "the upload is still there");
                    tokio::task::yield_now().await;
                }
            }
            assert_invisible(disk, key(1)).await;
            assert_eq!(partials(disk).await, []);
        }
    }
}

async fn partial_uploads_of_killed_processes_are_listed_and_removed(place: Place) {
    let disk = &place.disk;
    let key = StorageKey::Archive(archive_key(1, 2));
    let mut upload = disk.begin(key, SIZE_MAX).await.unwrap();
    let length = usize::try_from(PART_BYTES).unwrap() + 1;
    upload.write(noise(length)).await.unwrap();
    std::mem::forget(upload);
    let left = partials(disk).await;
    if place.lists_partials {
        let keys: Vec<_> = left.iter().map(|partial| partial.key).collect();
        assert_eq!(keys, [key]);
        for _ in 0..2 {
            disk.remove_partial(&left[0]).await.unwrap();
        }
    } else {
        skipped("this server can't list multipart uploads");
    }
    assert_eq!(partials(disk).await, []);
    assert_invisible(disk, key).await;
}

async fn the_second_of_two_writers_is_refused(place: Place) {
    let disk = &place.disk;
    let large = usize::try_from(PART_BYTES).unwrap() + 1;
    for (n, length) in [(1, 1), (2, large)] {
        let content = noise(length);
        put(disk, key(n), &content).await.unwrap();
        for other in [1, large] {
            let refused = put(disk, key(n), &noise(other)).await;
            assert!(matches!(refused, Err(Error::Exists { .. })), "{refused:?}");
        }
        assert_eq!(read_all(disk, key(n)).await, content);
    }
    // Two uploads at the same time. On a folder, the second upload's temporary file is gone.
    if place.is_remote {
        let mut first = disk.begin(key(3), SIZE_MAX).await.unwrap();
        let mut second = disk.begin(key(3), SIZE_MAX).await.unwrap();
        first.write(noise(large)).await.unwrap();
        second.write(noise(large + 1)).await.unwrap();
        first.finish().await.unwrap();
        let refused = second.finish().await;
        assert!(matches!(refused, Err(Error::Exists { .. })), "{refused:?}");
        assert_eq!(disk.size(key(3)).await.unwrap(), large as u64);
    }
    assert_eq!(partials(disk).await, []);
}

async fn ranges_are_exact_at_their_edges(place: Place) {
    let disk = &place.disk;
    let content = noise(1_000_003);
    let length = content.len() as u64;
    put(disk, key(1), &content).await.unwrap();
    put(disk, key(2), &Bytes::new()).await.unwrap();
    for range in [
        0..0,
        0..1,
        0..length,
        0..length + 1,
        0..u64::MAX,
        1..2,
        262_143..262_145,
        length - 1..length,
        length - 1..length + 5,
        length..length,
        length..length + 1,
        length + 10..length + 20,
        u64::MAX - 1..u64::MAX,
    ] {
        let reader = disk.read(key(1), range.clone()).await.unwrap();
        assert_eq!(reader.object_bytes(), length);
        let start = range.start.min(length);
        let expected = start..range.end.min(length).max(start);
        assert_eq!(reader.left_bytes(), expected.end - expected.start);
        let expected =
            usize::try_from(expected.start).unwrap()..usize::try_from(expected.end).unwrap();
        assert!(
            collect(reader).await.unwrap() == content[expected],
            "{range:?}"
        );
        let nothing = disk.read(key(2), range).await.unwrap();
        assert_eq!(collect(nothing).await.unwrap(), Bytes::new());
    }
}

async fn deleting_a_backup_deletes_all_attempts_and_is_idempotent(place: Place) {
    let disk = &place.disk;
    let of_first = [
        key(1),
        StorageKey::Index(archive_key(1, 1)),
        StorageKey::Archive(archive_key(1, 2)),
        StorageKey::Archive(archive_key(1, 10)),
    ];
    for key in of_first.into_iter().chain([key(2)]) {
        put(disk, key, &noise(3)).await.unwrap();
    }
    // Partial uploads of killed attempts are deleted too.
    let mut upload = disk
        .begin(StorageKey::Archive(archive_key(1, 11)), SIZE_MAX)
        .await
        .unwrap();
    let large = usize::try_from(PART_BYTES).unwrap() + 1;
    upload.write(noise(large)).await.unwrap();
    std::mem::forget(upload);
    // A later attempt may be complete by the time an earlier one cleans up.
    disk.delete_attempts(server(1), backup(1), 2).await.unwrap();
    for key in of_first {
        match key.archive().attempt {
            1..=2 => assert_invisible(disk, key).await,
            _ => assert_eq!(disk.size(key).await.unwrap(), 3),
        }
    }
    for _ in 0..2 {
        disk.delete_backup(server(1), backup(1)).await.unwrap();
    }
    for key in of_first {
        assert_invisible(disk, key).await;
    }
    assert_eq!(partials(disk).await, []);
    assert_eq!(disk.size(key(2)).await.unwrap(), 3);
    for _ in 0..2 {
        disk.delete(key(2)).await.unwrap();
    }
    disk.delete_backup(server(1), backup(1)).await.unwrap();
    assert_eq!(list(disk, None).await, []);
}

async fn thousands_of_objects_are_listed(place: Place) {
    let disk = &place.disk;
    let objects: u128 = if place.lists_pages { 1_500 } else { 30 };
    let keys = |n| {
        let mut key = archive_key(n, 1);
        key.server = server(n % 3);
        StorageKey::Archive(key)
    };
    let mut puts = futures_util::stream::iter(0..objects)
        .map(|n| async move { put(disk, keys(n), &Bytes::from_static(b"x")).await })
        .buffer_unordered(16);
    while let Some(done) = puts.next().await {
        done.unwrap();
    }
    let mut found = list(disk, None).await;
    let mut expected: Vec<_> = (0..objects).map(keys).collect();
    found.sort_by_key(StorageKey::path);
    expected.sort_by_key(StorageKey::path);
    assert!(found == expected, "{} listed", found.len());
    let of_one = list(disk, Some(server(1))).await;
    assert_eq!(of_one.len() as u128, objects / 3);
    assert_eq!(list(disk, Some(server(99))).await, []);
}

async fn objects_of_any_size_are_read_unchanged(place: Place) {
    let disk = &place.disk;
    let part = usize::try_from(PART_BYTES).unwrap();
    for (n, length) in (0..).zip([0, 1, part - 1, part, part + 1, 2 * part, 7 * part + 3]) {
        let content = noise(length);
        put(disk, key(n), &content).await.unwrap();
        assert_eq!(disk.size(key(n)).await.unwrap(), length as u64);
        assert!(read_all(disk, key(n)).await == content, "{length}");
    }
}

async fn keys_of_all_kinds_and_attempts_are_distinct(place: Place) {
    let disk = &place.disk;
    let mut keys = Vec::new();
    for attempt in [1, 2, 10] {
        let of = archive_key(1, attempt);
        keys.extend(StorageKey::all(of));
    }
    for (length, key) in keys.iter().enumerate() {
        put(disk, *key, &noise(length)).await.unwrap();
    }
    for (length, key) in keys.iter().enumerate() {
        assert!(read_all(disk, *key).await == noise(length), "{key}");
    }
    assert_eq!(list(disk, None).await.len(), keys.len());
}

async fn the_check_of_a_healthy_disk_succeeds(place: Place) {
    place.disk.check().await.unwrap();
    let free = place.disk.free_bytes().await.unwrap();
    assert_eq!(free.is_none(), place.is_remote);
    let file = place.disk.open(key(1)).await;
    let has_files = !place.is_remote && !place.is_encrypted;
    assert!(matches!(file, Ok(None)) != has_files, "{file:?}");
}

async fn a_large_object_is_stored(place: Place) {
    if !places::is_large_wanted() {
        return skipped("HOLDFAST_TEST_LARGE is not set");
    }
    // Emulators copy the whole object for each chunk.
    let pieces: u64 = if place.is_emulated { 200 } else { 3_000 };
    let disk = &place.disk;
    let piece = noise(1 << 20);
    let mut upload = disk.begin(key(1), pieces << 20).await.unwrap();
    for _ in 0..pieces {
        upload.write(piece.clone()).await.unwrap();
    }
    upload.finish().await.unwrap();
    assert_eq!(disk.size(key(1)).await.unwrap(), pieces << 20);
    let last = disk.read(key(1), (pieces - 1) << 20..u64::MAX).await;
    assert!(collect(last.unwrap()).await.unwrap() == piece);
    disk.delete(key(1)).await.unwrap();
}
