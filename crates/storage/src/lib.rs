//! Where archives live. The only crate that knows disks.
//!
//! # The promises
//!
//! Every disk keeps them, whatever it is made of; `tests/conformance` holds each to them:
//!
//! - **Nothing is visible under its key before it is whole and durable.** Until
//!   [`Upload::finish`] has returned, nobody can read, list or find it.
//! - **An upload that is dropped, aborted or killed leaves nothing visible.** What it leaves
//!   behind is found by [`Disk::partials`] and removed by [`Disk::remove_partial`].
//! - **Nothing is ever overwritten.** A key holds the attempt that writes it, and a worker holds an
//!   attempt alone; finishing under a key that exists is an error. On a bucket whose server knows no
//!   conditional writes, of two that finish in the same instant the later may win.
//! - **A reader ends well only after the last byte.** A cut connection is taken up where it was cut.
//! - **Deleting is idempotent.** What is not there is deleted already.
//! - **Memory is bounded**, whatever the size of an object: four parts on their way and one that
//!   fills, on a bucket of S3; one and one, at Google; a piece, on a folder.
//! - **Errors know** what is missing, full, refused, set up wrongly or away, whether the same call
//!   may succeed later, and never hold a secret.
//!
//! This crate must never decide what is kept: it is told.

mod authorities;
mod checked;
mod disk;
mod disks;
mod disposition;
mod encryption;
mod error;
mod gcs;
mod key;
mod listing;
mod local;
mod manifest;
mod meter;
mod reader;
mod s3;
mod upload;
mod waiting;

pub use authorities::Authorities;
pub use disk::{Disk, PartialUpload};
pub use disks::Disks;
pub use encryption::{Encryption, KeysRefused};
pub use error::Error;
pub use gcs::{GcsOptions, ServiceAccount};
pub use key::{ArchiveKey, StorageKey};
pub use listing::{Listing, Object, PartialUploads};
pub use local::free_bytes;
pub use manifest::Manifest;
pub use reader::ObjectReader;
pub use s3::{S3Keys, S3Options, ServerSideEncryption};
pub use upload::Upload;
pub use waiting::BlockingReader;
