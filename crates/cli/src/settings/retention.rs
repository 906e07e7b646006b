//! The settings of what stays and what goes: retention, and maintenance.

use std::time::Duration;

use holdfast_domain::retention::{KeepRules, RetentionPolicy};

use super::MaintenanceSettings;
use super::values::Reader;

/// A hundred years: beyond that, dates end.
const DAYS_MAX: u64 = 36_525;
/// A day, in seconds.
const DAY: u64 = 24 * 3600;

// Each function first reads everything, so that every problem is noted, and only then gives up.
impl Reader {
    pub(super) fn retention(&mut self) -> Option<RetentionPolicy> {
        let days = self.number("retention.days", 0..=DAYS_MAX);
        let within_days = self.number("retention.keep_within_days", 0..=DAYS_MAX);
        let [last, hourly, daily, weekly, monthly] =
            ["last", "hourly", "daily", "weekly", "monthly"]
                .map(|rule| self.number(&format!("retention.keep_{rule}"), 0..=100_000));
        Some(RetentionPolicy {
            days: days?,
            keep_rules: KeepRules {
                within_days: within_days?,
                last: last?,
                hourly: hourly?,
                daily: daily?,
                weekly: weekly?,
                monthly: monthly?,
            },
            rotate_to: None,
        })
    }

    pub(super) fn maintenance(&mut self) -> Option<MaintenanceSettings> {
        let interval = self.number::<u64>("maintenance.interval_seconds", 1..=7 * DAY);
        let sweep = self.number::<u64>("maintenance.sweep_interval_seconds", 0..=366 * DAY);
        let orphan_age = self.number::<u64>("maintenance.orphan_age_seconds", 0..=366 * DAY);
        let jobs = self.number::<u64>("maintenance.job_days", 1..=DAYS_MAX);
        let failed_jobs = self.number::<u64>("maintenance.failed_job_days", 1..=DAYS_MAX);
        let activity = self.number::<u64>("maintenance.activity_days", 0..=DAYS_MAX);
        let days = |days: u64| Duration::from_secs(days * DAY);
        Some(MaintenanceSettings {
            interval: Duration::from_secs(interval?),
            sweep_interval: Duration::from_secs(sweep?),
            orphan_age: Duration::from_secs(orphan_age?),
            jobs: days(jobs?),
            failed_jobs: days(failed_jobs?),
            activity: Some(days(activity?)).filter(|kept| !kept.is_zero()),
        })
    }
}
