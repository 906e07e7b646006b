//! Whether the database answers: told when it stops, now and then while it is away, and when it is back,
//! however many ask in vain meanwhile.
//!
//! It also knows when leases that have run out prove something. Those that ran out while nobody could
//! extend them don't: whoever holds them gets the time to come back first, or a finished archive would be
//! thrown away because the database was.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use holdfast_db::Error;
use holdfast_domain::error_chain::chain;

/// How often it is told that the database is still away.
const REMIND: Duration = Duration::from_secs(60);
/// How long others may take to notice that the database is back: they wait up to five seconds for a
/// connection, and try again within five.
const GRACE: Duration = Duration::from_secs(10);

/// What this worker has seen of its database.
#[derive(Debug)]
pub struct Outage(Mutex<State>);

#[derive(Debug)]
struct State {
    /// When the database stopped answering, and when that was last told.
    away: Option<(Instant, Instant)>,
    /// How long it was away the last time.
    lasted: Duration,
    /// Since when it answers.
    back: Instant,
}

impl Default for Outage {
    /// One that is just over: a worker that begins has not seen what was before.
    fn default() -> Self {
        Self(Mutex::new(State {
            away: None,
            lasted: Duration::MAX,
            back: Instant::now(),
        }))
    }
}

impl Outage {
    /// The database did not do what was asked of it, whose lack is `what`. Other failures than an
    /// outage are told each time.
    pub(crate) fn failed(&self, what: &str, error: &Error) {
        if !error.may_pass() {
            tracing::error!(error = chain(error), "{what}");
            return;
        }
        let now = Instant::now();
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut state.away {
            None => {
                state.away = Some((now, now));
                tracing::warn!(error = chain(error), "the database is away: {what}");
            }
            Some((since, told)) if now - *told >= REMIND => {
                *told = now;
                let away_seconds = (now - *since).as_secs();
                tracing::warn!(
                    away_seconds,
                    error = chain(error),
                    "the database is still away: {what}"
                );
            }
            Some(_) => tracing::debug!(error = chain(error), "the database is away: {what}"),
        }
    }

    /// The database has taken a write.
    pub(crate) fn over(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, _)) = state.away.take() {
            state.lasted = since.elapsed();
            state.back = Instant::now();
            let away_ms = u64::try_from(state.lasted.as_millis()).unwrap_or(u64::MAX);
            tracing::info!(away_ms, "the database is back");
        }
    }

    /// Says whether a lease that has run out means that its holder is gone: not while the database is
    /// away, nor right after it was away for so long that whoever lives could not extend it.
    pub(crate) fn leases_count(&self, lease: Duration) -> bool {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let was_short = state.lasted < lease / 2;
        state.away.is_none() && (was_short || state.back.elapsed() >= GRACE.min(lease))
    }
}
