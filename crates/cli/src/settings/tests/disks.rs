//! Tests of the settings of disks: those in buckets, and the group of a folder.

use super::{disk, load, problems};
use crate::settings::DiskDriver;

const S3: &str = "[storage.disks.far]\ndriver = 's3'\nbucket = 'backups'\n";
const GCS: &str = "[storage.disks.far]\ndriver = 'gcs'\nbucket = 'backups'\nprefix = '/a/b/'\n";
/// The key of an account that does not exist.
const KEY_FILE: &str = include_str!("../../../../storage/src/gcs/tests/key.json");

/// Creates a file with this text. Returns its folder and its path.
fn file(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs_err::write(&path, text).unwrap();
    let path = path.to_string_lossy().into_owned();
    (folder, path)
}

#[test]
fn each_problem_with_a_bucket_is_one_line() {
    let (_folder, no_key) = file("{}");
    let (_folder, no_certificate) = file("hello");
    let with_account = format!("{GCS}service_account_file = '{no_key}'");
    let table = [
        (
            S3,
            "bucket = 'b'".to_owned(),
            "bucket",
            "must be 3 to 255 characters (A-Z, a-z, 0-9, ., _ and -), not \
            `b`"
            .to_owned(),
        ),
        (
            S3,
            "endpoint = 's3.example.com'".to_owned(),
            "endpoint",
            "must be a URL such as https://backups.example.com, not `s3.example.com`".to_owned(),
        ),
        (
            S3,
            "endpoint = 'https://me:hunter2@s3.example.com'".to_owned(),
            "endpoint",
            "must not contain a user or password".to_owned(),
        ),
        (
            S3,
            "access_key_id = 'AKID'".to_owned(),
            "secret_access_key",
            "must be set, because storage.disks.far.access_key_id is set".to_owned(),
        ),
        (
            S3,
            "access_key_id = 'AKID'\nsecret_access_key = 'hunter2 '".to_owned(),
            "secret_access_key",
            "must not contain whitespace".to_owned(),
        ),
        (
            S3,
            "sse = 'aes'".to_owned(),
            "sse",
            "must be none, AES256 or aws:kms, not \
            `aes`"
                .to_owned(),
        ),
        (
            S3,
            "sse_kms_key_id = 'k'".to_owned(),
            "sse_kms_key_id",
            "requires storage.disks.far.sse to be aws:kms".to_owned(),
        ),
        (
            S3,
            "part_size_bytes = 1000".to_owned(),
            "part_size_bytes",
            "must be between 5242880 and 5368709120, not 1000".to_owned(),
        ),
        (
            S3,
            "path_style = 'yes'".to_owned(),
            "path_style",
            "must be true or false".to_owned(),
        ),
        (
            S3,
            "ca_file = '/nowhere/ca.pem'".to_owned(),
            "ca_file",
            "failed to open file `/nowhere/ca.pem`: No such file or directory (os error \
          2)"
            .to_owned(),
        ),
        (
            S3,
            format!("ca_file = '{no_certificate}'"),
            "ca_file",
            format!(
                "{no_certificate} contains no certificate in PEM (-----BEGIN CERTIFICATE-----)"
            ),
        ),
        (
            S3,
            "root = '/srv'".to_owned(),
            "root",
            "is not a setting of a disk with driver \
            s3"
            .to_owned(),
        ),
        (
            S3,
            "encryption = 'age'".to_owned(),
            "age_recipients",
            "must contain a public key, because storage.disks.far.encryption is age: create a key \
          pair with age-keygen"
                .to_owned(),
        ),
        (
            GCS,
            String::new(),
            "service_account_file",
            "must be set to the JSON key file of a service account".to_owned(),
        ),
        (
            GCS,
            "service_account_file = '/nowhere/key.json'".to_owned(),
            "service_account_file",
            "failed to open file `/nowhere/key.json`: No such file or directory (os error \
          2)"
            .to_owned(),
        ),
        (
            &with_account,
            String::new(),
            "service_account_file",
            format!("{no_key} contains a key of type ``, but `service_account` is needed"),
        ),
        (
            &with_account,
            "group = 'root'".to_owned(),
            "group",
            "is not a setting of a disk with driver gcs".to_owned(),
        ),
        (
            &with_account,
            "region = 'eu'".to_owned(),
            "region",
            "is not a setting of a disk with driver gcs".to_owned(),
        ),
    ];
    for (disk, line, field, expected) in table {
        let key = line.split(' ').next().unwrap_or_default();
        let kept = disk
            .lines()
            .filter(|kept| key.is_empty() || !kept.starts_with(key));
        let text = format!("{}\n{line}\n", kept.collect::<Vec<_>>().join("\n"));
        let found = problems(&[&text], &[]).join("\n");
        assert!(
            found.starts_with(&format!("storage.disks.far.{field} ")),
            "{text}: {found}"
        );
        assert!(found.contains(&format!(": {expected}")), "{text}: {found}");
        assert!(!found.contains("hunter2"), "{found}");
    }
}

#[test]
fn a_gcs_disk_needs_a_key_file_unless_it_has_another_endpoint() {
    let (_folder, key_file) = file(KEY_FILE);
    for (line, has_account) in [
        (format!("service_account_file = '{key_file}'"), true),
        ("endpoint = 'http://127.0.0.1:4443'".to_owned(), false),
    ] {
        let settings = load(&[&format!("{GCS}{line}")], &[]).unwrap();
        let DiskDriver::Gcs(options) = &disk(&settings, "far").driver else {
            panic!("another driver")
        };
        assert_eq!(
            (options.bucket.as_str(), options.prefix.as_str()),
            ("backups", "a/b/")
        );
        assert_eq!(options.endpoint.is_none(), has_account);
        assert_eq!(options.account.is_some(), has_account);
        let shown = format!("{settings:?}");
        assert!(!shown.contains("PRIVATE KEY"), "{shown}");
    }
}

#[test]
fn checksums_are_off_by_default_for_the_s3_endpoint_of_google() {
    for (lines, expected) in [
        ("", true),
        ("endpoint = 'https://s3.example.com'", true),
        ("endpoint = 'https://storage.googleapis.com/'", false),
        (
            "endpoint = 'https://storage.googleapis.com'\nchecksums = true",
            true,
        ),
        ("checksums = false", false),
    ] {
        let settings = load(&[&format!("{S3}{lines}")], &[]).unwrap();
        let DiskDriver::S3(options) = &disk(&settings, "far").driver else {
            panic!("another driver")
        };
        assert_eq!(options.has_checksums, expected, "{lines}");
    }
}

#[test]
fn two_disks_must_not_share_a_place() {
    let other = S3.replace("far", "near");
    let found = problems(&[S3, &other], &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("is already the bucket and prefix of disk far"),
        "{found:?}"
    );
}

#[test]
fn the_group_of_a_folder_is_a_name_or_a_number_that_this_process_may_use() {
    let own = rustix::process::getegid().as_raw();
    for (text, expected) in [(String::new(), None), (own.to_string(), Some(own))] {
        let table = "[storage.disks.main]\ndriver = 'local'\nroot = '/srv/main'";
        let settings = load(&[&format!("{table}\ngroup = '{text}'")], &[]).unwrap();
        let DiskDriver::Local(options) = &disk(&settings, "main").driver else {
            panic!("another driver")
        };
        assert_eq!(options.group, expected, "{text}");
    }
}
