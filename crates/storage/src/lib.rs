//! Storage of archives on disks: local folders, S3 buckets and Google Cloud Storage buckets.
//!
//! This is the only crate that knows what a disk is made of. It stores, lists and deletes what its
//! callers ask for. It must never decide which archives are kept.
//!
//! # Guarantees
//!
//! Every disk gives these guarantees. `tests/conformance` checks them on each kind of disk.
//!
//! - **An object is invisible until it is complete and durable.** Before [`Upload::finish`]
//!   returns, it can't be read or listed.
//! - **A dropped, aborted or killed upload leaves no visible object.** [`Disk::partials`] lists the
//!   partial uploads that remain, and [`Disk::remove_partial`] removes them.
//! - **Objects are never overwritten.** A key contains the attempt that writes it, and only one
//!   worker runs an attempt. Finishing an upload whose key exists is an error. On S3 servers
//!   without conditional writes, the later of two simultaneous writers can win.
//! - **A reader ends without an error only after the last byte.** It resumes after a lost
//!   connection.
//! - **Deleting is idempotent.** Deleting a missing object succeeds.
//! - **Only the service's user can read the files of a folder**, and the members of the group in
//!   [`LocalOptions`], whatever the umask.
//! - **Memory is bounded** for objects of any size: five parts on S3 (four in flight, one that
//!   fills), two chunks on Google Cloud Storage, and one chunk on a local disk. A [`RandomReader`]
//!   takes at most 32 MiB.
//! - **Errors tell** whether the object is missing, the disk full, access denied, the configuration
//!   wrong or the disk unavailable, and whether a retry may succeed. They never contain a secret.
//!
//! # Example
//!
//! ```
//! use holdfast_domain::{BackupId, DiskName, ServerId};
//! use holdfast_storage::{ArchiveKey, Disk, Error, StorageKey};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Error> {
//! # let folder = tempfile::tempdir().expect("a temporary folder");
//! let disk = Disk::local(DiskName::parse("local").expect("a disk name"), folder.path())?;
//! let key = StorageKey::Archive(ArchiveKey {
//!     server: ServerId(uuid::Uuid::from_u128(1)),
//!     backup: BackupId(uuid::Uuid::from_u128(2)),
//!     attempt: 1,
//! });
//!
//! let mut upload = disk.begin(key, 1 << 20).await?;
//! upload.write("an archive".into()).await?;
//! assert!(matches!(disk.size(key).await, Err(Error::NotFound { .. })));
//! upload.finish().await?;
//!
//! let mut reader = disk.read(key, 3..100).await?;
//! assert_eq!(reader.next().await?.as_deref(), Some(&b"archive"[..]));
//! assert_eq!(reader.next().await?, None);
//! # Ok(())
//! # }
//! ```

mod backend;
mod blocking_reader;
mod ca_bundle;
mod content_disposition;
mod disk;
mod disks;
mod encryption;
mod error;
mod gcs;
mod health_cache;
mod key;
mod listing;
mod local;
mod manifest;
mod metrics;
mod object;
mod random_reader;
mod reader;
mod s3;
mod upload;

pub use blocking_reader::BlockingReader;
pub use ca_bundle::CaBundle;
pub use disk::Disk;
pub use disks::Disks;
pub use encryption::{Encryption, KeysRefused};
pub use error::{Error, Shortage};
pub use gcs::{GcsOptions, ServiceAccount};
pub use key::{ArchiveKey, StorageKey};
pub use listing::{Listing, PartialUploads};
pub use local::{LocalOptions, create_folder, free_bytes, rename_new};
pub use manifest::{CheckedManifest, Manifest, ManifestProblem};
pub use object::{Object, PartialUpload};
pub use random_reader::RandomReader;
pub use reader::ObjectReader;
pub use s3::{S3Keys, S3Options, ServerSideEncryption};
pub use upload::Upload;
