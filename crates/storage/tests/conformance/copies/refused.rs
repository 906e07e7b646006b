//! Copies that a server refuses, or does wrong. The upload says so while it can begin again in
//! full.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use holdfast_storage::{Disk, Error};

use super::{CopyPlace, LENGTH, PART, SHORT, copy, copy_front, parts, store_old};
use crate::copying_server::Quirk;
use crate::objects::{SIZE_MAX, assert_invisible, error_text, key, noise, put, read_all};
use crate::places::{self, PART_BYTES, Place};
use crate::proxy::Fault;

fn is_copy(head: &str) -> bool {
    head.to_lowercase().contains("\r\nx-amz-copy-source: ")
}

fn is_list_of_parts(head: &str) -> bool {
    head.starts_with("GET") && head.contains("uploadId=")
}

fn is_completion(head: &str) -> bool {
    head.starts_with("POST") && head.contains("uploadId=")
}

/// Copies the front, which must fail. Then uploads the object in full, as callers do. Returns the
/// reason. `is_object_bad` tells whether the object to copy from is the reason.
async fn refused(place: &CopyPlace, old: &Bytes, length: usize, is_object_bad: bool) -> String {
    let error = copy(&place.disk, 2, old, length, &noise(3))
        .await
        .unwrap_err();
    let Error::CopyFailed {
        is_object_bad: is_bad,
        ..
    } = error
    else {
        panic!("{error:?}");
    };
    assert_eq!(is_bad, is_object_bad, "{error:?}");
    assert_eq!(place.parts(), Vec::<PathBuf>::new());
    let text = error_text(&error);
    assert!(text.contains("cannot copy the front of"), "{text}");
    assert!(text.contains(&key(1).to_string()), "{text}");
    place.proxy.plan(|_, _| Fault::None);
    assert_invisible(&place.disk, key(2)).await;
    put(&place.disk, key(2), old).await.unwrap();
    assert!(read_all(&place.disk, key(2)).await == old);
    text
}

async fn copies_front(disk: &Disk) -> bool {
    let upload = disk.begin(key(9), SIZE_MAX).await.unwrap();
    upload.copies_front()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_copy_says_why_and_the_object_is_uploaded_in_full() {
    let table = [
        (501, "NotImplemented", false),
        (405, "MethodNotAllowed", false),
        (403, "AccessDenied", false),
        (400, "InvalidRequest", false),
        (404, "NoSuchKey", true),
        (412, "PreconditionFailed", true),
        // The server begins to answer before it copies.
        (200, "AccessDenied", true),
    ];
    for (status, code, copies_again) in table {
        let place = CopyPlace::start("refusing", Some(Quirk::None), |_| {}).await;
        let old = store_old(&place.disk, SHORT).await;
        place.refuse(is_copy, Fault::Answer(status, code));
        let text = refused(&place, &old, SHORT, [404, 412].contains(&status)).await;
        assert!(text.contains(&format!("{status}, {code}")), "{text}");
        assert_eq!(copies_front(&place.disk).await, copies_again, "{code}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_ignores_the_source_of_a_copy_is_not_asked_again() {
    // It stores an empty part.
    let place = CopyPlace::start("ignoring", None, |_| {}).await;
    let old = store_old(&place.disk, SHORT).await;
    place.refuse(is_copy, Fault::Empty);
    let text = refused(&place, &old, SHORT, false).await;
    assert!(text.contains("did not understand the request"), "{text}");
    assert!(!copies_front(&place.disk).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_reported_as_such() {
    let place = CopyPlace::start("full", Some(Quirk::None), |_| {}).await;
    let old = store_old(&place.disk, SHORT).await;
    place.refuse(is_copy, Fault::Answer(507, "InsufficientStorage"));
    let error = copy(&place.disk, 2, &old, SHORT, &noise(3)).await;
    assert!(matches!(error, Err(Error::Full { .. })), "{error:?}");
    assert_eq!(place.parts(), Vec::<PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_or_shorter_source_is_not_copied() {
    let place = CopyPlace::start("gone", Some(Quirk::None), |_| {}).await;
    let old = noise(LENGTH);
    let text = refused(&place, &old, LENGTH, true).await;
    assert!(text.contains("does not exist"), "{text}");
    place.disk.delete(key(2)).await.unwrap();
    put(&place.disk, key(1), &old.slice(..PART)).await.unwrap();
    let text = refused(&place, &old, LENGTH, true).await;
    assert!(
        text.contains("it has 5242880 bytes, and 15798640"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_is_replaced_or_deleted_meanwhile_is_not_copied() {
    for is_deleted in [true, false] {
        let place = CopyPlace::start("meanwhile", Some(Quirk::None), |_| {}).await;
        let old = store_old(&place.disk, SHORT).await;
        let source = place.server.folder().join("backups/some/folder");
        let source = source.join(key(1).path());
        let folder = place.server.folder().to_owned();
        place.proxy.plan(move |_, head| {
            if is_copy(head) {
                match is_deleted {
                    true => drop(fs_err::remove_file(&source)),
                    // Without what s3s-fs stores about the object, its ETag is another one.
                    false => forget_e_tags(&folder),
                }
            }
            Fault::None
        });
        let text = refused(&place, &old, SHORT, true).await;
        let expected = if is_deleted {
            "404, NoSuchKey"
        } else {
            "412, PreconditionFailed"
        };
        assert!(text.contains(expected), "{text}");
        assert!(copies_front(&place.disk).await);
    }
}

fn forget_e_tags(folder: &Path) {
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().contains(".internal") {
            // Another copy may have removed it.
            let _gone = fs_err::remove_file(path);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_with_other_bytes_is_noticed_by_its_checksum() {
    let place = CopyPlace::start("wrong", Some(Quirk::WrongByte), |_| {}).await;
    let old = store_old(&place.disk, LENGTH).await;
    let text = refused(&place, &old, LENGTH, true).await;
    assert!(text.contains("the copy has the CRC-32"), "{text}");
    assert!(copies_front(&place.disk).await);
    // Only the second part is wrong.
    place.disk.delete(key(2)).await.unwrap();
    assert_eq!(
        copy(&place.disk, 2, &old, PART, &noise(3)).await.unwrap(),
        PART_BYTES
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_front_with_another_checksum_than_expected_is_not_used() {
    for (tag, quirk, length) in [
        ("crc-1", Some(Quirk::None), LENGTH),
        ("crc-2", Some(Quirk::ListedChecksums), 2 * PART),
        // Nothing is copied, so the server's checksums do not matter.
        ("crc-3", None, PART - 1),
    ] {
        let place = CopyPlace::start(tag, quirk, |_| {}).await;
        store_old(&place.disk, LENGTH).await;
        let mut upload = place.disk.begin(key(2), SIZE_MAX).await.unwrap();
        let error = upload
            .copy_front(key(1), length as u64, 7)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::CopyFailed { .. }), "{error:?}");
        let text = error_text(&error);
        assert!(text.ends_with("instead of 00000007"), "{text}");
        // It can't continue as if nothing had happened.
        upload.write(noise(3)).await.unwrap_err();
        upload.finish().await.unwrap_err();
        assert_invisible(&place.disk, key(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_wants_checksums_but_returns_none_is_not_asked_again() {
    let quirk = Some(Quirk::MissingChecksums);
    let place = CopyPlace::start("missing", quirk, |_| {}).await;
    let old = store_old(&place.disk, SHORT).await;
    let text = refused(&place, &old, SHORT, false).await;
    assert!(text.contains("`checksums = false`"), "{text}");
    assert!(!copies_front(&place.disk).await);
    // The advice helps.
    let place = CopyPlace::start("unchecked", quirk, |options| options.has_checksums = false).await;
    let old = store_old(&place.disk, SHORT).await;
    assert_eq!(
        copy(&place.disk, 2, &old, SHORT, &noise(3)).await.unwrap(),
        PART_BYTES
    );
    assert!(copies_front(&place.disk).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copied_part_that_is_lost_is_noticed() {
    for (is_removed, expected) in [
        (true, "part 2 has no bytes instead of 5242880"),
        (false, "part 2 has 5242879 bytes instead of 5242880"),
    ] {
        let place = CopyPlace::start("losing", None, |_| {}).await;
        let old = store_old(&place.disk, LENGTH).await;
        let folder = place.server.folder().to_owned();
        place.proxy.plan(move |_, head| {
            if is_list_of_parts(head) {
                lose(&folder, 2, is_removed);
            }
            Fault::None
        });
        let text = refused(&place, &old, LENGTH, false).await;
        assert!(text.contains(expected), "{text}");
        assert!(copies_front(&place.disk).await);
    }
}

/// Removes a part, or a byte of it.
fn lose(folder: &Path, number: usize, is_removed: bool) {
    let part = &parts(folder)[number - 1];
    if is_removed {
        return fs_err::remove_file(part).unwrap();
    }
    let file = fs_err::OpenOptions::new().write(true).open(part).unwrap();
    file.set_len(PART_BYTES - 1).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copied_part_that_is_lost_at_the_end_leaves_no_object() {
    let place = CopyPlace::start("late", None, |_| {}).await;
    let old = store_old(&place.disk, LENGTH).await;
    let folder = place.server.folder().to_owned();
    place.proxy.plan(move |_, head| {
        if is_completion(head) {
            lose(&folder, 3, false);
        }
        Fault::None
    });
    // The last part may be shorter, so the server completes the upload.
    let error = copy(&place.disk, 2, &old, 3 * PART, &Bytes::new())
        .await
        .unwrap_err();
    assert!(error.is_temporary(), "{error:?}");
    let text = error_text(&error);
    let expected = "0 bytes were sent and 15728640 copied, but 15728639 were stored";
    assert!(text.contains(expected), "{text}");
    assert_invisible(&place.disk, key(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_list_parts_is_not_asked_again() {
    let place = CopyPlace::start("unlisted", None, |_| {}).await;
    let old = store_old(&place.disk, SHORT).await;
    place.refuse(is_list_of_parts, Fault::Answer(501, "NotImplemented"));
    let text = refused(&place, &old, SHORT, false).await;
    assert!(text.contains("501, NotImplemented"), "{text}");
    assert!(!copies_front(&place.disk).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_front_after_other_bytes_is_refused() {
    let place = CopyPlace::start("after", Some(Quirk::None), |_| {}).await;
    let old = store_old(&place.disk, SHORT).await;
    for length in [3, PART + 1] {
        let mut upload = place.disk.begin(key(2), SIZE_MAX).await.unwrap();
        upload.write(noise(length)).await.unwrap();
        let error = copy_front(&mut upload, &old, SHORT).await.unwrap_err();
        assert!(matches!(error, Error::CopyFailed { .. }), "{error:?}");
        upload.abort().await.unwrap();
    }
}

/// Ceph 16 ends when it is asked to copy such an object.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_with_percent_signs_are_not_copied() {
    let place = CopyPlace::start("percent", Some(Quirk::None), |options| {
        options.prefix = "100%/".to_owned();
    })
    .await;
    let old = store_old(&place.disk, SHORT).await;
    assert!(!copies_front(&place.disk).await);
    let before = place.proxy.requests();
    let mut upload = place.disk.begin(key(2), SIZE_MAX).await.unwrap();
    let error = copy_front(&mut upload, &old, SHORT).await.unwrap_err();
    assert!(matches!(error, Error::CopyFailed { .. }), "{error:?}");
    assert_eq!(place.proxy.requests(), before);
}

async fn does_not_copy(place: Option<Place>) {
    let Some(place) = place else { return };
    let content = noise(100_000);
    put(&place.disk, key(1), &content).await.unwrap();
    let mut upload = place.disk.begin(key(2), SIZE_MAX).await.unwrap();
    assert!(!upload.copies_front());
    let error = copy_front(&mut upload, &content, 100).await.unwrap_err();
    assert!(matches!(error, Error::CopyFailed { .. }), "{error:?}");
    assert_eq!(upload.copied_bytes(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folders_encrypted_disks_and_google_copy_nothing() {
    does_not_copy(places::local().await).await;
    does_not_copy(places::encrypted().await).await;
    does_not_copy(places::encrypted_s3s().await).await;
    does_not_copy(places::gcs().await).await;
    does_not_copy(places::encrypted_gcs().await).await;
}
