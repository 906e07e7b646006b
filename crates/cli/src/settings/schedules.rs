//! Reads the settings of schedules.

use holdfast_api::ApiOptions;
use holdfast_domain::ignore::IgnorePatterns;
use holdfast_domain::retention::KeepRules;
use holdfast_domain::schedule::{
    Cron, CronFields, DefaultSchedule, JITTER_MAX_SECONDS, MissedPolicy, Timezone, Timing,
};

use super::values::SettingsReader;

// Each method reads all of its values before it returns, so that every problem is found.
impl SettingsReader {
    pub(super) fn timezone(&mut self, key: &str) -> Option<Timezone> {
        let name = self.string(key)?;
        match Timezone::parse(&name) {
            Some(timezone) => Some(timezone),
            None => {
                let rule = "must be a name of the IANA time zone database such as Europe/Berlin";
                self.reject(key, format!("{rule}, not `{name}`"))
            }
        }
    }

    /// Reads the schedule that every server gets. Without an expression, they get none.
    pub(super) fn default_schedule(
        &mut self,
        api: Option<&ApiOptions>,
    ) -> Option<Option<DefaultSchedule>> {
        let cron = self.cron("schedules.default.cron");
        let timezone_key = "schedules.default.timezone";
        let timezone = match self.string(timezone_key) {
            Some(name) if name.is_empty() => api.map(|api| api.timezone),
            Some(_) => self.timezone(timezone_key),
            None => None,
        };
        let jitter = "schedules.default.jitter_seconds";
        let jitter_seconds = self.number(jitter, 0..=JITTER_MAX_SECONDS.into());
        let missed = self.missed("schedules.default.missed");
        let keep = self.keep_rules("schedules.default.keep");
        let ignored = self.ignored("schedules.default.ignored", api);
        let (timezone, jitter_seconds, missed) = (timezone?, jitter_seconds?, missed?);
        let (keep, ignored) = (keep?, ignored?);
        let timing = |cron| Timing {
            cron,
            timezone,
            jitter_seconds,
            missed,
        };
        Some(cron?.map(|cron| DefaultSchedule {
            timing: timing(cron),
            keep,
            ignored,
        }))
    }

    fn cron(&mut self, key: &str) -> Option<Option<Cron>> {
        let text = self.string(key)?;
        if text.is_empty() {
            return Some(None);
        }
        let Some(fields) = CronFields::split(&text) else {
            let rule = "must have five fields, as in 0 4 * * *";
            return self.reject(key, format!("{rule}, not `{text}`"));
        };
        match Cron::parse(fields) {
            Ok(cron) => Some(Some(cron)),
            Err(_) => {
                let rule = "must be a valid cron expression that comes due, such as 0 4 * * *";
                self.reject(key, format!("{rule}, not `{text}`"))
            }
        }
    }

    fn missed(&mut self, key: &str) -> Option<MissedPolicy> {
        let text = self.string(key)?;
        match MissedPolicy::parse(&text) {
            Some(missed) => Some(missed),
            None => self.reject(key, format!("must be run_once or skip, not `{text}`")),
        }
    }

    fn keep_rules(&mut self, key: &str) -> Option<Option<KeepRules>> {
        let text = self.string(key)?;
        if text.is_empty() {
            return Some(None);
        }
        match KeepRules::parse(&text) {
            Some(rules) => Some(Some(rules)),
            None => {
                let message = format!("must be {}, not `{text}`", KeepRules::FORMAT);
                self.reject(key, message)
            }
        }
    }

    fn ignored(&mut self, key: &str, api: Option<&ApiOptions>) -> Option<IgnorePatterns> {
        let lines = self.list(key)?;
        let lines = lines.iter().map(String::as_str);
        match IgnorePatterns::parse(lines, api?.max_ignored_bytes) {
            Ok(patterns) => Some(patterns),
            Err(error) => self.reject(key, format!("can't be used: {error}")),
        }
    }
}
