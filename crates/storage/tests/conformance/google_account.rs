//! Service accounts of Google: the exchange of a JWT for a token, and presigned URLs. `google.rs`
//! checks both, since the emulators do not.

use std::time::Duration;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;

use holdfast_storage::{Disk, Error, GcsOptions, ServiceAccount};

use crate::google::Google;
use crate::objects::{
    assert_invisible, backup, error_text, key, list, noise, put, read_all, server,
};
use crate::places::{gcs_options, name};
use crate::proxy::Proxy;

/// Returns a disk with the account of `key_file`, at `endpoint`.
fn disk(key_file: &str, options: GcsOptions, endpoint: String) -> Disk {
    let account = ServiceAccount::parse(key_file).unwrap();
    let options = GcsOptions {
        endpoint: Some(endpoint),
        account: Some(account.into()),
        ..options
    };
    Disk::gcs(name("google"), options).unwrap()
}

/// Returns an authenticating proxy in front of the emulator, and a disk behind it.
async fn behind_gate(google: &Google) -> Option<(Proxy, Disk)> {
    let options = gcs_options("ENDPOINT")?;
    let gate = google.before(options.endpoint.as_deref().unwrap()).await;
    let disk = disk(&google.key_file(), options, gate.endpoint());
    Some((gate, disk))
}

/// Returns a disk without a storage server: all requests fail at the token server.
fn without_bucket(key_file: &str) -> Disk {
    let options = GcsOptions {
        bucket: "backups".to_owned(),
        prefix: String::new(),
        endpoint: None,
        ca_bundle: None,
        account: None,
        chunk_bytes: GcsOptions::CHUNK_BYTES,
    };
    disk(key_file, options, "http://127.0.0.1:9".to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_token_is_used_for_all_requests() {
    let google = Google::start().await;
    let Some((_gate, disk)) = behind_gate(&google).await else {
        return;
    };
    let content = noise(600_000);
    let puts = (1..=8).map(|n| put(&disk, key(n), &content));
    for put in join_all(puts).await {
        put.unwrap();
    }
    disk.check().await.unwrap();
    assert!(read_all(&disk, key(1)).await == content);
    assert_eq!(list(&disk, None).await.len(), 8);
    disk.delete_backup(server(1), backup(1)).await.unwrap();
    assert_invisible(&disk, key(1)).await;
    assert_eq!(google.tokens(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_token_is_renewed_during_an_upload() {
    let google = Google::start().await;
    let Some((_gate, disk)) = behind_gate(&google).await else {
        return;
    };
    let content = noise(1_000_000);
    let mut upload = disk.begin(key(1), 1 << 30).await.unwrap();
    upload.write(content.slice(..600_000)).await.unwrap();
    google.revoke();
    upload.write(content.slice(600_000..)).await.unwrap();
    upload.finish().await.unwrap();
    google.revoke();
    assert!(read_all(&disk, key(1)).await == content);
    assert_eq!(google.tokens(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_token_is_not_used() {
    let google = Google::with(0, Duration::ZERO).await;
    let Some((gate, disk)) = behind_gate(&google).await else {
        return;
    };
    put(&disk, key(1), &noise(3)).await.unwrap();
    assert_eq!(google.tokens() as u64, gate.requests());
}

#[tokio::test]
async fn a_refused_key_gives_advice_and_is_not_retried() {
    let google = Google::start().await;
    let email = "holdfast-test@example.iam.gserviceaccount.com";
    let other = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let other: Pkcs8V1Der<'_> = other.as_der().unwrap();
    let mut file: serde_json::Value = serde_json::from_str(&google.key_file()).unwrap();
    let body = STANDARD.encode(other.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
    file["private_key"] = pem.into();
    let elsewhere = google.key_file().replace(email, "nobody@example.com");
    for (key_file, expected) in [
        (file.to_string(), "Invalid JWT Signature."),
        (elsewhere, "account not found"),
    ] {
        let disk = without_bucket(&key_file);
        for error in [
            disk.check().await.unwrap_err(),
            put(&disk, key(1), &noise(3)).await.unwrap_err(),
        ] {
            let text = error_text(&error);
            assert!(matches!(error, Error::Denied { .. }), "{text}");
            assert!(text.contains("disk `google` refuses access"), "{text}");
            assert!(text.contains("the key of service account"), "{text}");
            assert!(text.contains(expected), "{text}");
            assert!(!text.contains(&body[100..140]), "{text}");
        }
    }
    assert_eq!(google.tokens(), 0);
}

#[tokio::test]
async fn the_error_of_a_wrong_clock_says_so() {
    let google = Google::with(3600, Duration::from_secs(7200)).await;
    let error = without_bucket(&google.key_file())
        .check()
        .await
        .unwrap_err();
    let text = error_text(&error);
    assert!(text.contains("set this machine's clock"), "{text}");
    assert!(!error.is_temporary());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_token_server_is_a_temporary_error() {
    let google = Google::start().await;
    let key_file = google.key_file();
    drop(google);
    let error = without_bucket(&key_file).size(key(1)).await.unwrap_err();
    let text = error_text(&error);
    assert!(error.is_temporary(), "{text}");
    assert!(text.starts_with("disk `google` failed on "), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_presigned_url_of_google_needs_no_token_and_expires() {
    let google = Google::start().await;
    let Some((_gate, disk)) = behind_gate(&google).await else {
        return;
    };
    let content = noise(5_000);
    put(&disk, key(1), &content).await.unwrap();
    let link = async |ttl| {
        let link = disk.presigned_url(key(1), "world \"1\";.tar.gz", Duration::from_secs(ttl));
        link.await.unwrap().unwrap()
    };
    let url = link(3600).await;
    let found = reqwest::get(&url).await.unwrap();
    assert_eq!(found.status(), 200, "{url}");
    assert!(found.bytes().await.unwrap() == content);
    for changed in [
        url.replace(".tar.gz", ".index"),
        url.replace("X-Goog-Expires=3600", "X-Goog-Expires=7200"),
        url.replace("holdfast-test%40", "somebody%40"),
    ] {
        assert_ne!(changed, url);
        let refused = reqwest::get(&changed).await.unwrap();
        assert_eq!(refused.status(), 403, "{changed}");
    }
    let url = link(1).await;
    // One second is the shortest lifetime of a URL.
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    assert_eq!(reqwest::get(&url).await.unwrap().status(), 403);
}
