//! What a refusal of a server is told as: what is wrong, and where to look.

use std::time::Duration;

use holdfast_storage::{Disk, Error, S3Keys, S3Options};

use crate::objects::{assert_invisible, key, noise, partials, put, told};
use crate::places::{self, name};
use crate::s3::S3Server;

/// Everything that a disk is asked, and how each is told.
async fn refusals(options: S3Options, writes: bool) -> Vec<Error> {
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

/// Each way in which the settings of a good disk can be wrong, and how that is told.
async fn each_is_told_apart(good: S3Options, makes_buckets: bool) {
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
        for error in refusals(options, writes).await {
            let told = told(&error);
            assert!(told.contains("disk `offsite`"), "{told}");
            assert!(told.contains(expected), "{told}");
            assert!(!error.may_pass(), "{told}");
            let shown = format!("{told} {error:?}");
            assert!(!shown.contains("hunter2"), "{shown}");
            assert!(!shown.contains(&keys.secret_access_key), "{shown}");
        }
    }
}

#[tokio::test]
async fn wrong_keys_and_a_wrong_bucket_are_told_apart_at_s3s() {
    let server = S3Server::start().await;
    // s3s-fs makes a bucket that is not there when something is put in it.
    each_is_told_apart(places::options(&server.endpoint()), true).await;
}

#[tokio::test]
async fn wrong_keys_and_a_wrong_bucket_are_told_apart_at_a_server_outside() {
    if let Some(options) = places::outside_options() {
        each_is_told_apart(options, false).await;
    }
}

/// `scripts/with-ceph` has a second user, whose quota is used up.
#[tokio::test]
async fn a_full_bucket_is_told_as_that() {
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
        let told = told(&error);
        assert!(matches!(error, Error::Full { .. }), "{told}");
        assert!(
            told.starts_with("disk `small` is full while writing "),
            "{told}"
        );
        assert_invisible(&disk, key(1)).await;
        assert_eq!(partials(&disk).await, []);
    }
}

#[tokio::test]
async fn a_server_that_is_away_may_come_back() {
    let mut server = S3Server::start().await;
    let disk = Disk::s3(name("away"), places::options(&server.endpoint()));
    put(&disk, key(1), &noise(3)).await.unwrap();
    server.kill().await;
    let error = disk.size(key(1)).await.unwrap_err();
    assert!(error.may_pass(), "{error}");
    let told = told(&error);
    assert!(told.starts_with("disk `away` failed on "), "{told}");
    assert!(told.contains("onnection refused"), "{told}");
    server.come_back().await;
    assert_eq!(disk.size(key(1)).await.unwrap(), 3);
}

#[tokio::test]
async fn no_credentials_at_all_are_told_as_that() {
    // The environment and the machine may have some, which is fine too.
    if std::env::var_os("AWS_ACCESS_KEY_ID").is_some() {
        return places::skipped("AWS_ACCESS_KEY_ID is set");
    }
    let server = S3Server::start().await;
    let disk = Disk::s3(
        name("nobody"),
        S3Options {
            keys: None,
            ..places::options(&server.endpoint())
        },
    );
    let error = disk.check().await.unwrap_err();
    let told = told(&error);
    assert!(told.contains("no credentials were found"), "{told}");
    let link = disk.link(key(1), "a", Duration::from_secs(60)).await;
    assert!(link.is_err());
}
