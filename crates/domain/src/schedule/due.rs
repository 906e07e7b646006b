//! The due times of a schedule: which one runs now, and which ones were missed.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};

use super::{Cron, ScheduleId, Timezone};

/// The maximum jitter: a day.
pub const JITTER_MAX_SECONDS: u32 = 86_400;

/// A run that begins this much too late is missed, if the schedule skips missed runs.
const LATE_AFTER: TimeDelta = TimeDelta::minutes(5);

/// The maximum number of missed due times that are recorded after the first one.
const MISSED_MAX: usize = 1500;

/// Due times that are older than this are not recorded.
const MISSED_AGE_MAX: TimeDelta = TimeDelta::days(31);

/// What happens to a due time at which no service was running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissedPolicy {
    /// The latest of them runs as soon as possible. The others are recorded as missed.
    #[default]
    RunOnce,
    /// All of them are recorded as missed.
    Skip,
}

impl MissedPolicy {
    /// Every policy.
    pub const ALL: [Self; 2] = [Self::RunOnce, Self::Skip];

    /// Returns the policy's name for clients and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RunOnce => "run_once",
            Self::Skip => "skip",
        }
    }

    /// Parses a policy's name, with an underscore or a hyphen.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.replace('-', "_");
        Self::ALL.into_iter().find(|p| p.as_str() == text)
    }
}

/// When a schedule is due.
#[derive(Clone, Debug)]
pub struct Timing {
    /// The expression.
    pub cron: Cron,
    /// The time zone that the expression is evaluated in.
    pub timezone: Timezone,
    /// The longest delay of a run after its due time, in seconds.
    pub jitter_seconds: u32,
    /// What happens to missed due times.
    pub missed: MissedPolicy,
}

impl Timing {
    /// Returns the first due time after `after`, and when its run begins.
    pub fn next(
        &self,
        id: ScheduleId,
        after: DateTime<Utc>,
    ) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        let due = self.cron.next_after(after, self.timezone)?;
        Some((due, due + self.delay(id)))
    }

    /// Returns the time between a due time and the next one.
    pub fn interval(&self, due: DateTime<Utc>) -> Option<TimeDelta> {
        Some(self.cron.next_after(due, self.timezone)? - due)
    }

    /// Returns the delay of the schedule's runs: 0 to `jitter_seconds`, the same every time, and
    /// spread evenly over the schedules.
    pub fn delay(&self, id: ScheduleId) -> TimeDelta {
        let digest = Sha256::digest(id.0.to_be_bytes());
        let hash = digest
            .iter()
            .take(8)
            .fold(0u64, |n, &b| n << 8 | u64::from(b));
        let seconds = hash % (u64::from(self.jitter_seconds) + 1);
        // At most a day.
        TimeDelta::seconds(i64::try_from(seconds).unwrap_or_default())
    }
}

/// The due times of a schedule up to now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DueTimes {
    /// The due time that runs now.
    pub run: Option<DateTime<Utc>>,
    /// The missed due times that are recorded, earliest first: at most 1,501. The first one is the
    /// first of all; the others are the latest, of at most 31 days.
    pub missed: Vec<DateTime<Utc>>,
    /// The next due time, and when its run begins.
    pub next: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

/// Decides about the due times from `due`, the schedule's next one, until `now`.
///
/// `is_busy` says whether the schedule's last run has not ended yet. Then no run begins, and its
/// due time is recorded as missed.
pub fn due_times(
    id: ScheduleId,
    timing: &Timing,
    due: DateTime<Utc>,
    now: DateTime<Utc>,
    is_busy: bool,
) -> DueTimes {
    let delay = timing.delay(id);
    let mut reached = VecDeque::new();
    let mut next = Some((due, due + delay));
    while let Some((due, begin)) = next
        && begin <= now
    {
        if reached.len() > MISSED_MAX {
            // The first one says since when runs were missed.
            reached.remove(1);
        }
        reached.push_back(due);
        next = timing.next(id, due.max(now - MISSED_AGE_MAX));
    }
    let is_late = |due: DateTime<Utc>| now - (due + delay) > LATE_AFTER;
    let runs = |due: &DateTime<Utc>| {
        !is_busy && (timing.missed == MissedPolicy::RunOnce || !is_late(*due))
    };
    let run = reached.pop_back_if(|due| runs(due));
    DueTimes {
        run,
        missed: reached.into(),
        next,
    }
}

#[cfg(test)]
mod tests;
