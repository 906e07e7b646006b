//! Whether the panel answers. While it does not, callbacks wait, and one at a time is tried.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use holdfast_domain::error_chain::chain;
use holdfast_domain::retry;

use super::client::PanelError;

/// The longest time between two attempts while the panel does not answer.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// The state of the panel as this worker has seen it.
#[derive(Debug, Default)]
pub(super) struct PanelHealth(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    outage: Option<Outage>,
    last_success: Option<Instant>,
}

#[derive(Debug)]
struct Outage {
    began_at: Instant,
    failures: u32,
    paused_until: Instant,
}

/// What a failure is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailureScope {
    /// One request; others may succeed.
    Request,
    /// The whole panel, which is tried again after this pause.
    Panel(Duration),
}

impl PanelHealth {
    /// Returns how many of `free` requests may be sent now, while `sending` others are on their
    /// way.
    pub(super) fn allowed(&self, free: usize, sending: usize, now: Instant) -> usize {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &state.outage {
            None => free,
            Some(outage) if sending == 0 && now >= outage.paused_until => 1,
            Some(_) => 0,
        }
    }

    /// Records that the panel has answered.
    pub(super) fn record_success(&self, now: Instant) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.last_success = Some(now);
        if let Some(outage) = state.outage.take() {
            let away_seconds = now.saturating_duration_since(outage.began_at).as_secs();
            tracing::info!(away_seconds, "the panel takes reports again");
        }
    }

    /// Records the failure of a request that was sent at `sent_at`. Logs the beginning of an
    /// outage.
    pub(super) fn record_failure(
        &self,
        error: &PanelError,
        sent_at: Instant,
        now: Instant,
        jitter: f64,
    ) -> FailureScope {
        if error.is_of_request() {
            self.record_success(now);
            return FailureScope::Request;
        }
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A panel that has answered another request meanwhile is not away.
        if state.last_success.is_some_and(|success| success > sent_at) {
            return FailureScope::Request;
        }
        let outage = state.outage.get_or_insert_with(|| {
            tracing::warn!(
                reason = error.reason(),
                error = chain(error),
                "the panel cannot be told how backups and restores ended; they wait, and are \
                 reported as soon as it answers"
            );
            Outage {
                began_at: now,
                failures: 0,
                paused_until: now,
            }
        });
        // Requests that were on their way together are one failure.
        if sent_at >= outage.paused_until || outage.failures == 0 {
            outage.failures = outage.failures.saturating_add(1);
            let pause = retry::redelivery_delay(outage.failures, jitter).min(PAUSE_MAX);
            outage.paused_until = now + pause;
        }
        FailureScope::Panel(outage.paused_until.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away() -> PanelError {
        PanelError::NotThePanel { status: 502 }
    }

    #[test]
    fn one_request_at_a_time_is_sent_while_the_panel_is_away() {
        let health = PanelHealth::default();
        let mut now = Instant::now();
        assert_eq!(health.allowed(8, 3, now), 8);
        let second = FailureScope::Panel(Duration::from_secs(1));
        assert_eq!(health.record_failure(&away(), now, now, 0.0), second);
        // Another request that was on its way does not lengthen the pause.
        assert_eq!(health.record_failure(&away(), now, now, 0.0), second);
        assert_eq!(health.allowed(8, 0, now), 0);
        for seconds in [2, 4, 8, 16, 30, 30] {
            now += Duration::from_secs(30);
            assert_eq!(health.allowed(8, 1, now), 0);
            assert_eq!(health.allowed(8, 0, now), 1);
            let pause = FailureScope::Panel(Duration::from_secs(seconds));
            assert_eq!(health.record_failure(&away(), now, now, 0.0), pause);
        }
        health.record_success(now);
        assert_eq!(health.allowed(8, 0, now), 8);
    }

    #[test]
    fn a_request_that_fails_while_others_succeed_does_not_stop_them() {
        let health = PanelHealth::default();
        let sent_at = Instant::now();
        let now = sent_at + Duration::from_secs(1);
        health.record_success(now);
        let scope = health.record_failure(&away(), sent_at, now, 0.0);
        assert_eq!(scope, FailureScope::Request);
        assert_eq!(health.allowed(8, 0, now), 8);
        let refused = PanelError::Refused {
            status: 422,
            detail: String::new(),
        };
        let scope = health.record_failure(&refused, now, now, 0.0);
        assert_eq!(scope, FailureScope::Request);
    }
}
