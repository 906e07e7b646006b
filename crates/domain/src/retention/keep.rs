//! Keep rules: which backups they keep, and their text: `last=3,daily=7,monthly=12`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::{DateTime, Datelike, Timelike, Utc};

use super::{KeepRule, KeepRules, RetentionCandidate, is_in_future, is_older};
use crate::id::BackupId;

/// The maximum number in a rule.
const NUMBER_MAX: u32 = i32::MAX.unsigned_abs();

impl KeepRules {
    /// Returns whether any rule is set.
    pub fn is_on(&self) -> bool {
        *self != Self::default()
    }

    /// Returns which rules keep which good backups. Locked backups and the newest one count too.
    pub(super) fn keep(
        &self,
        newest_first: &[RetentionCandidate],
        now: DateTime<Utc>,
    ) -> BTreeMap<BackupId, BTreeSet<KeepRule>> {
        let mut kept: BTreeMap<BackupId, BTreeSet<KeepRule>> = BTreeMap::new();
        let counts = |c: &&RetentionCandidate| c.is_good() && !is_in_future(c, now);
        let good = || newest_first.iter().filter(counts);
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

impl KeepRules {
    /// The format of the text, for error messages.
    pub const FORMAT: &'static str = "some of within=DAYS, last=N, hourly=N, daily=N, weekly=N \
                                      and monthly=N, separated by commas, each at least 1";

    /// Parses rules: at least one, each at most once, each number at least 1.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rules = Self::default();
        for rule in text.split(',') {
            let (name, number) = rule.split_once('=')?;
            let number = number.trim();
            if !number.bytes().all(|digit| digit.is_ascii_digit()) {
                return None;
            }
            let number = number
                .parse()
                .ok()
                .filter(|n| (1..=NUMBER_MAX).contains(n))?;
            let field = rules.field_mut(name.trim())?;
            if *field != 0 {
                return None;
            }
            *field = number;
        }
        Some(rules)
    }

    fn field_mut(&mut self, name: &str) -> Option<&mut u32> {
        match name {
            "within" => Some(&mut self.within_days),
            "last" => Some(&mut self.last),
            "hourly" => Some(&mut self.hourly),
            "daily" => Some(&mut self.daily),
            "weekly" => Some(&mut self.weekly),
            "monthly" => Some(&mut self.monthly),
            _ => None,
        }
    }
}

impl fmt::Display for KeepRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = [
            ("within", self.within_days),
            ("last", self.last),
            ("hourly", self.hourly),
            ("daily", self.daily),
            ("weekly", self.weekly),
            ("monthly", self.monthly),
        ];
        let on = rules.into_iter().filter(|(_, number)| *number > 0);
        for (n, (name, number)) in on.enumerate() {
            let comma = if n == 0 { "" } else { "," };
            write!(f, "{comma}{name}={number}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_parsed_and_formatted() {
        for (text, written) in [
            ("last=1", Some("last=1")),
            (
                " daily=7 , last = 3,within=2",
                Some("within=2,last=3,daily=7"),
            ),
            (
                "within=1,last=2,hourly=3,daily=4,weekly=5,monthly=6",
                Some("within=1,last=2,hourly=3,daily=4,weekly=5,monthly=6"),
            ),
            ("last=2147483647", Some("last=2147483647")),
            ("", None),
            ("last", None),
            ("last=", None),
            ("last=0", None),
            ("last=-1", None),
            ("last=+1", None),
            ("last=2147483648", None),
            ("last=1,last=2", None),
            ("last=1,", None),
            ("yearly=1", None),
        ] {
            let read = KeepRules::parse(text);
            assert_eq!(
                read.map(|rules| rules.to_string()).as_deref(),
                written,
                "{text}"
            );
            assert!(read.is_none_or(|rules| KeepRules::parse(&rules.to_string()) == Some(rules)));
        }
    }
}
