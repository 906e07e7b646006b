//! How long to wait before something that failed is tried again.

use std::time::Duration;

/// Returns the wait before the next attempt after `attempt` (1, 2, …) failed: 1 s, 2 s, 4 s … at
/// most 60 s, of which up to half is taken off by `jitter`.
///
/// `jitter` lies in 0.0 ..= 1.0 and comes from the caller, so that many workers that failed
/// together do not come back together.
pub fn backoff(attempt: u32, jitter: f64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(6);
    let full = Duration::from_secs(1 << doublings).min(Duration::from_secs(60));
    full.mul_f64(1.0 - 0.5 * jitter.clamp(0.0, 1.0))
}

/// Returns the wait before a webhook is told again what could not be delivered at its `attempt` (1, 2, …): 1 s, 2 s,
/// 4 s … at most an hour, of which up to half is taken off by `jitter`.
pub fn redelivery(attempt: u32, jitter: f64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(12);
    let full = Duration::from_secs(1 << doublings).min(Duration::from_secs(3600));
    full.mul_f64(1.0 - 0.5 * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_is_bounded_and_jitter_takes_at_most_half() {
        for (attempt, jitter, expected_ms) in [
            (1, 0.0, 1000),
            (2, 0.0, 2000),
            (3, 0.0, 4000),
            (3, 1.0, 2000),
            (7, 0.0, 60_000),
            (4_000_000, 0.0, 60_000),
            (1, 9.0, 500),
        ] {
            assert_eq!(
                backoff(attempt, jitter).as_millis(),
                expected_ms,
                "attempt {attempt}, jitter {jitter}"
            );
        }
    }

    #[test]
    fn a_webhook_is_told_again_after_up_to_an_hour() {
        for (attempt, jitter, expected_ms) in [
            (1, 0.0, 1000),
            (1, 1.0, 500),
            (8, 0.0, 128_000),
            (12, 0.0, 2_048_000),
            (13, 0.0, 3_600_000),
            (u32::MAX, 0.0, 3_600_000),
        ] {
            assert_eq!(redelivery(attempt, jitter).as_millis(), expected_ms);
        }
    }
}
