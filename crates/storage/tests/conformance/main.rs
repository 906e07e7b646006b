//! The promises of `holdfast_storage`, held by every disk against the real thing: a folder, the S3
//! server s3s-fs in this process, and one that is running already, such as `scripts/with-ceph` starts.
//!
//! `HOLDFAST_TEST_S3_ENDPOINT`, `…_ACCESS_KEY`, `…_SECRET_KEY`, `…_BUCKET` and `…_REGION` name the
//! latter; without them its tests are passed over, and say so. `HOLDFAST_TEST_LARGE=1` adds an object
//! of three gigabytes. `HOLDFAST_TEST_GCS_ENDPOINT`, `…_OTHER_ENDPOINT` and `…_BUCKET` name emulators of
//! Google Cloud Storage, such as `scripts/with-gcs` starts.
#![expect(
    clippy::unwrap_used,
    reason = "a test that panics has failed, as it should"
)]

mod encryption;
mod every_call;
mod faults;
mod gcs;
#[path = "../../../../tests/it/support/google.rs"]
mod google;
mod google_account;
mod local;
mod objects;
mod paged;
mod places;
mod promises;
#[path = "../../../../tests/it/support/proxy.rs"]
mod proxy;
mod refusals;
#[path = "../../../../tests/it/support/s3.rs"]
mod s3;
mod s3_only;
mod sent;
#[path = "../../../../tests/it/support/tls.rs"]
mod tls;
mod trust;
