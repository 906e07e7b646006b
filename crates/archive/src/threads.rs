//! Starts threads within a scope, with an error instead of a panic where the system has none left.

use std::thread::{Builder, Scope, ScopedJoinHandle};

use crate::Error;

/// Starts a thread.
///
/// A caller must drop the channels of threads that it started before, so that those end, too.
pub(crate) fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, Error> {
    Builder::new()
        .spawn_scoped(scope, work)
        .map_err(Error::Threads)
}

/// Starts `count` threads that share their work, or as many as the system allows: at least one.
pub(crate) fn spawn_pool<'scope, F: FnOnce() + Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    count: usize,
    mut worker: impl FnMut() -> F,
) -> Result<(), Error> {
    spawn(scope, worker())?;
    for _ in 1..count {
        if spawn(scope, worker()).is_err() {
            // The others do the work, but slower.
            return Ok(());
        }
    }
    Ok(())
}
