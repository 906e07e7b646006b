//! What the engine shares with whoever watches it: a switch to stop it and its progress.
//!
//! Only atomics: reading progress or cancelling never waits for the engine.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::Error;

/// The handle that a watcher keeps while [`create`](crate::create) or [`restore`](crate::restore) runs.
#[derive(Debug, Default)]
pub struct Control {
    cancelled: AtomicBool,
    bytes_done: AtomicU64,
    bytes_total: AtomicU64,
    files_done: AtomicU64,
    files_total: AtomicU64,
}

/// How far the work has come; totals are 0 while they are unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of file contents handled so far (while verifying: bytes of the archive).
    pub bytes_done: u64,
    /// Bytes to handle in all.
    pub bytes_total: u64,
    /// Files handled so far.
    pub files_done: u64,
    /// Files to handle in all.
    pub files_total: u64,
}

impl Control {
    /// Makes a control that is not cancelled, with no progress.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the engine to stop; it answers with [`Error::Cancelled`] soon after.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Says whether [`Control::cancel`] was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Reads the progress made so far.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            bytes_done: self.bytes_done.load(Ordering::Relaxed),
            bytes_total: self.bytes_total.load(Ordering::Relaxed),
            files_done: self.files_done.load(Ordering::Relaxed),
            files_total: self.files_total.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.is_cancelled() {
            Err(Error::Cancelled)
        } else {
            Ok(())
        }
    }

    pub(crate) fn set_totals(&self, files: u64, bytes: u64) {
        self.files_total.store(files, Ordering::Relaxed);
        self.bytes_total.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn add_bytes(&self, bytes: u64) {
        self.bytes_done.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn add_file(&self) {
        self.files_done.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn restart(&self) {
        self.bytes_done.store(0, Ordering::Relaxed);
        self.files_done.store(0, Ordering::Relaxed);
    }
}
