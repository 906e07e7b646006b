//! Where archives live. The only crate that knows disks.
//!
//! # The promises
//!
//! Every disk keeps them, whatever it is made of:
//!
//! - **Nothing is visible under its key before it is whole and durable.** Until
//!   [`Upload::finish`] has returned, nobody can read, list or find it.
//! - **An upload that is dropped, aborted or killed leaves nothing visible.** What it leaves
//!   behind is found by [`Disk::partials`] and removed by [`Disk::remove_partial`].
//! - **Nothing is ever overwritten.** A key holds the attempt that writes it, and a worker holds an
//!   attempt alone; finishing under a key that exists is an error.
//! - **Deleting is idempotent.** What is not there is deleted already.
//! - **Memory is bounded**, whatever the size of an object.
//!
//! This crate must never decide what is kept: it is told.

mod disk;
mod error;
mod key;
mod local;

pub use disk::{Disk, Disks, Partial, Upload};
pub use error::Error;
pub use key::{ArchiveKey, StorageKey};
pub use local::{LocalDisk, free_bytes};
