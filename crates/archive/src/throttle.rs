//! Holds reading to a number of bytes per second, so that a backup leaves the disk to the server.

use std::time::{Duration, Instant};

use crate::{Control, Error};

/// A budget of bytes that fills with time.
pub(crate) struct Throttle {
    bytes_per_second: Option<u64>,
    started: Instant,
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

    /// Accounts for bytes just read, and waits until they are paid for.
    pub(crate) fn spend(&mut self, bytes: u64, control: &Control) -> Result<(), Error> {
        const SLICE: Duration = Duration::from_millis(50);
        let Some(limit) = self.bytes_per_second else {
            return Ok(());
        };
        self.read += bytes;
        #[expect(clippy::cast_precision_loss, reason = "a pause needs no exact bytes")]
        let due = Duration::from_secs_f64(self.read as f64 / limit as f64);
        loop {
            let passed = self.started.elapsed();
            let Some(wait) = due.checked_sub(passed).filter(|wait| !wait.is_zero()) else {
                // Time in which nothing was read is no credit for a burst beyond a second.
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
