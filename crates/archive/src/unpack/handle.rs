//! Open folders of the staging tree, shared by the threads that write into them.
//!
//! A folder gets its mode and times when the last reference to it is dropped, since every later
//! write below it would change them. A drop cannot return an error, so the first error is kept in
//! [`Problems`].

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::attributes::Attributes;
use super::refused::Refused;
use crate::Error;
use crate::error::lossy;

/// The first error of a background thread or a destructor, until it can be returned, and the
/// attributes that were refused.
#[derive(Default)]
pub(super) struct Problems {
    error: Mutex<Option<Error>>,
    pub(super) refused: Refused,
}

impl Problems {
    /// Stores an error, unless there is one already.
    pub(super) fn set(&self, error: Error) {
        self.lock().get_or_insert(error);
    }

    pub(super) fn is_set(&self) -> bool {
        self.lock().is_some()
    }

    /// Returns the stored error and removes it.
    pub(super) fn check(&self) -> Result<(), Error> {
        let error = self.lock().take();
        error.map_or(Ok(()), Err)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Error>> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is applied to a folder when the last reference to it is dropped.
struct OnDrop {
    attributes: Attributes,
    name: Vec<u8>,
    problems: Arc<Problems>,
}

/// An open folder. Dropping the last reference applies its attributes.
pub(super) struct FolderHandle {
    handle: OwnedFd,
    on_drop: OnceLock<OnDrop>,
}

impl FolderHandle {
    /// Wraps an open folder; nothing is applied on drop.
    pub(super) fn new(handle: OwnedFd) -> Self {
        Self {
            handle,
            on_drop: OnceLock::new(),
        }
    }

    /// Sets the attributes that are applied on drop; an error goes to `problems`.
    pub(super) fn apply_on_drop(
        &self,
        attributes: Attributes,
        name: Vec<u8>,
        problems: Arc<Problems>,
    ) {
        // A folder is left once, so the first value is the only one.
        let _ = self.on_drop.set(OnDrop {
            attributes,
            name,
            problems,
        });
    }
}

impl AsFd for FolderHandle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

impl Drop for FolderHandle {
    fn drop(&mut self) {
        let Some(on_drop) = self.on_drop.get() else {
            return;
        };
        let problems = &on_drop.problems;
        let applied = on_drop
            .attributes
            .apply(self.handle.as_fd(), false, &problems.refused);
        if let Err(error) = applied {
            let name = lossy(&on_drop.name);
            problems.set(Error::io("set the mode of", Path::new(&name), error));
        }
    }
}
