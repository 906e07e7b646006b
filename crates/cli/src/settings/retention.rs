//! Reads the settings of retention and maintenance.

use std::time::Duration;

use holdfast_api::ApiOptions;
use holdfast_domain::retention::{KeepRules, RetentionPolicy};
use holdfast_worker::MaintenanceOptions;

use super::values::SettingsReader;

/// A hundred years. Later dates cannot be represented.
const DAYS_MAX: u64 = 36_525;
/// A day, in seconds.
const DAY: u64 = 24 * 3600;

// Each method reads all of its values before it returns, so that every problem is found.
impl SettingsReader {
    fn retention(&mut self) -> Option<RetentionPolicy> {
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

    pub(super) fn maintenance(&mut self, api: Option<&ApiOptions>) -> Option<MaintenanceOptions> {
        let policy = self.retention();
        let interval = self.seconds("maintenance.interval_seconds", 1..=7 * DAY);
        let sweep_interval = self.seconds("maintenance.sweep_interval_seconds", 0..=366 * DAY);
        let orphan_age = self.seconds("maintenance.orphan_age_seconds", 0..=366 * DAY);
        let jobs = self.days("maintenance.job_days", 1..=DAYS_MAX);
        let failed_jobs = self.days("maintenance.failed_job_days", 1..=DAYS_MAX);
        let activity = self.days("maintenance.activity_days", 0..=DAYS_MAX);
        let api = api?;
        // The create throttle counts rows of the job table, so they must stay that long.
        let throttle_period = Duration::from_secs(api.create_throttle.seconds.into());
        Some(MaintenanceOptions {
            retention_policy: policy?,
            backups_per_server: api.backups_per_server,
            interval: interval?,
            sweep_interval: sweep_interval?,
            orphan_age: orphan_age?,
            jobs: jobs?.max(throttle_period),
            failed_jobs: failed_jobs?,
            activity: Some(activity?).filter(|activity| !activity.is_zero()),
        })
    }
}
