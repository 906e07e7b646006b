//! Progress, speed and cancellation of a running operation, shared between threads.
//!
//! All fields are atomics, so reading the progress or cancelling never waits.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use crate::Error;

/// Reports the progress of an operation such as [`create`](crate::create()), slows it down, and
/// cancels it.
///
/// Other threads can use it by reference while the operation runs.
#[derive(Debug, Default)]
pub struct Control {
    cancelled: AtomicBool,
    bytes_done: AtomicU64,
    bytes_total: AtomicU64,
    files_done: AtomicU64,
    files_total: AtomicU64,
    /// How much of the time the threads rest, in percent.
    rest_percent: AtomicU8,
}

/// The progress of an operation. Totals are 0 while they are unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of file contents processed so far; while an archive is verified, bytes of the archive.
    pub bytes_done: u64,
    /// Bytes to process in total.
    pub bytes_total: u64,
    /// Files processed so far.
    pub files_done: u64,
    /// Files to process in total.
    pub files_total: u64,
}

impl Control {
    /// Creates a control without progress that is not cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels the operation. It returns [`Error::Cancelled`] soon after.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Returns whether [`Control::cancel`] was called.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Sets the speed of [`create`](crate::create()), [`scan`](crate::scan()) and
    /// [`verify`](crate::verify()), in percent of the full speed. At 20, each of their threads
    /// rests four times as long as it works. 0 counts as 1.
    pub fn set_speed(&self, percent: u8) {
        let rest = 100 - percent.clamp(1, 100);
        self.rest_percent.store(rest, Ordering::Relaxed);
    }

    /// Returns whether the operation runs at less than its full speed.
    #[must_use]
    pub fn is_slowed(&self) -> bool {
        self.rest_percent() > 0
    }

    /// Returns the progress so far.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            bytes_done: self.bytes_done.load(Ordering::Relaxed),
            bytes_total: self.bytes_total.load(Ordering::Relaxed),
            files_done: self.files_done.load(Ordering::Relaxed),
            files_total: self.files_total.load(Ordering::Relaxed),
        }
    }

    /// Returns [`Error::Cancelled`] if the operation is cancelled.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.is_cancelled() {
            Err(Error::Cancelled)
        } else {
            Ok(())
        }
    }

    /// Returns how much of the time the threads rest, in percent.
    pub(crate) fn rest_percent(&self) -> u8 {
        self.rest_percent.load(Ordering::Relaxed)
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

    /// Resets what is done to 0 for the next phase. Totals stay.
    pub(crate) fn reset_done(&self) {
        self.bytes_done.store(0, Ordering::Relaxed);
        self.files_done.store(0, Ordering::Relaxed);
    }
}
