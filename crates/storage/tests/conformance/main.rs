//! Tests the guarantees of `holdfast_storage` on every kind of disk: a local folder, the S3 server
//! s3s-fs in this process, an external S3 server, and emulators of Google Cloud Storage.
//!
//! - `HOLDFAST_TEST_S3_ENDPOINT`, `…_ACCESS_KEY`, `…_SECRET_KEY`, `…_BUCKET` and `…_REGION`
//!   describe the external server. `scripts/with-ceph` starts one and sets them.
//! - `HOLDFAST_TEST_GCS_ENDPOINT`, `…_OTHER_ENDPOINT` and `…_BUCKET` describe the emulators.
//!   `scripts/with-gcs` starts them and sets these.
//! - `HOLDFAST_TEST_LARGE=1` adds an object of three gigabytes.
//!
//! Without these variables, the tests that need them print that they are skipped.
#![expect(
    clippy::unwrap_used,
    reason = "a test that panics has failed, as it should"
)]

mod copies;
mod copying_server;
mod encryption;
mod every_call;
mod faults;
mod file_systems;
mod gcs;
#[path = "../../../../tests/it/support/google.rs"]
mod google;
mod google_account;
mod local;
mod mounts;
mod objects;
mod paged;
mod permissions;
mod places;
mod promises;
#[path = "../../../../tests/it/support/proxy.rs"]
mod proxy;
mod random_reads;
mod refusals;
#[path = "../../../../tests/it/support/s3.rs"]
mod s3;
mod s3_only;
mod sent;
#[path = "../../../../tests/it/support/tls.rs"]
mod tls;
mod trust;
