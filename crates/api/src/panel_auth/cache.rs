//! What the panel has said about callers, for a short time.
//!
//! The keys are keyed hashes of credential, server and address, so that no secret is kept. An
//! answer counts from the moment when it was asked for. A refusal ends every answer that was asked
//! for before it arrived, even if that answer arrives later.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use holdfast_domain::panel::PanelServer;

/// How long answers are used while the panel does not answer.
pub(super) const GRACE: Duration = Duration::from_secs(60);
/// How long reads do not ask again after the panel did not answer, if they have an older answer.
const PAUSE: Duration = Duration::from_secs(5);
/// How many callers each generation remembers.
const GENERATION_MAX: usize = 4096;

/// A keyed hash of a credential, a server and an address.
pub(super) type CacheKey = [u8; 32];

/// An answer that grants access.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub(super) server: Arc<PanelServer>,
    /// When the panel was asked.
    pub(super) asked_at: Instant,
}

/// The answers that a process remembers.
#[derive(Debug, Default)]
pub(super) struct AnswerCache(Mutex<Answers>);

#[derive(Debug, Default)]
struct Answers {
    grants: Generations<Grant>,
    /// When the latest refusal arrived.
    refusals: Generations<Instant>,
    /// Until when the panel does not want to be asked.
    pauses: Generations<Instant>,
    /// When the panel last did not answer.
    failures: Generations<Instant>,
}

/// Entries in two generations. When the younger one is full, it replaces the older one, whose
/// entries are dropped.
#[derive(Debug)]
struct Generations<T> {
    young: HashMap<CacheKey, T>,
    old: HashMap<CacheKey, T>,
}

impl<T> Default for Generations<T> {
    fn default() -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }
}

impl<T> Generations<T> {
    fn get(&self, key: &CacheKey) -> Option<&T> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    fn insert(&mut self, key: CacheKey, value: T) {
        if self.young.len() >= GENERATION_MAX && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&key);
        self.young.insert(key, value);
    }

    fn remove(&mut self, key: &CacheKey) {
        self.young.remove(key);
        self.old.remove(key);
    }
}

impl AnswerCache {
    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns an answer that was asked for less than `max_age` ago.
    pub(super) fn get(&self, key: &CacheKey, max_age: Duration, now: Instant) -> Option<Grant> {
        let answers = self.answers();
        let grant = answers.grants.get(key)?;
        let is_young = now.saturating_duration_since(grant.asked_at) < max_age;
        is_young.then(|| grant.clone())
    }

    /// Returns an answer to use in place of a new one, if the panel has just not answered.
    pub(super) fn get_while_down(&self, key: &CacheKey, now: Instant) -> Option<Grant> {
        let failed_at = self.answers().failures.get(key).copied()?;
        let is_recent = now.saturating_duration_since(failed_at) < PAUSE;
        is_recent.then(|| self.get(key, GRACE, now))?
    }

    /// Returns how long the panel does not want to be asked.
    pub(super) fn pause(&self, key: &CacheKey, now: Instant) -> Option<Duration> {
        let until = self.answers().pauses.get(key).copied()?;
        until
            .checked_duration_since(now)
            .filter(|rest| !rest.is_zero())
    }

    /// Remembers that the panel grants access.
    pub(super) fn grant(&self, key: CacheKey, grant: Grant) {
        let mut answers = self.answers();
        let is_ended = answers
            .refusals
            .get(&key)
            .is_some_and(|at| *at >= grant.asked_at);
        let is_older = answers
            .grants
            .get(&key)
            .is_some_and(|known| known.asked_at > grant.asked_at);
        if !is_ended && !is_older {
            answers.grants.insert(key, grant);
            answers.failures.remove(&key);
        }
    }

    /// Remembers that the panel refuses access, and for how long it does not want to be asked.
    pub(super) fn refuse(&self, key: CacheKey, pause: Option<Duration>, now: Instant) {
        let mut answers = self.answers();
        answers.grants.remove(&key);
        answers.failures.remove(&key);
        answers.refusals.insert(key, now);
        match pause {
            Some(pause) => answers.pauses.insert(key, now + pause),
            None => answers.pauses.remove(&key),
        }
    }

    /// Remembers that the panel did not answer.
    pub(super) fn fail(&self, key: CacheKey, now: Instant) {
        let mut answers = self.answers();
        // Of callers without an answer there is nothing to use meanwhile.
        if answers.grants.get(&key).is_some() {
            answers.failures.insert(key, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use holdfast_domain::{ServerAccess, ServerId};

    use super::*;

    const KEY: CacheKey = [1; 32];
    const AGE: Duration = Duration::from_secs(10);

    fn grant(asked_at: Instant) -> Grant {
        let server = PanelServer {
            id: ServerId(Uuid::nil()),
            access: ServerAccess::Owner,
            conflict: None,
            backup_limit: 1,
        };
        Grant {
            server: Arc::new(server),
            asked_at,
        }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_answer_ages_from_the_moment_when_it_was_asked_for() {
        let (cache, start) = (AnswerCache::default(), Instant::now());
        cache.grant(KEY, grant(start));
        assert!(cache.get(&KEY, AGE, start + seconds(9)).is_some());
        assert!(cache.get(&KEY, AGE, start + seconds(10)).is_none());
        assert!(cache.get(&KEY, Duration::ZERO, start).is_none());
        assert!(cache.get(&[2; 32], AGE, start).is_none());
        // An answer that is overtaken by a newer one does not replace it.
        cache.grant(KEY, grant(start + seconds(8)));
        cache.grant(KEY, grant(start + seconds(5)));
        assert!(cache.get(&KEY, AGE, start + seconds(17)).is_some());
    }

    #[test]
    fn a_refusal_ends_every_answer_that_was_asked_for_before_it() {
        let (cache, start) = (AnswerCache::default(), Instant::now());
        cache.grant(KEY, grant(start));
        cache.refuse(KEY, None, start + seconds(2));
        assert!(cache.get(&KEY, AGE, start + seconds(2)).is_none());
        // Asked for before the refusal arrived, and answered after it.
        cache.grant(KEY, grant(start + seconds(1)));
        assert!(cache.get(&KEY, GRACE, start + seconds(3)).is_none());
        cache.grant(KEY, grant(start + seconds(2)));
        assert!(cache.get(&KEY, GRACE, start + seconds(3)).is_none());
        cache.grant(KEY, grant(start + seconds(3)));
        assert!(cache.get(&KEY, AGE, start + seconds(4)).is_some());
    }

    #[test]
    fn an_older_answer_is_used_for_one_minute_while_the_panel_does_not_answer() {
        let (cache, start) = (AnswerCache::default(), Instant::now());
        cache.fail(KEY, start);
        assert!(cache.get_while_down(&KEY, start).is_none());
        cache.grant(KEY, grant(start));
        assert!(cache.get_while_down(&KEY, start + seconds(20)).is_none());
        cache.fail(KEY, start + seconds(20));
        assert!(cache.get_while_down(&KEY, start + seconds(24)).is_some());
        assert!(cache.get_while_down(&KEY, start + seconds(25)).is_none());
        cache.fail(KEY, start + seconds(58));
        assert!(cache.get_while_down(&KEY, start + seconds(59)).is_some());
        assert!(cache.get_while_down(&KEY, start + seconds(60)).is_none());
        assert!(cache.get(&KEY, GRACE, start + seconds(60)).is_none());
    }

    #[test]
    fn a_panel_that_was_asked_too_often_is_left_alone() {
        let (cache, start) = (AnswerCache::default(), Instant::now());
        cache.grant(KEY, grant(start));
        cache.refuse(KEY, Some(seconds(30)), start);
        assert!(cache.get(&KEY, AGE, start).is_none());
        assert_eq!(cache.pause(&KEY, start + seconds(10)), Some(seconds(20)));
        assert_eq!(cache.pause(&KEY, start + seconds(30)), None);
        cache.refuse(KEY, None, start + seconds(1));
        assert_eq!(cache.pause(&KEY, start + seconds(2)), None);
    }

    #[test]
    fn a_flood_of_callers_uses_bounded_memory() {
        let (cache, start) = (AnswerCache::default(), Instant::now());
        for number in 0..3 * GENERATION_MAX {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&number.to_le_bytes());
            cache.grant(key, grant(start));
        }
        let answers = cache.answers();
        let length = answers.grants.young.len() + answers.grants.old.len();
        assert!(length <= 2 * GENERATION_MAX, "{length}");
    }
}
