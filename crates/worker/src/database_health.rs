//! Whether the database answers. Logs an outage once at its start, then every minute, and once at
//! its end, however many queries fail in between.
//!
//! It also knows whether an expired lease proves that its worker is gone. During an outage, no
//! worker can extend its lease. After a long one, workers get time to extend their leases first.
//! Otherwise finished archives would be thrown away.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use holdfast_db::Error;
use holdfast_domain::error_chain::chain;

/// Time between two log messages about the same outage.
const REMINDER_INTERVAL: Duration = Duration::from_secs(60);
/// How long other workers may need to notice that the database is back. They wait up to five
/// seconds for a connection, and retry within five.
const RECOVERY_GRACE: Duration = Duration::from_secs(10);

/// The state of the database as this worker has seen it.
#[derive(Debug)]
pub struct DatabaseHealth(Mutex<State>);

#[derive(Debug)]
struct State {
    /// The current outage.
    outage: Option<Outage>,
    /// How long the last outage lasted.
    last_outage: Duration,
    /// When the last outage ended.
    recovered_at: Instant,
}

#[derive(Debug)]
struct Outage {
    began_at: Instant,
    logged_at: Instant,
}

impl Default for DatabaseHealth {
    /// Starts as if a long outage had just ended, since a new worker does not know whether one did.
    fn default() -> Self {
        Self(Mutex::new(State {
            outage: None,
            last_outage: Duration::MAX,
            recovered_at: Instant::now(),
        }))
    }
}

impl DatabaseHealth {
    /// Records a failed query; `what` says what could not be done. Errors that are not an outage
    /// are logged every time.
    pub(crate) fn record_failure(&self, what: &str, error: &Error) {
        if !error.is_temporary() {
            tracing::error!(error = chain(error), "{what}");
            return;
        }
        let now = Instant::now();
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut state.outage {
            None => {
                state.outage = Some(Outage {
                    began_at: now,
                    logged_at: now,
                });
                tracing::warn!(error = chain(error), "the database is unavailable: {what}");
            }
            Some(outage) if now - outage.logged_at >= REMINDER_INTERVAL => {
                outage.logged_at = now;
                let away_seconds = (now - outage.began_at).as_secs();
                tracing::warn!(
                    away_seconds,
                    error = chain(error),
                    "the database is still unavailable: {what}"
                );
            }
            Some(_) => {
                tracing::debug!(error = chain(error), "the database is unavailable: {what}");
            }
        }
    }

    /// Records a successful write.
    pub(crate) fn record_success(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outage) = state.outage.take() {
            state.last_outage = outage.began_at.elapsed();
            state.recovered_at = Instant::now();
            let away_ms = u64::try_from(state.last_outage.as_millis()).unwrap_or(u64::MAX);
            tracing::info!(away_ms, "the database is available again");
        }
    }

    /// Returns whether jobs with an expired lease may be rescued, because their workers are gone.
    /// During an outage, and right after a long one, such a worker may still run: it could not
    /// extend its lease.
    pub(crate) fn may_rescue(&self, lease: Duration) -> bool {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let was_short = state.last_outage < lease / 2;
        let has_settled = state.recovered_at.elapsed() >= RECOVERY_GRACE.min(lease);
        state.outage.is_none() && (was_short || has_settled)
    }
}
