//! The places that disks are tried at, and what each of them can't do.

use std::sync::atomic::{AtomicU32, Ordering};

use holdfast_domain::DiskName;
use holdfast_storage::{Disk, Encryption, GcsOptions, S3Keys, S3Options, ServerSideEncryption};

use crate::s3::{self, S3Server};

/// The smallest parts that servers take: uploads of some megabytes have several.
pub(crate) const PART_BYTES: u64 = S3Options::PART_BYTES_MIN;

/// A disk, and what has to live as long as it.
pub(crate) struct Place {
    pub(crate) disk: Disk,
    /// Whether it can tell of uploads that were begun and not ended.
    pub(crate) lists_partials: bool,
    /// Whether an object of no more bytes than a part is sent without a trace before its end.
    pub(crate) is_remote: bool,
    pub(crate) is_encrypted: bool,
    /// Whether an emulator is behind it, which keeps everything in memory.
    pub(crate) is_emulated: bool,
    /// Whether it lists many objects in several answers.
    pub(crate) lists_pages: bool,
    _server: Option<S3Server>,
    _folder: Option<tempfile::TempDir>,
}

/// A folder.
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

/// A folder whose objects are encrypted.
pub(crate) async fn encrypted() -> Option<Place> {
    Some(encrypt(local().await?))
}

/// A bucket whose objects are encrypted.
pub(crate) async fn encrypted_s3s() -> Option<Place> {
    Some(encrypt(s3s().await?))
}

fn encrypt(place: Place) -> Place {
    let keys = Encryption::new(true, &[], Some(&identity())).unwrap();
    let disk = place.disk.clone().with_encryption(keys);
    Place {
        disk,
        is_encrypted: true,
        // Names are not encrypted: as the disk within does.
        lists_pages: false,
        ..place
    }
}

/// A new private key, as `age-keygen` writes it.
pub(crate) fn identity() -> String {
    use age::secrecy::ExposeSecret;
    let identity = age::x25519::Identity::generate();
    identity.to_string().expose_secret().to_owned()
}

/// The bucket that the environment names, below a prefix of this test's own.
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

/// A bucket of an emulator of Google's that takes up what was cut.
pub(crate) async fn gcs() -> Option<Place> {
    google("ENDPOINT")
}

/// The same, whose objects are encrypted.
pub(crate) async fn encrypted_gcs() -> Option<Place> {
    Some(encrypt(gcs().await?))
}

/// A bucket of an emulator of Google's that lists page by page.
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

/// The bucket of the emulator that the environment names, below a prefix of this test's own.
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
        authorities: None,
        account: None,
        // Small ones, so that small objects have several; emulators copy all that they have for each.
        chunk_bytes: match is_large_wanted() {
            true => GcsOptions::CHUNK_BYTES,
            false => GcsOptions::CHUNK_BYTES_UNIT,
        },
    })
}

/// Whether the environment asks for objects of gigabytes.
pub(crate) fn is_large_wanted() -> bool {
    std::env::var_os("HOLDFAST_TEST_LARGE").is_some()
}

/// What the environment says of a server that is running already.
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

/// The bucket of an [`S3Server`] that is reached at `endpoint`.
pub(crate) fn options(endpoint: &str) -> S3Options {
    S3Options {
        bucket: s3::BUCKET.to_owned(),
        region: "us-east-1".to_owned(),
        endpoint: Some(endpoint.to_owned()),
        public_endpoint: None,
        authorities: None,
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

/// Says why a test, or a part of it, can't be run here.
#[expect(
    clippy::print_stdout,
    reason = "cargo shows it to whoever asks for output"
)]
pub(crate) fn skipped(reason: &str) {
    println!("skipped: {reason}");
}
