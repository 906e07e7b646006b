//! The default schedule, which the settings give every server.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::{Schedule, Timing};
use crate::ignore::IgnorePatterns;
use crate::retention::KeepRules;

/// The schedule that the settings give every server. Its only task is a backup.
#[derive(Clone, Debug)]
pub struct DefaultSchedule {
    /// When it is due.
    pub timing: Timing,
    /// Retention rules for its own backups.
    pub keep: Option<KeepRules>,
    /// The ignore patterns of its backups.
    pub ignored: IgnorePatterns,
}

impl DefaultSchedule {
    /// The name of the schedule.
    pub const NAME: &str = "Default";

    /// Returns a text that changes with the settings, as far as any server's schedule depends on
    /// them. `backups_per_server` is the limit of servers without their own.
    pub fn fingerprint(&self, backups_per_server: u32) -> String {
        let timing = &self.timing;
        let keep = self.keep.map_or(String::new(), |keep| keep.to_string());
        let jitter = timing.jitter_seconds.to_string();
        // Servers that may have no backups have no default schedule.
        let has_backups = (backups_per_server > 0).to_string();
        let cron = timing.cron.fields().to_string();
        let mut hash = Sha256::new();
        for text in [
            Self::NAME,
            &cron,
            timing.timezone.name(),
            &jitter,
            timing.missed.as_str(),
            &keep,
            &has_backups,
            &self.ignored.lines().join("\n"),
        ] {
            hash.update(text);
            hash.update([0]);
        }
        let mut hex = String::with_capacity(64);
        for byte in hash.finalize() {
            // Writing to a string never fails.
            let _ = write!(hex, "{byte:02x}");
        }
        hex
    }
}

/// A default schedule is changed by the settings alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is the default schedule of all servers, which the settings schedules.default.* define")]
pub struct DefaultScheduleFixed;

impl Schedule {
    /// Checks that users may change the schedule and its tasks. They may run and delete every
    /// schedule.
    ///
    /// # Errors
    /// [`DefaultScheduleFixed`]
    pub fn check_change(&self) -> Result<(), DefaultScheduleFixed> {
        match self.is_default {
            true => Err(DefaultScheduleFixed),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::schedule::{Cron, CronFields, MissedPolicy, Timezone};

    #[test]
    fn the_fingerprint_changes_with_every_setting() {
        let cron = |text| Cron::parse(CronFields::split(text).expect("fields")).expect("cron");
        let default = DefaultSchedule {
            timing: Timing {
                cron: cron("0 4 * * *"),
                timezone: Timezone::UTC,
                jitter_seconds: 0,
                missed: MissedPolicy::RunOnce,
            },
            keep: None,
            ignored: IgnorePatterns::default(),
        };
        let mut seen = BTreeSet::from([default.fingerprint(1), default.fingerprint(0)]);
        assert_eq!(seen.len(), 2);
        assert_eq!(default.fingerprint(1), default.fingerprint(7));
        let changes: [fn(&mut DefaultSchedule); 5] = [
            |default| default.timing.timezone = Timezone::parse("Europe/Berlin").expect("a zone"),
            |default| default.timing.jitter_seconds = 1,
            |default| default.timing.missed = MissedPolicy::Skip,
            |default| default.keep = KeepRules::parse("last=7"),
            |default| {
                default.ignored = IgnorePatterns::parse(["*.log"], 100).expect("patterns");
            },
        ];
        for change in changes {
            let mut changed = default.clone();
            change(&mut changed);
            assert!(seen.insert(changed.fingerprint(1)), "{changed:?}");
        }
        let mut changed = default.clone();
        changed.timing.cron = cron("0 5 * * *");
        assert!(seen.insert(changed.fingerprint(1)));
        assert_eq!(default.fingerprint(1).len(), 64);
    }
}
