//! Remembers for a moment that a server was found well: whoever may ask for the service's health must
//! not be able to make it ask a server that charges for it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a server that was found well is taken to be.
const FOR: Duration = Duration::from_secs(5);

/// When a server was last found well.
#[derive(Debug, Default)]
pub(crate) struct Checked(Mutex<Option<Instant>>);

impl Checked {
    /// Says whether the server was found well a moment ago.
    pub(crate) fn is_recent(&self) -> bool {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last.elapsed() < FOR)
    }

    /// Notes that the server is well now.
    pub(crate) fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}
