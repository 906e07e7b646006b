//! Servers with TLS whose certificate a private authority signed.

use holdfast_storage::{CaBundle, Disk, Error, GcsOptions, S3Options};

use crate::objects::{error_text, key, noise, put, read_all};
use crate::places::{self, PART_BYTES, name};
use crate::s3::S3Server;
use crate::tls::Tls;

fn assert_untrusted(error: &Error) {
    let text = error_text(error);
    let expected = "is misconfigured: the certificate of its server is not trusted: set ca_file";
    assert!(text.contains(expected), "{text}");
    assert!(text.contains("UnknownIssuer"), "{text}");
    assert!(!error.is_temporary());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_s3_server_is_trusted_only_with_its_authority() {
    let server = S3Server::start().await;
    let tls = Tls::start(server.address).await;
    let stranger = Tls::start(server.address).await;
    let disk = |authority: Option<&str>| {
        let options = S3Options {
            ca_bundle: authority.map(|pem| CaBundle::parse(pem).unwrap()),
            ..places::options(&tls.endpoint())
        };
        Disk::s3(name("offsite"), options)
    };
    for unable in [disk(None), disk(Some(&stranger.authority))] {
        assert_untrusted(&unable.check().await.unwrap_err());
        assert_untrusted(&put(&unable, key(1), &noise(3)).await.unwrap_err());
    }
    // A bundle may contain several certificates.
    let both = format!("{}\n# and\n{}", stranger.authority, tls.authority);
    let able = disk(Some(&both));
    able.check().await.unwrap();
    let large = usize::try_from(2 * PART_BYTES).unwrap() + 1;
    for (n, length) in [(1, 3), (2, large)] {
        let content = noise(length);
        put(&able, key(n), &content).await.unwrap();
        assert!(read_all(&able, key(n)).await == content);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_error_of_a_server_without_tls_says_so() {
    let server = S3Server::start().await;
    let endpoint = format!("https://{}", server.address);
    let google = GcsOptions {
        bucket: "backups".to_owned(),
        prefix: String::new(),
        endpoint: Some(endpoint.clone()),
        ca_bundle: None,
        account: None,
        chunk_bytes: GcsOptions::CHUNK_BYTES,
    };
    for disk in [
        Disk::s3(name("offsite"), places::options(&endpoint)),
        Disk::gcs(name("offsite"), google).unwrap(),
    ] {
        let error = disk.check().await.unwrap_err();
        let text = error_text(&error);
        assert!(text.contains("does not use TLS on this port"), "{text}");
        assert!(!error.is_temporary());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_google_server_is_trusted_only_with_its_authority() {
    let Some(options) = places::gcs_options("ENDPOINT") else {
        return;
    };
    let emulator = options.endpoint.as_deref().unwrap();
    let emulator = emulator.strip_prefix("http://").unwrap();
    let tls = Tls::start(emulator.parse().unwrap()).await;
    let disk = |ca_bundle| {
        let options = GcsOptions {
            endpoint: Some(tls.endpoint()),
            ca_bundle,
            ..options.clone()
        };
        Disk::gcs(name("google"), options).unwrap()
    };
    assert_untrusted(&disk(None).check().await.unwrap_err());
    assert_untrusted(&put(&disk(None), key(1), &noise(3)).await.unwrap_err());
    let able = disk(Some(CaBundle::parse(&tls.authority).unwrap()));
    able.check().await.unwrap();
    let content = noise(3);
    put(&able, key(1), &content).await.unwrap();
    assert!(read_all(&able, key(1)).await == content);
}
