//! What a refusal of a server is told as: what is wrong, and where to look.

use std::time::Duration;

use holdfast_storage::{Disk, Error, S3Keys, S3Options};

use crate::objects::{key, noise, put, told};
use crate::places::{self, name};
use crate::s3::{self, S3Server};

/// Everything that a disk is asked, and how each is told.
async fn refusals(options: S3Options) -> Vec<Error> {
    let is_there = options.bucket == s3::BUCKET;
    let disk = Disk::s3(name("offsite"), options);
    let mut found = vec![
        disk.check().await.unwrap_err(),
        disk.size(key(1)).await.unwrap_err(),
        disk.read(key(1), 0..1).await.unwrap_err(),
        disk.delete_backup(key(1).archive().server, key(1).archive().backup)
            .await
            .unwrap_err(),
    ];
    // s3s-fs makes a bucket that is not there when something is put in it.
    if is_there {
        found.push(put(&disk, key(1), &noise(3)).await.unwrap_err());
        found.push(put(&disk, key(1), &noise(6 << 20)).await.unwrap_err());
    }
    found
}

#[tokio::test]
async fn wrong_keys_a_wrong_bucket_and_a_server_that_is_away_are_told_apart() {
    let server = S3Server::start().await;
    let good = places::options(&server.endpoint());
    let keys = |id: &str, secret: &str| {
        Some(S3Keys {
            access_key_id: id.to_owned(),
            secret_access_key: secret.to_owned(),
        })
    };
    let table = [
        (
            S3Options {
                keys: keys("AKUNKNOWN", s3::SECRET_KEY),
                ..good.clone()
            },
            "does not know its access_key_id",
        ),
        (
            S3Options {
                keys: keys(s3::ACCESS_KEY, "hunter2"),
                ..good.clone()
            },
            "check its secret_access_key",
        ),
        (
            S3Options {
                bucket: "elsewhere".to_owned(),
                ..good.clone()
            },
            "there is no bucket `elsewhere`",
        ),
    ];
    for (options, expected) in table {
        for error in refusals(options).await {
            let told = told(&error);
            assert!(told.contains("disk `offsite`"), "{told}");
            assert!(told.contains(expected), "{told}");
            assert!(!error.may_pass(), "{told}");
            let shown = format!("{told} {error:?}");
            assert!(
                !shown.contains("hunter2") && !shown.contains(s3::SECRET_KEY),
                "{shown}"
            );
        }
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
