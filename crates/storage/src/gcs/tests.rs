//! Tests that need no server.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use reqwest::header::HeaderMap;

use super::session::{format_crc, stored_bytes};
use super::{GcsOptions, ServiceAccount};

/// The key of an account that does not exist, generated for these tests.
pub(super) const KEY_FILE: &str = include_str!("tests/key.json");
/// The URLs that Google's Python client signs with the same key, from `scripts/gcs-signed-urls`.
const URLS: &str = include_str!("tests/urls.txt");

fn account() -> Arc<ServiceAccount> {
    Arc::new(ServiceAccount::parse(KEY_FILE).expect("a key"))
}

fn options(endpoint: Option<&str>, bucket: &str) -> GcsOptions {
    GcsOptions {
        bucket: bucket.to_owned(),
        prefix: String::new(),
        endpoint: endpoint.map(str::to_owned),
        ca_bundle: None,
        account: Some(account()),
        chunk_bytes: GcsOptions::CHUNK_BYTES,
    }
}

#[test]
fn presigned_urls_equal_those_of_googles_python_client() {
    let now: DateTime<Utc> = "2026-11-22T23:59:58Z".parse().expect("a time");
    let ours = [
        options(None, "holdfast-backups").presign(
            "panel one/d3aac109/a4962fe6.2.tar.gz",
            "world 1.tar.gz",
            now,
            Duration::from_secs(3600),
        ),
        options(Some("http://127.0.0.1:4443"), "b_1.example.com").presign(
            "ü+~/(x)/a4962fe6.tar.gz",
            "a4962fe6.tar.gz",
            now,
            Duration::from_secs(30 * 24 * 3600),
        ),
    ];
    let theirs: Vec<&str> = URLS.lines().collect();
    assert_eq!(theirs.len(), ours.len());
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_eq!(ours.as_deref().expect("a URL"), theirs);
    }
}

#[test]
fn urls_without_an_account_are_not_signed() {
    let mut options = options(Some("http://127.0.0.1:1"), "b");
    options.account = None;
    let url = options.presign("o", "f", Utc::now(), Duration::from_secs(1));
    assert_eq!(
        url.expect("a URL"),
        "http://127.0.0.1:1/b/o?response-content-disposition=attachment%3B%20filename%3D%22f%22\
         &response-content-type=application%2Fgzip"
    );
}

#[test]
fn a_jwt_has_the_account_the_scope_and_the_lifetime() {
    let now: DateTime<Utc> = "2026-11-22T23:59:58Z".parse().expect("a time");
    let assertion = account().assertion(now).expect("an assertion");
    let parts: Vec<&str> = assertion.split('.').collect();
    let read = |part: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(part).expect("base64");
        serde_json::from_slice::<serde_json::Value>(&bytes).expect("JSON")
    };
    assert_eq!(parts.len(), 3);
    let header =
        serde_json::json!({ "alg": "RS256", "typ": "JWT", "kid": "throwaway-key-for-tests-only" });
    assert_eq!(read(parts[0]), header);
    let claims = read(parts[1]);
    assert_eq!(claims["iss"], account().email());
    assert_eq!(claims["aud"], "https://oauth2.googleapis.com/token");
    assert_eq!(claims["iat"], now.timestamp());
    assert_eq!(claims["exp"], now.timestamp() + 3600);
    assert_eq!(
        claims["scope"],
        "https://www.googleapis.com/auth/devstorage.read_write"
    );
}

#[test]
fn a_crc_is_formatted_as_google_formats_it() {
    // The value of fake-gcs-server and gcp-storage-emulator for "hello".
    assert_eq!(format_crc(crc32c::crc32c(b"hello")), "mnG7TA==");
    assert_eq!(format_crc(0), "AAAAAA==");
}

#[test]
fn the_stored_bytes_are_parsed_from_the_range_header() {
    for (range, expected) in [
        (None, 0),
        (Some("bytes=0-262143"), 262_144),
        (Some("0-524287"), 524_288),
        (Some("bytes=0-18446744073709551615"), u64::MAX),
        (Some("nonsense"), 0),
    ] {
        let mut headers = HeaderMap::new();
        if let Some(range) = range {
            headers.insert("range", range.parse().expect("a header"));
        }
        assert_eq!(stored_bytes(&headers), expected, "{range:?}");
    }
}

#[test]
fn chunks_are_multiples_of_the_unit() {
    let mut options = options(None, "b");
    for (given, expected) in [(0, 256), (1, 256), (256 << 10, 256), (8 << 20, 8192)] {
        options.chunk_bytes = given;
        assert_eq!(options.chunk_bytes(), expected << 10);
    }
}
