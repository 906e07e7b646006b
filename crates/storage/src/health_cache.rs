//! Remembers a successful health check for a few seconds, so that clients of the health endpoint
//! can't cause many requests to a server that charges for each.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a success is remembered.
const TTL: Duration = Duration::from_secs(5);

/// The time of the last successful health check.
#[derive(Debug, Default)]
pub(crate) struct HealthCache(Mutex<Option<Instant>>);

impl HealthCache {
    /// Returns whether a check succeeded within the last seconds.
    pub(crate) fn is_fresh(&self) -> bool {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last.elapsed() < TTL)
    }

    /// Records a successful check.
    pub(crate) fn record_success(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}
