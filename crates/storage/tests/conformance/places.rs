//! The disks under test, and their limitations.

use std::sync::atomic::{AtomicU32, Ordering};

use holdfast_domain::DiskName;
use holdfast_storage::{Disk, Encryption, GcsOptions, S3Keys, S3Options, ServerSideEncryption};

use crate::s3::{self, S3Server};

/// The minimum size of parts, so that small uploads have several.
pub(crate) const PART_BYTES: u64 = S3Options::PART_BYTES_MIN;

/// A disk under test, with its server.
pub(crate) struct Place {
    pub(crate) disk: Disk,
    /// Whether it can list partial uploads.
    pub(crate) lists_partials: bool,
    /// Whether it is a bucket. An object of one part leaves no partial upload there.
    pub(crate) is_remote: bool,
    pub(crate) is_encrypted: bool,
    /// Whether it is an emulator, which stores everything in memory.
    pub(crate) is_emulated: bool,
    /// Whether its listings have several pages.
    pub(crate) lists_pages: bool,
    _server: Option<S3Server>,
    _folder: Option<tempfile::TempDir>,
}

/// A local folder.
pub(crate) async fn local() -> Option<Place> {
    let folder = tempfile::tempdir().unwrap();
    Some(Place {
        disk: Disk::local(name("local"), folder.path()).unwrap(),
        lists_partials: true,
        is_remote: false,
        is_encrypted: false,
        is_emulated: false,
        lists_pages: true,
        _server: None,
        _folder: Some(folder),
    })
}

/// A bucket of s3s-fs, which can't list multipart uploads.
pub(crate) async fn s3s() -> Option<Place> {
    let server = S3Server::start().await;
    Some(Place {
        disk: Disk::s3(name("s3s"), options(&server.endpoint())),
        lists_partials: false,
        is_remote: true,
        is_encrypted: false,
        is_emulated: false,
        lists_pages: true,
        _server: Some(server),
        _folder: None,
    })
}

/// A local folder with encryption.
pub(crate) async fn encrypted() -> Option<Place> {
    Some(encrypt(local().await?))
}

/// A bucket of s3s-fs with encryption.
pub(crate) async fn encrypted_s3s() -> Option<Place> {
    Some(encrypt(s3s().await?))
}

fn encrypt(place: Place) -> Place {
    let keys = Encryption::new(true, &[], Some(&identity())).unwrap();
    let disk = place.disk.clone().with_encryption(keys);
    Place {
        disk,
        is_encrypted: true,
        // Names are not encrypted, so the test of the plain disk is enough.
        lists_pages: false,
        ..place
    }
}

/// Returns a new private key, in the format of `age-keygen`.
pub(crate) fn identity() -> String {
    use age::secrecy::ExposeSecret;
    let identity = age::x25519::Identity::generate();
    identity.to_string().expose_secret().to_owned()
}

/// The bucket of the external S3 server, with a separate prefix for each test.
pub(crate) async fn outside() -> Option<Place> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let mut options = outside_options()?;
    options.prefix = format!(
        "test-{}-{}/",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    );
    Some(Place {
        disk: Disk::s3(name("outside"), options),
        lists_partials: true,
        is_remote: true,
        is_encrypted: false,
        is_emulated: false,
        lists_pages: true,
        _server: None,
        _folder: None,
    })
}

/// A bucket of the emulator that supports resumed uploads.
pub(crate) async fn gcs() -> Option<Place> {
    google("ENDPOINT")
}

/// The same bucket with encryption.
pub(crate) async fn encrypted_gcs() -> Option<Place> {
    Some(encrypt(gcs().await?))
}

/// A bucket of the emulator that lists in pages.
pub(crate) async fn other_gcs() -> Option<Place> {
    google("OTHER_ENDPOINT")
}

fn google(endpoint: &str) -> Option<Place> {
    Some(Place {
        disk: Disk::gcs(name("google"), gcs_options(endpoint)?).unwrap(),
        lists_partials: false,
        is_remote: true,
        is_encrypted: false,
        is_emulated: true,
        lists_pages: endpoint == "OTHER_ENDPOINT",
        _server: None,
        _folder: None,
    })
}

/// Returns the options for an emulator, with a separate prefix for each test.
pub(crate) fn gcs_options(endpoint: &str) -> Option<GcsOptions> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let Ok(endpoint) = std::env::var(format!("HOLDFAST_TEST_GCS_{endpoint}")) else {
        skipped("HOLDFAST_TEST_GCS_ENDPOINT is not set; scripts/with-gcs sets it");
        return None;
    };
    Some(GcsOptions {
        bucket: std::env::var("HOLDFAST_TEST_GCS_BUCKET").unwrap(),
        prefix: format!(
            "test-{}-{}/",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        ),
        endpoint: Some(endpoint),
        ca_bundle: None,
        account: None,
        // Small chunks, so that small objects have several. For large objects, larger ones:
        // emulators copy the whole object for each chunk.
        chunk_bytes: match is_large_wanted() {
            true => GcsOptions::CHUNK_BYTES,
            false => GcsOptions::CHUNK_BYTES_UNIT,
        },
    })
}

/// Returns whether tests with large objects are enabled.
pub(crate) fn is_large_wanted() -> bool {
    std::env::var_os("HOLDFAST_TEST_LARGE").is_some()
}

/// Returns the options for the external S3 server.
pub(crate) fn outside_options() -> Option<S3Options> {
    let variable = |name: &str| std::env::var(format!("HOLDFAST_TEST_S3_{name}")).ok();
    let Some(endpoint) = variable("ENDPOINT") else {
        skipped("HOLDFAST_TEST_S3_ENDPOINT is not set; scripts/with-ceph sets it");
        return None;
    };
    Some(S3Options {
        bucket: variable("BUCKET").unwrap(),
        region: variable("REGION").unwrap(),
        keys: Some(S3Keys {
            access_key_id: variable("ACCESS_KEY").unwrap(),
            secret_access_key: variable("SECRET_KEY").unwrap(),
        }),
        ..options(&endpoint)
    })
}

/// Returns the options for the bucket of an [`S3Server`] at `endpoint`.
pub(crate) fn options(endpoint: &str) -> S3Options {
    S3Options {
        bucket: s3::BUCKET.to_owned(),
        region: "us-east-1".to_owned(),
        endpoint: Some(endpoint.to_owned()),
        public_endpoint: None,
        ca_bundle: None,
        prefix: "some/folder/".to_owned(),
        keys: Some(S3Keys {
            access_key_id: s3::ACCESS_KEY.to_owned(),
            secret_access_key: s3::SECRET_KEY.to_owned(),
        }),
        is_path_style: true,
        encryption: ServerSideEncryption::Bucket,
        has_checksums: true,
        part_size_bytes: PART_BYTES,
    }
}

pub(crate) fn name(name: &str) -> DiskName {
    DiskName::parse(name).unwrap()
}

/// Prints why a test, or a part of it, is skipped.
#[expect(clippy::print_stdout, reason = "cargo shows it with --nocapture")]
pub(crate) fn skipped(reason: &str) {
    println!("skipped: {reason}");
}
