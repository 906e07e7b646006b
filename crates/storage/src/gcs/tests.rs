//! What can be tried without a server.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use reqwest::header::HeaderMap;

use super::session::{checksum, kept_bytes};
use super::{GcsOptions, ServiceAccount};

/// The key of an account that does not exist, made for these tests alone.
pub(super) const KEY_FILE: &str = include_str!("tests/key.json");
/// What Google's client for Python signs with the same key: `scripts/gcs-signed-urls` wrote it.
const URLS: &str = include_str!("tests/urls.txt");

fn account() -> Arc<ServiceAccount> {
    Arc::new(ServiceAccount::parse(KEY_FILE).expect("a key"))
}

fn options(endpoint: Option<&str>, bucket: &str) -> GcsOptions {
    GcsOptions {
        bucket: bucket.to_owned(),
        prefix: String::new(),
        endpoint: endpoint.map(str::to_owned),
        authorities: None,
        account: Some(account()),
        chunk_bytes: GcsOptions::CHUNK_BYTES,
    }
}

#[test]
fn links_are_byte_for_byte_those_of_googles_own_client() {
    let now: DateTime<Utc> = "2026-11-22T23:59:58Z".parse().expect("a time");
    let ours = [
        options(None, "holdfast-backups").link(
            "panel one/d3aac109/a4962fe6.2.tar.gz",
            "world 1.tar.gz",
            now,
            Duration::from_secs(3600),
        ),
        options(Some("http://127.0.0.1:4443"), "b_1.example.com").link(
            "ü+~/(x)/a4962fe6.tar.gz",
            "a4962fe6.tar.gz",
            now,
            Duration::from_secs(30 * 24 * 3600),
        ),
    ];
    let theirs: Vec<&str> = URLS.lines().collect();
    assert_eq!(theirs.len(), ours.len());
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_eq!(ours.as_deref().expect("a link"), theirs);
    }
}

#[test]
fn without_an_account_links_are_not_signed() {
    let mut options = options(Some("http://127.0.0.1:1"), "b");
    options.account = None;
    let link = options.link("o", "f", Utc::now(), Duration::from_secs(1));
    assert_eq!(
        link.expect("a link"),
        "http://127.0.0.1:1/b/o?response-content-disposition=attachment%3B%20filename%3D%22f%22\
         &response-content-type=application%2Fgzip"
    );
}

#[test]
fn an_assertion_says_who_asks_for_what_and_for_how_long() {
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
fn checksums_are_written_as_google_writes_them() {
    // Of "hello", as fake-gcs-server and gcp-storage-emulator tell it.
    assert_eq!(checksum(crc32c::crc32c(b"hello")), "mnG7TA==");
    assert_eq!(checksum(0), "AAAAAA==");
}

#[test]
fn how_far_a_server_is_is_read_from_its_range() {
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
        assert_eq!(kept_bytes(&headers), expected, "{range:?}");
    }
}

#[test]
fn chunks_are_whole_units() {
    let mut options = options(None, "b");
    for (given, expected) in [(0, 256), (1, 256), (256 << 10, 256), (8 << 20, 8192)] {
        options.chunk_bytes = given;
        assert_eq!(options.chunk_bytes(), expected << 10);
    }
}
