//! The fields of requests that create or change a schedule.

use serde_json::Value;

use holdfast_domain::name::BACKUP_NAME_MAX;
use holdfast_domain::retention::KeepRules;
use holdfast_domain::schedule::{
    Cron, CronFields, JITTER_MAX_SECONDS, MissedPolicy, ScheduleName, ScheduleSettings, Timezone,
    Timing,
};

use crate::error::{ApiError, ScheduleRefused};
use crate::input::Fields;

/// The fields of a request. Panels know the fields up to `only_when_online`, and send all of them.
/// Of the others, `None` leaves one unchanged, and `Some(None)` resets it to its default.
#[derive(Debug)]
pub(crate) struct ScheduleFields {
    name: ScheduleName,
    cron: Cron,
    is_active: bool,
    only_when_online: bool,
    timezone: Option<Option<Timezone>>,
    jitter_seconds: Option<Option<u32>>,
    missed: Option<Option<MissedPolicy>>,
    keep: Option<Option<KeepRules>>,
}

impl ScheduleFields {
    /// Takes the fields of a request.
    ///
    /// # Errors
    /// [`ApiError::Invalid`], or [`ScheduleRefused::InvalidCron`].
    pub(crate) fn take(mut fields: Fields) -> Result<Self, ApiError> {
        let name = fields.text("name", BACKUP_NAME_MAX);
        let name = name.and_then(|name| ScheduleName::parse(&name).ok().flatten());
        fields.require("name", name.as_ref());
        let cron = ["minute", "hour", "day_of_month", "month", "day_of_week"].map(|field| {
            // No maximum: a field that is too long is not a valid expression.
            let text = fields.text(field, usize::MAX);
            fields.require(field, text.as_ref());
            text.unwrap_or_default()
        });
        // A panel takes a missing field for false.
        let is_active = fields.flag("is_active").unwrap_or(false);
        let only_when_online = fields.flag("only_when_online").unwrap_or(false);
        let timezone = fields.nullable("timezone", |fields| {
            let expected = "the name of a time zone, such as Europe/Berlin";
            fields.parsed("timezone", "timezone", expected, Timezone::parse)
        });
        let jitter_seconds = fields.nullable("jitter_seconds", |fields| {
            let range = 0..=u64::from(JITTER_MAX_SECONDS);
            let seconds = fields.integer("jitter_seconds", range)?;
            u32::try_from(seconds).ok()
        });
        let missed = fields.nullable("missed", |fields| {
            let policies = MissedPolicy::ALL.map(MissedPolicy::as_str);
            fields.one_of("missed", &policies, MissedPolicy::parse)
        });
        let keep = fields.nullable("keep", |fields| {
            fields.parsed("keep", "rules", KeepRules::FORMAT, KeepRules::parse)
        });
        fields.check()?;
        let [minute, hour, day_of_month, month, day_of_week] = cron;
        let cron = CronFields {
            minute,
            hour,
            day_of_month,
            month,
            day_of_week,
        };
        Ok(Self {
            name: name.ok_or(ApiError::Internal)?,
            cron: Cron::parse(cron)
                .map_err(|_| ApiError::Schedule(ScheduleRefused::InvalidCron))?,
            is_active,
            only_when_online,
            timezone,
            jitter_seconds,
            missed,
            keep,
        })
    }

    /// Takes the fields of a request that changes some of them. Absent fields keep their value.
    ///
    /// # Errors
    /// As [`ScheduleFields::take`].
    pub(crate) fn take_some(fields: Fields, current: &ScheduleSettings) -> Result<Self, ApiError> {
        let cron = current.timing.cron.fields();
        let text = |text: &str| Value::String(text.to_owned());
        Self::take(fields.with_absent([
            ("name", text(current.name.as_str())),
            ("minute", text(&cron.minute)),
            ("hour", text(&cron.hour)),
            ("day_of_month", text(&cron.day_of_month)),
            ("month", text(&cron.month)),
            ("day_of_week", text(&cron.day_of_week)),
            ("is_active", Value::Bool(current.is_active)),
            ("only_when_online", Value::Bool(current.only_when_online)),
        ]))
    }

    /// Returns the settings of a new schedule, or of a changed one.
    pub(crate) fn settings(
        self,
        current: Option<&ScheduleSettings>,
        default_timezone: Timezone,
    ) -> ScheduleSettings {
        let timing = current.map(|current| &current.timing);
        let timezone = timing.map_or(default_timezone, |timing| timing.timezone);
        let jitter_seconds = timing.map_or(0, |timing| timing.jitter_seconds);
        let missed = timing.map_or(MissedPolicy::default(), |timing| timing.missed);
        ScheduleSettings {
            name: self.name,
            timing: Timing {
                cron: self.cron,
                timezone: self
                    .timezone
                    .map_or(timezone, |sent| sent.unwrap_or(default_timezone)),
                jitter_seconds: self
                    .jitter_seconds
                    .map_or(jitter_seconds, Option::unwrap_or_default),
                missed: self.missed.map_or(missed, Option::unwrap_or_default),
            },
            keep: self
                .keep
                .unwrap_or_else(|| current.and_then(|current| current.keep)),
            is_active: self.is_active,
            only_when_online: self.only_when_online,
        }
    }
}
