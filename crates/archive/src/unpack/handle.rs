//! Open folders of the staging tree, shared by the threads that write into them.
//!
//! A folder gets its mode and times when the last reference to it is dropped, since every later
//! write below it would change them. A drop cannot return an error, so the first error is kept in
//! [`Problems`].

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::attributes::Attributes;
use super::refused::Refused;
use crate::Error;
use crate::directory::Identity;
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

/// The folders that were left while small files were still to be written into them.
#[derive(Default)]
pub(super) struct Unfinished(Mutex<HashMap<Identity, usize>>);

impl Unfinished {
    pub(super) fn contains(&self, folder: Identity) -> bool {
        self.lock().contains_key(&folder)
    }

    fn add(&self, folder: Identity) {
        *self.lock().entry(folder).or_default() += 1;
    }

    fn remove(&self, folder: Identity) {
        let mut folders = self.lock();
        if let Some(handles) = folders.get_mut(&folder) {
            *handles -= 1;
            if *handles == 0 {
                folders.remove(&folder);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Identity, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The attributes that a folder gets when it is finished.
pub(super) struct FinalAttributes {
    pub(super) attributes: Attributes,
    /// Whether the folder has the mode already.
    pub(super) mode_is_set: bool,
}

/// What happens when the last reference to a folder is dropped.
struct OnDrop {
    /// `None` leaves the folder as it is.
    last: Option<FinalAttributes>,
    name: Vec<u8>,
    problems: Arc<Problems>,
    /// Set if there were other references when the folder was left.
    registered: Option<(Arc<Unfinished>, Identity)>,
}

/// An open folder. Dropping the last reference finishes it.
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

    /// Gives up the reference of the thread that reads the archive. The folder is finished now, or
    /// when the last small file in it is written. Errors go to `problems`.
    pub(super) fn leave(
        self: Arc<Self>,
        last: Option<FinalAttributes>,
        (name, identity): (Vec<u8>, Identity),
        problems: &Arc<Problems>,
        unfinished: &Arc<Unfinished>,
    ) {
        // Only this thread adds references.
        let registered = (Arc::strong_count(&self) > 1).then(|| {
            unfinished.add(identity);
            (Arc::clone(unfinished), identity)
        });
        // A folder is left once, so the first value is the only one.
        let _ = self.on_drop.set(OnDrop {
            last,
            name,
            problems: Arc::clone(problems),
            registered,
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
        if let Some(last) = &on_drop.last {
            let folder = self.handle.as_fd();
            let applied = last
                .attributes
                .apply(folder, last.mode_is_set, &problems.refused);
            if let Err(error) = applied {
                let name = lossy(&on_drop.name);
                problems.set(Error::io("set the mode of", Path::new(&name), error));
            }
        }
        if let Some((unfinished, identity)) = &on_drop.registered {
            unfinished.remove(*identity);
        }
    }
}
