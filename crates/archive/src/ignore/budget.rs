//! Bounds the time that a walk spends on its patterns.

use std::time::Duration;

use crate::Error;

/// The time that any list may take.
const FREE: Duration = Duration::from_secs(60);
/// The time for each entry after that. Lists that people write take a hundredth of it.
const PER_ENTRY: Duration = Duration::from_millis(1);

/// The time that a walk has spent on its patterns.
#[derive(Debug, Default)]
pub(super) struct Budget {
    spent: Duration,
    entries: u32,
}

impl Budget {
    /// Adds the time that one entry took.
    ///
    /// # Errors
    /// [`Error::SlowPatterns`] if it was a minute in all, and a millisecond for each entry.
    pub(super) fn spend(&mut self, time: Duration) -> Result<(), Error> {
        self.spent += time;
        self.entries = self.entries.saturating_add(1);
        if self.spent > FREE && self.spent > PER_ENTRY.saturating_mul(self.entries) {
            return Err(Error::SlowPatterns {
                seconds: self.spent.as_secs(),
                entries: self.entries,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lists_that_take_long_for_each_entry_are_ended() {
        let spend = |time, entries| {
            let mut budget = Budget::default();
            (0..entries).try_for_each(|_| budget.spend(time))
        };
        let ended = spend(Duration::from_millis(100), 601);
        assert!(matches!(
            ended,
            Err(Error::SlowPatterns {
                seconds: 60,
                entries: 601
            })
        ));
        assert!(spend(Duration::from_millis(100), 600).is_ok());
        assert!(spend(Duration::from_micros(900), 1_000_000).is_ok());
    }
}
