//! The counters of the rate limit: requests per minute, by key or by address.
//!
//! Each process counts in memory, which costs a request no query. Once a second it adds its counts
//! to those of the other processes in the database. So several processes together can exceed the
//! limit by at most the requests of one second. This module knows nothing of HTTP.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use holdfast_db::{Database, rates};
use holdfast_domain::error_chain::chain;

/// How often the processes exchange their counts.
const EXCHANGE_INTERVAL: Duration = Duration::from_secs(1);
/// How many subjects have a count of their own. All further subjects share one count, so that a
/// flood of made-up addresses cannot exhaust the memory.
const SUBJECTS_MAX: usize = 100_000;
/// How many proven secrets are remembered before older ones are forgotten.
const PROVEN_MAX: usize = 10_000;
/// The subject that the further subjects share.
const OVERFLOW_SUBJECT: &str = "newcomers";

/// Counts requests, and decides which ones exceed the limit.
#[derive(Debug)]
pub struct RateLimiter {
    per_minute: u32,
    window: Mutex<Window>,
    proven: Mutex<ProvenSecrets>,
}

/// The hashes of secrets that were valid when they were last used, in two generations. This says
/// nothing about whether they are valid now.
#[derive(Debug, Default)]
struct ProvenSecrets {
    newer: HashSet<[u8; 32]>,
    older: HashSet<[u8; 32]>,
}

/// The counts of one minute.
#[derive(Debug, Default)]
struct Window {
    /// The minute, counted from 1970.
    minute: i64,
    subjects: HashMap<String, SubjectCount>,
}

/// The requests of one subject.
#[derive(Clone, Copy, Debug, Default)]
struct SubjectCount {
    /// Requests to all processes, as of the last exchange.
    shared: u64,
    /// Requests to this process since then.
    local: u64,
}

/// The state of a subject's limit after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LimitStatus {
    /// Requests per minute.
    pub(crate) limit: u32,
    pub(crate) remaining: u64,
    /// When the minute ends, in seconds since 1970.
    pub(crate) resets_at: i64,
    /// The time until then, in seconds.
    pub(crate) retry_after_seconds: u32,
    /// Whether the request is within the limit.
    pub(crate) is_allowed: bool,
}

impl RateLimiter {
    /// Starts counting, and exchanges counts with other processes until `stop`. A limit of 0 turns
    /// counting off.
    pub fn begin(
        database: &Database,
        per_minute: u32,
        now: fn() -> DateTime<Utc>,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let limiter = Arc::new(Self {
            per_minute,
            window: Mutex::default(),
            proven: Mutex::default(),
        });
        if per_minute > 0 {
            tokio::spawn(run_exchange(
                Arc::clone(&limiter),
                database.clone(),
                now,
                stop,
            ));
        }
        limiter
    }

    /// Returns the counts of the current minute.
    fn window(&self, now: DateTime<Utc>) -> MutexGuard<'_, Window> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = now.timestamp().div_euclid(60);
        if window.minute != minute {
            *window = Window {
                minute,
                subjects: HashMap::new(),
            };
        }
        window
    }

    /// Counts a request of `subject`. Returns `None` if counting is off.
    pub(crate) fn count(&self, subject: &str, now: DateTime<Utc>) -> Option<LimitStatus> {
        if self.per_minute == 0 {
            return None;
        }
        let mut window = self.window(now);
        let is_full =
            window.subjects.len() >= SUBJECTS_MAX && !window.subjects.contains_key(subject);
        let subject = if is_full { OVERFLOW_SUBJECT } else { subject };
        let count = window.subjects.entry(subject.to_owned()).or_default();
        let limit = u64::from(self.per_minute);
        let is_allowed = count.shared + count.local < limit;
        if is_allowed {
            count.local += 1;
        }
        let remaining = limit.saturating_sub(count.shared + count.local);
        let resets_at = (window.minute + 1) * 60;
        let retry_after_seconds = u32::try_from(resets_at - now.timestamp())
            .unwrap_or(60)
            .clamp(1, 60);
        Some(LimitStatus {
            limit: self.per_minute,
            remaining,
            resets_at,
            retry_after_seconds,
            is_allowed,
        })
    }

    /// Takes a request back that [`RateLimiter::count`] has counted.
    pub(crate) fn uncount(&self, subject: &str, now: DateTime<Utc>) {
        if let Some(count) = self.window(now).subjects.get_mut(subject) {
            count.local = count.local.saturating_sub(1);
        }
    }

    /// Remembers the hash of a secret that was valid.
    pub(crate) fn prove(&self, hash: [u8; 32]) {
        let mut proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        if proven.newer.len() >= PROVEN_MAX && !proven.newer.contains(&hash) {
            proven.older = std::mem::take(&mut proven.newer);
        }
        proven.newer.insert(hash);
    }

    /// Returns whether a secret with this hash was valid before.
    pub(crate) fn is_proven(&self, hash: &[u8; 32]) -> bool {
        let proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        proven.newer.contains(hash) || proven.older.contains(hash)
    }

    /// Adds the counts of this process to those in the database, and reads the sums.
    async fn exchange(
        &self,
        database: &Database,
        now: fn() -> DateTime<Utc>,
    ) -> Result<(), holdfast_db::Error> {
        let (minute, subjects, local) = {
            let window = self.window(now());
            let counted = window.subjects.iter().filter(|(_, count)| count.local > 0);
            let (subjects, local): (Vec<String>, Vec<u64>) = counted
                .map(|(subject, count)| (subject.clone(), count.local))
                .unzip();
            (window.minute, subjects, local)
        };
        if subjects.is_empty() {
            return Ok(());
        }
        let added: Vec<i64> = local
            .iter()
            .map(|n| i64::try_from(*n).unwrap_or(i64::MAX))
            .collect();
        let sums = rates::add(database, minute, &subjects, &added).await?;
        let mut window = self.window(now());
        if window.minute != minute {
            return Ok(());
        }
        for (subject, local) in subjects.iter().zip(local) {
            if let Some(count) = window.subjects.get_mut(subject) {
                count.local = count.local.saturating_sub(local);
            }
        }
        for (subject, sum) in sums {
            if let Some(count) = window.subjects.get_mut(&subject) {
                count.shared = sum;
            }
        }
        Ok(())
    }
}

async fn run_exchange(
    limiter: Arc<RateLimiter>,
    database: Database,
    now: fn() -> DateTime<Utc>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EXCHANGE_INTERVAL) => {}
        }
        if let Err(error) = limiter.exchange(&database, now).await {
            // Each process continues with its own counts. No request is refused because of this.
            tracing::warn!(error = chain(&error), "cannot exchange request counts");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).expect("a time")
    }

    fn limiter(per_minute: u32) -> RateLimiter {
        RateLimiter {
            per_minute,
            window: Mutex::default(),
            proven: Mutex::default(),
        }
    }

    fn is_allowed(limiter: &RateLimiter, subject: &str) -> bool {
        limiter.count(subject, at(0)).expect("a status").is_allowed
    }

    #[test]
    fn each_subject_has_its_own_count_in_each_minute() {
        let limiter = limiter(2);
        let count = |subject, second| {
            let status = limiter.count(subject, at(second)).expect("a status");
            (
                status.is_allowed,
                status.remaining,
                status.resets_at,
                status.retry_after_seconds,
            )
        };
        assert_eq!(count("a", 119), (true, 1, 120, 1));
        assert_eq!(count("a", 120), (true, 1, 180, 60));
        assert_eq!(count("a", 121), (true, 0, 180, 59));
        assert_eq!(count("a", 150), (false, 0, 180, 30));
        assert_eq!(count("b", 150), (true, 1, 180, 30));
        assert_eq!(count("a", 180), (true, 1, 240, 60));
    }

    #[test]
    fn requests_to_other_processes_count_and_a_limit_of_0_is_none() {
        let limited = limiter(5);
        limited.window(at(0)).subjects.insert(
            "a".into(),
            SubjectCount {
                shared: 4,
                local: 0,
            },
        );
        assert!(is_allowed(&limited, "a"));
        assert!(!is_allowed(&limited, "a"));
        assert_eq!(limiter(0).count("a", at(0)), None);
    }

    #[test]
    fn a_bounded_number_of_proven_secrets_is_remembered() {
        let limiter = limiter(1);
        let hash = |number: usize| {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&number.to_le_bytes());
            hash
        };
        for number in 0..=2 * PROVEN_MAX {
            assert!(!limiter.is_proven(&hash(number)));
            limiter.prove(hash(number));
            assert!(limiter.is_proven(&hash(number)));
        }
        assert!(!limiter.is_proven(&hash(0)), "the oldest are forgotten");
        assert!(limiter.is_proven(&hash(PROVEN_MAX + 1)));
        let proven = limiter.proven.lock().expect("a lock");
        assert!(proven.newer.len() + proven.older.len() <= 2 * PROVEN_MAX);
    }

    #[test]
    fn a_flood_of_subjects_shares_one_count() {
        let limiter = limiter(1);
        for i in 0..SUBJECTS_MAX {
            assert!(is_allowed(&limiter, &i.to_string()));
        }
        assert!(is_allowed(&limiter, "one more"));
        assert!(!is_allowed(&limiter, "and another"));
        assert!(limiter.window(at(0)).subjects.len() <= SUBJECTS_MAX + 1);
    }
}
