//! Limits how many indexes of archives are read at once in a process.
//!
//! A folder is found by reading the index from its start, a few times for a far page, which may
//! take a second for a large archive. So a few requests read at once, some wait, and further ones
//! are refused.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::ApiError;

/// How many indexes are read at once.
const AT_ONCE: usize = 4;
/// How many further requests wait for their turn.
const WAITING_MAX: usize = 60;
/// When a refused client should try again, in seconds.
const RETRY_AFTER_SECONDS: u32 = 2;

/// The places of the requests that read indexes.
#[derive(Debug)]
pub struct ContentScans {
    /// The places of those that read or wait.
    places: Arc<Semaphore>,
    /// The places of those that read.
    readers: Arc<Semaphore>,
}

/// The right to read one index. It must be kept until the index was read, even if the client has
/// gone meanwhile.
#[derive(Debug)]
pub(crate) struct ScanPermit {
    _place: OwnedSemaphorePermit,
    _reader: OwnedSemaphorePermit,
}

impl Default for ContentScans {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(AT_ONCE + WAITING_MAX)),
            readers: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

impl ContentScans {
    /// Waits until an index may be read.
    ///
    /// # Errors
    /// [`ApiError::TooManyRequests`] if too many requests wait already.
    pub(crate) async fn permit(&self) -> Result<ScanPermit, ApiError> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| ApiError::TooManyRequests {
            retry_after_seconds: RETRY_AFTER_SECONDS,
        })?;
        let reader = Arc::clone(&self.readers).acquire_owned().await;
        Ok(ScanPermit {
            _place: place,
            // The semaphore is never closed.
            _reader: reader.map_err(|_| ApiError::Internal)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_few_read_at_once_some_wait_and_others_are_refused() {
        let scans = ContentScans::default();
        let mut reading = Vec::new();
        for _ in 0..AT_ONCE {
            reading.push(
                scans
                    .permit()
                    .now_or_never()
                    .expect("a place")
                    .expect("a permit"),
            );
        }
        let mut waiting: Vec<_> = (0..WAITING_MAX).map(|_| Box::pin(scans.permit())).collect();
        for next in &mut waiting {
            assert!(next.now_or_never().is_none(), "it waits");
        }
        let refused = scans.permit().now_or_never().expect("no wait");
        assert!(matches!(refused, Err(ApiError::TooManyRequests { .. })));

        // One who has gone leaves its place, and one who has read lets the next one read.
        drop(waiting.pop());
        drop(reading.pop());
        reading.push(waiting.remove(0).await.expect("a permit"));
        let mut late = Box::pin(scans.permit());
        assert!((&mut late).now_or_never().is_none(), "it waits");
    }
}
