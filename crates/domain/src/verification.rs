//! Spreads scheduled verifications evenly over the interval.

use std::time::Duration;

/// The shortest delay between two batches of a disk.
const DELAY_MIN: Duration = Duration::from_secs(60);
/// The longest delay. It is limited because new archives, which appear meanwhile, may need a
/// shorter one.
const DELAY_MAX: Duration = Duration::from_secs(3600);
/// The maximum number of verifications in a batch.
const BATCH_MAX: u32 = 10;

/// The next verifications of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerificationBatch {
    /// How many to start now, at most.
    pub count: u32,
    /// The delay until the next batch.
    pub delay: Duration,
}

/// Returns the next batch of a disk with `archives`, each to be verified once per `interval`.
///
/// Batches are spread evenly. Otherwise, backups that were created in the same night would all be
/// due at the same time again. The rate is twice the necessary one, so that delays are made up.
///
/// ```
/// use std::time::Duration;
///
/// use holdfast_domain::verification::next_batch;
///
/// let month = Duration::from_secs(30 * 86_400);
/// let batch = next_batch(720, month);
/// assert_eq!((batch.count, batch.delay), (1, Duration::from_secs(1800)));
/// ```
pub fn next_batch(archives: u64, interval: Duration) -> VerificationBatch {
    let starts = u128::from(archives.max(1)) * 2;
    let spacing_ms = interval.as_millis() / starts;
    let delay_min_ms = DELAY_MIN.as_millis();
    if spacing_ms >= delay_min_ms {
        let delay = u64::try_from(spacing_ms).map_or(DELAY_MAX, Duration::from_millis);
        return VerificationBatch {
            count: 1,
            delay: delay.min(DELAY_MAX),
        };
    }
    let count = delay_min_ms.div_ceil(spacing_ms.max(1));
    VerificationBatch {
        count: u32::try_from(count).map_or(BATCH_MAX, |count| count.min(BATCH_MAX)),
        delay: DELAY_MIN,
    }
}

/// Returns the number of archives above which [`next_batch`] no longer changes, so that a caller
/// can stop counting there.
pub fn archive_count_cap(interval: Duration) -> u64 {
    let cap = interval.as_millis() * u128::from(BATCH_MAX) / (2 * DELAY_MIN.as_millis());
    u64::try_from(cap).map_or(u64::MAX, |cap| cap.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verifications_are_spread_over_half_the_interval() {
        let month = Duration::from_secs(30 * 86_400);
        for (archives, count, delay_seconds) in [
            (0, 1, 3600),
            (1, 1, 3600),
            (720, 1, 1800),
            (21_600, 1, 60),
            (43_200, 2, 60),
            (1_000_000, 10, 60),
            (u64::MAX, 10, 60),
        ] {
            let expected = VerificationBatch {
                count,
                delay: Duration::from_secs(delay_seconds),
            };
            assert_eq!(next_batch(archives, month), expected, "{archives}");
        }
    }

    #[test]
    fn archives_above_the_cap_do_not_change_the_batch() {
        for seconds in [1, 59, 60, 61, 86_400, 30 * 86_400, 3650 * 86_400] {
            let interval = Duration::from_secs(seconds);
            let cap = archive_count_cap(interval);
            let uncapped = next_batch(u64::MAX, interval);
            assert_eq!(next_batch(cap, interval), uncapped, "{seconds} s");
        }
        assert_eq!(archive_count_cap(Duration::from_secs(30 * 86_400)), 216_001);
    }
}
