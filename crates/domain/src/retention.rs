//! Which backups of a server stay and which go, each with its reason.
//!
//! What is locked, being made or in use never goes, nor does the newest that completed, nor the newest
//! that is good: one that is damaged or missing protects nobody, so it never takes the place of one
//! that does.

mod keep;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc};

use crate::id::BackupId;

/// How long backups stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// How old a backup may get, in days; 0 means any age.
    pub days: u32,
    /// What decides about good backups in place of `days`.
    pub thinning: KeepRules,
    /// Down to how many creating and completed backups the oldest ones go; `None` leaves that alone.
    pub rotate_to: Option<u32>,
}

/// How backups are thinned out, as users of restic know it: a backup stays that any of these keeps. All 0 means
/// that nothing is thinned out. Days, weeks and months are those of UTC, weeks begin on Monday.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeepRules {
    /// Everything that is younger than so many days.
    pub within_days: u32,
    /// The newest ones.
    pub last: u32,
    /// The newest of each of the last so many hours that have one.
    pub hourly: u32,
    /// The same of days.
    pub daily: u32,
    /// The same of weeks.
    pub weekly: u32,
    /// The same of months.
    pub monthly: u32,
}

impl Policy {
    /// Returns the policy of a server: its own word about days or rules stands in place of everything that the
    /// settings say. With rules of its own, days are about what those don't decide.
    #[must_use]
    pub fn of_server(
        self,
        own_days: Option<u32>,
        own_rules: Option<KeepRules>,
        rotate_to: Option<u32>,
    ) -> Self {
        let thinning = match (own_rules, own_days) {
            (Some(rules), _) => rules,
            (None, Some(_)) => KeepRules::default(),
            (None, None) => self.thinning,
        };
        Self {
            days: own_days.unwrap_or(self.days),
            thinning,
            rotate_to,
        }
    }
}

/// What is known of a backup. One that is being deleted is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which one.
    pub id: BackupId,
    /// When it was asked for, whose state of the server it holds.
    pub created_at: DateTime<Utc>,
    /// Where it stands.
    pub outcome: CandidateState,
    /// Whether it is kept from deletion.
    pub is_locked: bool,
    /// Whether a job is working with it.
    pub is_in_use: bool,
}

/// Where a backup stands, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CandidateState {
    /// Waiting or being archived.
    Creating,
    /// It has an archive.
    Completed {
        /// Whether nothing is known against the archive: it was neither found damaged nor missing.
        is_good: bool,
    },
    /// It has none.
    Failed,
}

impl Candidate {
    /// Says whether the server could be restored from it, as far as anybody knows.
    pub fn is_good(&self) -> bool {
        self.outcome == CandidateState::Completed { is_good: true }
    }

    fn is_completed(&self) -> bool {
        matches!(self.outcome, CandidateState::Completed { .. })
    }

    fn is_counted(&self) -> bool {
        self.outcome != CandidateState::Failed
    }
}

/// What becomes of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RetentionVerdict {
    /// It stays.
    Keep(KeepReason),
    /// It goes.
    Remove(RemoveReason),
}

/// Why a backup stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeepReason {
    /// It is still being created.
    Creating,
    /// It is locked.
    Locked,
    /// A job is working with it.
    InUse,
    /// It is the newest that completed.
    Newest,
    /// It is the newest that is good.
    NewestGood,
    /// Nothing says how old it may get.
    Forever,
    /// It is no older than so many days.
    Young(u32),
    /// Rules keep it.
    Rules(BTreeSet<KeepRule>),
}

/// A rule that keeps backups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeepRule {
    /// `keep_within_days`.
    Within,
    /// `keep_last`.
    Last,
    /// `keep_hourly`.
    Hourly,
    /// `keep_daily`.
    Daily,
    /// `keep_weekly`.
    Weekly,
    /// `keep_monthly`.
    Monthly,
}

/// Why a backup goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoveReason {
    /// It is older than so many days.
    Old(u32),
    /// It failed, and that is longer ago than so many days.
    FailedLongAgo(u32),
    /// It is good, but no rule keeps it.
    Thinned,
    /// The server has more backups than this, and it is the oldest of those that may go.
    OverLimit(u32),
}

impl fmt::Display for RetentionVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep(kept) => kept.fmt(f),
            Self::Remove(gone) => gone.fmt(f),
        }
    }
}

impl fmt::Display for KeepReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Creating => f.write_str("it is being created"),
            Self::Locked => f.write_str("it is locked"),
            Self::InUse => f.write_str("a job is working with it"),
            Self::Newest => f.write_str("it is the newest that completed"),
            Self::NewestGood => f.write_str("it is the newest that is good"),
            Self::Forever => f.write_str("backups may get any age"),
            Self::Young(days) => write!(f, "it is not older than {days} days"),
            Self::Rules(rules) => {
                let names: Vec<&str> = rules.iter().map(|rule| rule.as_str()).collect();
                write!(f, "kept by {}", names.join(", "))
            }
        }
    }
}

impl fmt::Display for RemoveReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Old(days) => write!(f, "it is older than {days} days"),
            Self::FailedLongAgo(days) => write!(f, "it failed more than {days} days ago"),
            Self::Thinned => f.write_str("no keep rule keeps it"),
            Self::OverLimit(limit) => write!(
                f,
                "it is the oldest, and the server has more than {limit} backups"
            ),
        }
    }
}

impl KeepRule {
    /// Returns the name of its setting.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Within => "keep_within_days",
            Self::Last => "keep_last",
            Self::Hourly => "keep_hourly",
            Self::Daily => "keep_daily",
            Self::Weekly => "keep_weekly",
            Self::Monthly => "keep_monthly",
        }
    }
}

/// Decides about all backups of one server: each with its verdict, newest first.
pub fn decide(
    candidates: &[Candidate],
    policy: &Policy,
    now: DateTime<Utc>,
) -> Vec<(Candidate, RetentionVerdict)> {
    let mut newest_first = candidates.to_vec();
    newest_first.sort_by_key(|c| std::cmp::Reverse((c.created_at, c.id)));
    let newest = newest_first.iter().find(|c| c.is_completed()).map(|c| c.id);
    let newest_good = newest_first.iter().find(|c| c.is_good()).map(|c| c.id);
    let kept_by = policy.thinning.keep(&newest_first, now);

    let by_age = |candidate: &Candidate, gone: fn(u32) -> RemoveReason| match policy.days {
        0 => RetentionVerdict::Keep(KeepReason::Forever),
        days if is_older(candidate, days, now) => RetentionVerdict::Remove(gone(days)),
        days => RetentionVerdict::Keep(KeepReason::Young(days)),
    };
    let judge = |candidate: &Candidate| {
        let is = |id: Option<BackupId>| id == Some(candidate.id);
        match candidate.outcome {
            CandidateState::Creating => RetentionVerdict::Keep(KeepReason::Creating),
            _ if candidate.is_locked => RetentionVerdict::Keep(KeepReason::Locked),
            _ if candidate.is_in_use => RetentionVerdict::Keep(KeepReason::InUse),
            CandidateState::Failed => by_age(candidate, RemoveReason::FailedLongAgo),
            CandidateState::Completed { .. } if is(newest) => {
                RetentionVerdict::Keep(KeepReason::Newest)
            }
            CandidateState::Completed { .. } if is(newest_good) => {
                RetentionVerdict::Keep(KeepReason::NewestGood)
            }
            // No rule counts a damaged one. It goes with its age, so that there is time to look at it.
            CandidateState::Completed { is_good: true } if policy.thinning.is_on() => {
                match kept_by.get(&candidate.id) {
                    Some(rules) => RetentionVerdict::Keep(KeepReason::Rules(rules.clone())),
                    None => RetentionVerdict::Remove(RemoveReason::Thinned),
                }
            }
            CandidateState::Completed { .. } => by_age(candidate, RemoveReason::Old),
        }
    };
    let mut decided: Vec<(Candidate, RetentionVerdict)> = newest_first
        .iter()
        .map(|candidate| (*candidate, judge(candidate)))
        .collect();
    if let Some(limit) = policy.rotate_to {
        rotate(&mut decided, limit);
    }
    decided
}

/// Lets the oldest go that may, until no more than `limit` are left that count.
fn rotate(newest_first: &mut [(Candidate, RetentionVerdict)], limit: u32) {
    let stays = |(candidate, verdict): &&(Candidate, RetentionVerdict)| {
        candidate.is_counted() && matches!(verdict, RetentionVerdict::Keep(_))
    };
    let staying = newest_first.iter().filter(stays).count();
    let mut too_many = staying.saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
    for (candidate, verdict) in newest_first.iter_mut().rev() {
        if too_many == 0 {
            return;
        }
        let is_free = matches!(
            verdict,
            RetentionVerdict::Keep(
                KeepReason::Forever | KeepReason::Young(_) | KeepReason::Rules(_)
            )
        );
        if candidate.is_completed() && is_free {
            *verdict = RetentionVerdict::Remove(RemoveReason::OverLimit(limit));
            too_many -= 1;
        }
    }
}

fn is_older(candidate: &Candidate, days: u32, now: DateTime<Utc>) -> bool {
    // So many days that there was no time before them: nothing is as old.
    let oldest = TimeDelta::try_days(days.into()).and_then(|age| now.checked_sub_signed(age));
    oldest.is_some_and(|oldest| candidate.created_at < oldest)
}

impl KeepRules {
    /// Says whether it decides about anything.
    pub fn is_on(&self) -> bool {
        *self != Self::default()
    }

    /// Finds out which good backups are kept by which rules. Locked ones and the newest fill places as well.
    fn keep(
        &self,
        newest_first: &[Candidate],
        now: DateTime<Utc>,
    ) -> BTreeMap<BackupId, BTreeSet<KeepRule>> {
        let mut kept: BTreeMap<BackupId, BTreeSet<KeepRule>> = BTreeMap::new();
        let good = || newest_first.iter().filter(|c| c.is_good());
        let within = good().filter(|c| self.within_days > 0 && !is_older(c, self.within_days, now));
        let last = good().take(usize::try_from(self.last).unwrap_or(usize::MAX));
        for (rule, candidates) in [
            (KeepRule::Within, within.collect::<Vec<_>>()),
            (KeepRule::Last, last.collect()),
        ] {
            for candidate in candidates {
                kept.entry(candidate.id).or_default().insert(rule);
            }
        }
        type SpanOf = fn(DateTime<Utc>) -> (i32, u32, u32);
        let spans: [(KeepRule, u32, SpanOf); 4] = [
            (KeepRule::Hourly, self.hourly, |t| {
                (t.year(), t.ordinal(), t.hour())
            }),
            (KeepRule::Daily, self.daily, |t| (t.year(), t.ordinal(), 0)),
            (KeepRule::Weekly, self.weekly, |t| {
                (t.iso_week().year(), t.iso_week().week(), 0)
            }),
            (KeepRule::Monthly, self.monthly, |t| {
                (t.year(), t.month(), 0)
            }),
        ];
        for (rule, count, span_of) in spans {
            let (mut left, mut last_span) = (count, None);
            for candidate in good() {
                let span = Some(span_of(candidate.created_at));
                if left == 0 {
                    break;
                }
                if span != last_span {
                    kept.entry(candidate.id).or_default().insert(rule);
                    (left, last_span) = (left - 1, span);
                }
            }
        }
        kept
    }
}

#[cfg(test)]
mod tests;
