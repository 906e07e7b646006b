//! Errors of servers: each says what is wrong, and what to check.

use std::time::Duration;

use holdfast_storage::{Disk, Error, S3Keys, S3Options};

use crate::objects::{assert_invisible, error_text, key, noise, partials, put};
use crate::places::{self, name};
use crate::s3::S3Server;

/// Returns the errors of all operations.
async fn all_errors(options: S3Options, writes: bool) -> Vec<Error> {
    let disk = Disk::s3(name("offsite"), options);
    let mut found = vec![
        disk.check().await.unwrap_err(),
        disk.size(key(1)).await.unwrap_err(),
        disk.read(key(1), 0..1).await.unwrap_err(),
        disk.delete_backup(key(1).archive().server, key(1).archive().backup)
            .await
            .unwrap_err(),
    ];
    if writes {
        found.push(put(&disk, key(1), &noise(3)).await.unwrap_err());
        found.push(put(&disk, key(1), &noise(6 << 20)).await.unwrap_err());
    }
    found
}

/// Checks the errors of wrong settings. `makes_buckets` is for a server that creates missing
/// buckets.
async fn assert_advice(good: S3Options, makes_buckets: bool) {
    let keys = good.keys.clone().unwrap();
    let wrong_id = S3Keys {
        access_key_id: "AKUNKNOWN".to_owned(),
        ..keys.clone()
    };
    let wrong_secret = S3Keys {
        secret_access_key: "hunter2".to_owned(),
        ..keys.clone()
    };
    let with_keys = |keys| S3Options {
        keys: Some(keys),
        ..good.clone()
    };
    let elsewhere = S3Options {
        bucket: "elsewhere".to_owned(),
        ..good.clone()
    };
    for (options, expected, writes) in [
        (with_keys(wrong_id), "does not know its access_key_id", true),
        (with_keys(wrong_secret), "check its secret_access_key", true),
        (elsewhere, "there is no bucket `elsewhere`", !makes_buckets),
    ] {
        for error in all_errors(options, writes).await {
            let text = error_text(&error);
            assert!(text.contains("disk `offsite`"), "{text}");
            assert!(text.contains(expected), "{text}");
            assert!(!error.is_temporary(), "{text}");
            let shown = format!("{text} {error:?}");
            assert!(!shown.contains("hunter2"), "{shown}");
            assert!(!shown.contains(&keys.secret_access_key), "{shown}");
        }
    }
}

#[tokio::test]
async fn errors_of_s3s_distinguish_wrong_keys_and_a_wrong_bucket() {
    let server = S3Server::start().await;
    // s3s-fs creates a missing bucket on a write.
    assert_advice(places::options(&server.endpoint()), true).await;
}

#[tokio::test]
async fn errors_of_the_external_server_distinguish_wrong_keys_and_a_wrong_bucket() {
    if let Some(options) = places::outside_options() {
        assert_advice(options, false).await;
    }
}

/// `scripts/with-ceph` has a second user, whose quota is exhausted.
#[tokio::test]
async fn the_error_of_a_full_bucket_says_so() {
    let Some(options) = places::outside_options() else {
        return;
    };
    let Ok(bucket) = std::env::var("HOLDFAST_TEST_S3_FULL_BUCKET") else {
        return places::skipped("HOLDFAST_TEST_S3_FULL_BUCKET is not set");
    };
    let options = S3Options {
        bucket,
        keys: Some(S3Keys {
            access_key_id: std::env::var("HOLDFAST_TEST_S3_FULL_ACCESS_KEY").unwrap(),
            secret_access_key: options.keys.unwrap().secret_access_key,
        }),
        prefix: format!("full-{}/", std::process::id()),
        ..options
    };
    let disk = Disk::s3(name("small"), options);
    disk.check().await.unwrap();
    for length in [5_000, 6 << 20] {
        let error = put(&disk, key(1), &noise(length)).await.unwrap_err();
        let text = error_text(&error);
        assert!(matches!(error, Error::Full { .. }), "{text}");
        assert!(
            text.starts_with("disk `small` is full while writing "),
            "{text}"
        );
        assert_invisible(&disk, key(1)).await;
        assert_eq!(partials(&disk).await, []);
    }
}

#[tokio::test]
async fn an_unreachable_server_is_a_temporary_error() {
    let mut server = S3Server::start().await;
    let disk = Disk::s3(name("away"), places::options(&server.endpoint()));
    put(&disk, key(1), &noise(3)).await.unwrap();
    server.kill().await;
    let error = disk.size(key(1)).await.unwrap_err();
    assert!(error.is_temporary(), "{error}");
    let text = error_text(&error);
    assert!(text.starts_with("disk `away` failed on "), "{text}");
    assert!(text.contains("onnection refused"), "{text}");
    server.come_back().await;
    assert_eq!(disk.size(key(1)).await.unwrap(), 3);
}

#[tokio::test]
async fn the_error_of_missing_credentials_says_so() {
    // Credentials of the environment would be used.
    if std::env::var_os("AWS_ACCESS_KEY_ID").is_some() {
        return places::skipped("AWS_ACCESS_KEY_ID is set");
    }
    let server = S3Server::start().await;
    let disk = Disk::s3(
        name("anonymous"),
        S3Options {
            keys: None,
            ..places::options(&server.endpoint())
        },
    );
    let error = disk.check().await.unwrap_err();
    let text = error_text(&error);
    assert!(text.contains("no credentials were found"), "{text}");
    let link = disk
        .presigned_url(key(1), "a", Duration::from_secs(60))
        .await;
    assert!(link.is_err());
}
