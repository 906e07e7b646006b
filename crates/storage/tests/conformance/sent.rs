//! Headers that an S3 server receives: server-side encryption and checksums.

use std::sync::{Arc, Mutex};

use holdfast_storage::{Disk, S3Options, ServerSideEncryption};

use crate::objects::{key, noise, put};
use crate::places::{self, PART_BYTES, name};
use crate::proxy::{Fault, Proxy};
use crate::s3::S3Server;

/// Returns the heads of the requests of an upload, in lower case.
async fn heads(change: impl Fn(&mut S3Options), length: usize) -> Vec<String> {
    let server = S3Server::start().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let recorded = Arc::clone(&seen);
    let proxy = Proxy::start(server.address, move |_, head| {
        recorded.lock().unwrap().push(head.to_lowercase());
        Fault::None
    })
    .await;
    let mut options = places::options(&proxy.endpoint());
    change(&mut options);
    let disk = Disk::s3(name("offsite"), options);
    // Ignore the result: the server may not support encryption.
    let _ended = put(&disk, key(1), &noise(length)).await;
    drop(proxy);
    let heads = seen.lock().unwrap();
    heads.clone()
}

const SMALL: usize = 3;

fn large() -> usize {
    usize::try_from(PART_BYTES).unwrap() + 1
}

/// Returns the head of the request with this method and part of a URL.
fn find_head<'a>(heads: &'a [String], method: &str, part: &str) -> &'a str {
    let found = heads.iter().find(|head| {
        let first = head.lines().next().unwrap();
        first.starts_with(method) && first.contains(part)
    });
    found.unwrap_or_else(|| panic!("no {method} with {part}: {heads:#?}"))
}

#[tokio::test]
async fn uploads_have_the_headers_of_server_side_encryption() {
    let kms = |key_id: Option<&str>| ServerSideEncryption::Kms {
        key_id: key_id.map(str::to_owned),
    };
    let (with, id) = (
        "x-amz-server-side-encryption: ",
        "x-amz-server-side-encryption-aws-kms-key-id: ",
    );
    let table = [
        (ServerSideEncryption::Bucket, None, None),
        (ServerSideEncryption::Aes256, Some("aes256"), None),
        (kms(None), Some("aws:kms"), None),
        (
            kms(Some("alias/holdfast")),
            Some("aws:kms"),
            Some("alias/holdfast"),
        ),
    ];
    for (encryption, expected, expected_id) in table {
        for (length, method, part) in [(SMALL, "put", ""), (large(), "post", "?uploads")] {
            let heads = heads(|options| options.encryption = encryption.clone(), length).await;
            let head = find_head(&heads, method, part);
            let find = |name: &str| {
                let found = head.lines().find_map(|line| line.strip_prefix(name));
                found.map(str::trim)
            };
            assert_eq!(find(with), expected, "{head}");
            assert_eq!(find(id), expected_id, "{head}");
        }
    }
}

#[tokio::test]
async fn uploads_have_checksums_unless_they_are_turned_off() {
    for (length, method, part) in [(SMALL, "put", ""), (large(), "put", "partnumber=1")] {
        for has_checksums in [true, false] {
            let heads = heads(|options| options.has_checksums = has_checksums, length).await;
            let head = find_head(&heads, method, part);
            assert_eq!(
                head.contains("\nx-amz-checksum-crc32: "),
                has_checksums,
                "{head}"
            );
            // The signature covers the SHA-256 of the whole body.
            let hash = head
                .lines()
                .find_map(|line| line.strip_prefix("x-amz-content-sha256: "));
            assert_eq!(hash.map(|hash| hash.trim().len()), Some(64), "{head}");
            let all = heads.join("\n");
            assert!(
                !all.contains("aws-chunked") && !all.contains("x-amz-trailer"),
                "{all}"
            );
            if !has_checksums {
                assert!(
                    !all.contains("x-amz-checksum") && !all.contains("x-amz-sdk-checksum"),
                    "{all}"
                );
            }
        }
    }
}
