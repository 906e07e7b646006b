//! Retention: decides which backups of a server are kept and which are deleted, each with a reason.
//!
//! Never deleted: locked backups, unfinished ones, those that a job uses, the newest completed one,
//! and the newest good one. A damaged or missing archive can't be restored, so it never counts as
//! the newest good one.
//!
//! A date in the future is wrong: the backup was created before the clock was set back. So it is
//! older than the backups since then, and its age is not known. No rule counts it, no rule deletes
//! it, and rotation deletes it before backups with a possible date.

mod keep;

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use crate::id::BackupId;

/// How far clocks may differ before a date counts as one in the future.
const TOLERANCE: TimeDelta = TimeDelta::days(1);

/// How long backups are kept.
///
/// ```
/// use chrono::{TimeZone, Utc};
/// use holdfast_domain::BackupId;
/// use holdfast_domain::retention::{
///     CandidateState, RetentionCandidate, RetentionPolicy, RetentionVerdict, decide,
/// };
///
/// let day = |day| Utc.with_ymd_and_hms(2026, 1, day, 0, 0, 0).unwrap();
/// let backup = |number: u32| RetentionCandidate {
///     id: BackupId(uuid::Uuid::from_u128(number.into())),
///     created_at: day(number),
///     state: CandidateState::Completed { is_good: true },
///     is_locked: false,
///     is_in_use: false,
/// };
/// let policy = RetentionPolicy { days: 7, ..RetentionPolicy::default() };
/// let verdicts = decide(&[backup(1), backup(20), backup(25)], &policy, day(26));
/// let texts: Vec<String> = verdicts.iter().map(|(_, verdict)| verdict.to_string()).collect();
/// assert_eq!(texts[0], "it is the newest that completed");
/// assert_eq!(texts[1], "it is not older than 7 days");
/// assert!(matches!(verdicts[2].1, RetentionVerdict::Remove(_)));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionPolicy {
    /// The maximum age of a backup, in days; 0 means no limit.
    pub days: u32,
    /// Rules that decide about good backups instead of `days`, if any is set.
    pub keep_rules: KeepRules,
    /// The number of completed and unfinished backups above which the oldest ones are deleted;
    /// `None` means no limit.
    pub rotate_to: Option<u32>,
}

/// Keep rules as in restic: a backup is kept if any rule keeps it. All 0 means that the rules are
/// off. Days, weeks and months are in UTC; weeks begin on Monday.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeepRules {
    /// Keep all backups younger than this number of days.
    pub within_days: u32,
    /// Keep this number of newest backups.
    pub last: u32,
    /// Keep the newest backup of each of the last N hours that have one.
    pub hourly: u32,
    /// Keep the newest backup of each of the last N days that have one.
    pub daily: u32,
    /// Keep the newest backup of each of the last N weeks that have one.
    pub weekly: u32,
    /// Keep the newest backup of each of the last N months that have one.
    pub monthly: u32,
}

impl RetentionPolicy {
    /// Returns the policy of a server. `self` is the policy of the settings. Its keep rules do not
    /// apply to a server with its own days or rules. If the server has its own rules, its days
    /// decide only about backups that the rules don't cover.
    #[must_use]
    pub fn for_server(
        self,
        own_days: Option<u32>,
        own_rules: Option<KeepRules>,
        rotate_to: Option<u32>,
    ) -> Self {
        let keep_rules = match (own_rules, own_days) {
            (Some(rules), _) => rules,
            (None, Some(_)) => KeepRules::default(),
            (None, None) => self.keep_rules,
        };
        Self {
            days: own_days.unwrap_or(self.days),
            keep_rules,
            rotate_to,
        }
    }
}

/// A backup that retention decides about. Backups that are being deleted are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionCandidate {
    /// The backup.
    pub id: BackupId,
    /// When it was requested.
    pub created_at: DateTime<Utc>,
    /// Its state.
    pub state: CandidateState,
    /// Whether it is locked against deletion.
    pub is_locked: bool,
    /// Whether it has an unfinished job.
    pub is_in_use: bool,
}

/// The state of a backup, as far as retention needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CandidateState {
    /// Queued, or being archived.
    Creating,
    /// It has an archive.
    Completed {
        /// Whether no verification found the archive damaged or missing.
        is_good: bool,
    },
    /// It failed and has no archive.
    Failed,
}

impl RetentionCandidate {
    /// Returns whether it has an archive that is not known to be damaged or missing.
    pub fn is_good(&self) -> bool {
        self.state == CandidateState::Completed { is_good: true }
    }

    fn is_completed(&self) -> bool {
        matches!(self.state, CandidateState::Completed { .. })
    }

    /// Returns whether it counts towards the limit of backups.
    pub fn is_counted(&self) -> bool {
        self.state != CandidateState::Failed
    }
}

/// The decision about a backup, with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RetentionVerdict {
    /// The backup is kept.
    Keep(KeepReason),
    /// The backup is deleted.
    Remove(RemoveReason),
}

/// Why a backup is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeepReason {
    /// It is still being created.
    Creating,
    /// It is locked.
    Locked,
    /// It has an unfinished job.
    InUse,
    /// It is the newest completed backup.
    Newest,
    /// It is the newest good backup.
    NewestGood,
    /// Its date is in the future, so its age is not known.
    FutureDate,
    /// There is no maximum age.
    Forever,
    /// It is not older than this number of days.
    Young(u32),
    /// These rules keep it.
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

/// Why a backup is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoveReason {
    /// It is older than this number of days.
    Old(u32),
    /// It failed more than this number of days ago.
    FailedLongAgo(u32),
    /// It is good, but no keep rule keeps it.
    NoKeepRule,
    /// The server has more backups than this number, and it is the oldest that may be deleted.
    OverLimit(u32),
}

impl fmt::Display for RetentionVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep(reason) => reason.fmt(f),
            Self::Remove(reason) => reason.fmt(f),
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
            Self::FutureDate => f.write_str("its date is in the future, so its age is not known"),
            Self::Forever => f.write_str("there is no age limit"),
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
            Self::NoKeepRule => f.write_str("no keep rule keeps it"),
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

/// Decides about all backups of one server. Returns them newest first, each with its verdict, and
/// those with a date in the future last.
pub fn decide(
    candidates: &[RetentionCandidate],
    policy: &RetentionPolicy,
    now: DateTime<Utc>,
) -> Vec<(RetentionCandidate, RetentionVerdict)> {
    let mut newest_first = candidates.to_vec();
    newest_first.sort_by_key(|c| Reverse((!is_in_future(c, now), c.created_at, c.id)));
    let newest = newest_first.iter().find(|c| c.is_completed()).map(|c| c.id);
    let newest_good = newest_first.iter().find(|c| c.is_good()).map(|c| c.id);
    let kept_by = policy.keep_rules.keep(&newest_first, now);

    let by_age = |candidate: &RetentionCandidate, reason: fn(u32) -> RemoveReason| match policy.days
    {
        0 => RetentionVerdict::Keep(KeepReason::Forever),
        _ if is_in_future(candidate, now) => RetentionVerdict::Keep(KeepReason::FutureDate),
        days if is_older(candidate, days, now) => RetentionVerdict::Remove(reason(days)),
        days => RetentionVerdict::Keep(KeepReason::Young(days)),
    };
    let judge = |candidate: &RetentionCandidate| {
        let is = |id: Option<BackupId>| id == Some(candidate.id);
        match candidate.state {
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
            // Keep rules do not count damaged backups. Age decides about those.
            CandidateState::Completed { is_good: true } if policy.keep_rules.is_on() => {
                match kept_by.get(&candidate.id) {
                    Some(rules) => RetentionVerdict::Keep(KeepReason::Rules(rules.clone())),
                    None if is_in_future(candidate, now) => {
                        RetentionVerdict::Keep(KeepReason::FutureDate)
                    }
                    None => RetentionVerdict::Remove(RemoveReason::NoKeepRule),
                }
            }
            CandidateState::Completed { .. } => by_age(candidate, RemoveReason::Old),
        }
    };
    let mut decided: Vec<(RetentionCandidate, RetentionVerdict)> = newest_first
        .iter()
        .map(|candidate| (*candidate, judge(candidate)))
        .collect();
    if let Some(limit) = policy.rotate_to {
        rotate(&mut decided, limit);
    }
    decided
}

/// Deletes the oldest backups that may be deleted, until at most `limit` counted ones are left.
fn rotate(newest_first: &mut [(RetentionCandidate, RetentionVerdict)], limit: u32) {
    let is_kept = |(candidate, verdict): &&(RetentionCandidate, RetentionVerdict)| {
        candidate.is_counted() && matches!(verdict, RetentionVerdict::Keep(_))
    };
    let kept = newest_first.iter().filter(is_kept).count();
    let mut excess = kept.saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
    for (candidate, verdict) in newest_first.iter_mut().rev() {
        if excess == 0 {
            return;
        }
        let may_be_deleted = matches!(
            verdict,
            RetentionVerdict::Keep(
                KeepReason::Forever
                    | KeepReason::Young(_)
                    | KeepReason::Rules(_)
                    | KeepReason::FutureDate
            )
        );
        if candidate.is_completed() && may_be_deleted {
            *verdict = RetentionVerdict::Remove(RemoveReason::OverLimit(limit));
            excess -= 1;
        }
    }
}

/// Returns whether the date of a backup is so far in the future that clocks which differ a little,
/// or a wrong time zone, do not explain it.
fn is_in_future(candidate: &RetentionCandidate, now: DateTime<Utc>) -> bool {
    now.checked_add_signed(TOLERANCE)
        .is_some_and(|latest| candidate.created_at > latest)
}

fn is_older(candidate: &RetentionCandidate, days: u32, now: DateTime<Utc>) -> bool {
    // With more days than the calendar has, no backup is older.
    let oldest = TimeDelta::try_days(days.into()).and_then(|age| now.checked_sub_signed(age));
    oldest.is_some_and(|oldest| candidate.created_at < oldest)
}

#[cfg(test)]
mod tests;
