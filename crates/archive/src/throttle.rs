//! Limits the bytes read per second, so that a backup does not slow down the server.

use std::time::{Duration, Instant};

use crate::{Control, Error};

/// A read limit.
pub(crate) struct Throttle {
    bytes_per_second: Option<u64>,
    started: Instant,
    /// Bytes read since `started`.
    read: u64,
}

impl Throttle {
    pub(crate) fn new(bytes_per_second: Option<u64>) -> Self {
        let bytes_per_second = bytes_per_second.filter(|&limit| limit > 0);
        Self {
            bytes_per_second,
            started: Instant::now(),
            read: 0,
        }
    }

    /// Counts bytes that were read, and waits until the limit allows them.
    pub(crate) fn spend(&mut self, bytes: u64, control: &Control) -> Result<(), Error> {
        const SLICE: Duration = Duration::from_millis(50);
        let Some(limit) = self.bytes_per_second else {
            return Ok(());
        };
        self.read += bytes;
        #[expect(
            clippy::cast_precision_loss,
            reason = "the pause does not have to be exact"
        )]
        let due = Duration::from_secs_f64(self.read as f64 / limit as f64);
        loop {
            let passed = self.started.elapsed();
            let Some(wait) = due.checked_sub(passed).filter(|wait| !wait.is_zero()) else {
                // Idle time allows a burst of at most one second.
                if passed > due + Duration::from_secs(1) {
                    self.started = Instant::now();
                    self.read = 0;
                }
                return Ok(());
            };
            control.check()?;
            std::thread::sleep(wait.min(SLICE));
        }
    }
}
