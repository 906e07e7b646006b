//! Delays before retries.

use std::time::Duration;

/// Returns the delay after the failed job attempt `attempt` (1, 2, …): 1 s, 2 s, 4 s, …, at most
/// 60 s. `jitter` (0.0 to 1.0) shortens it by up to half.
///
/// The caller passes a random `jitter`, so that workers that failed together do not retry together.
///
/// ```
/// use std::time::Duration;
///
/// use holdfast_domain::retry::backoff;
///
/// assert_eq!(backoff(3, 0.0), Duration::from_secs(4));
/// assert_eq!(backoff(3, 1.0), Duration::from_secs(2));
/// ```
pub fn backoff(attempt: u32, jitter: f64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(6);
    let full = Duration::from_secs(1 << doublings).min(Duration::from_secs(60));
    full.mul_f64(1.0 - 0.5 * jitter.clamp(0.0, 1.0))
}

/// Returns the delay after the failed webhook delivery `attempt` (1, 2, …): 1 s, 2 s, 4 s, …, at
/// most an hour. `jitter` (0.0 to 1.0) shortens it by up to half.
pub fn redelivery_delay(attempt: u32, jitter: f64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(12);
    let full = Duration::from_secs(1 << doublings).min(Duration::from_secs(3600));
    full.mul_f64(1.0 - 0.5 * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_a_maximum_and_jitter_at_most_halves_it() {
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
    fn a_webhook_delivery_is_retried_after_at_most_an_hour() {
        for (attempt, jitter, expected_ms) in [
            (1, 0.0, 1000),
            (1, 1.0, 500),
            (8, 0.0, 128_000),
            (12, 0.0, 2_048_000),
            (13, 0.0, 3_600_000),
            (u32::MAX, 0.0, 3_600_000),
        ] {
            assert_eq!(redelivery_delay(attempt, jitter).as_millis(), expected_ms);
        }
    }
}
