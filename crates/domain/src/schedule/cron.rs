//! Cron expressions of five fields, and the time zones that they are evaluated in.

use std::fmt;

use chrono::{DateTime, FixedOffset, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use croner::parser::{CronParser, Seconds, Year};

/// The maximum length of a field, in bytes.
const FIELD_MAX_BYTES: usize = 191;

/// The words that each field may contain. `L` is the last day, `W` the nearest weekday.
const NAMES: [&[&str]; 5] = [
    &[],
    &[],
    &["L", "W", "LW"],
    &[
        "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
    ],
    &["L", "SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
];

/// The longest gap of a clock change: a day, where a zone moved over the date line.
const GAP_MAX_MINUTES: i64 = 25 * 60;

/// The five fields of a cron expression, as the client sent them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronFields {
    /// `0` to `59`.
    pub minute: String,
    /// `0` to `23`.
    pub hour: String,
    /// `1` to `31`.
    pub day_of_month: String,
    /// `1` to `12`, or `JAN` to `DEC`.
    pub month: String,
    /// `0` to `7` (0 and 7 are Sunday), or `SUN` to `SAT`.
    pub day_of_week: String,
}

impl CronFields {
    /// Splits an expression such as `0 4 * * *`. Returns `None` if it has not exactly five fields.
    pub fn split(expression: &str) -> Option<Self> {
        let mut fields = expression.split_ascii_whitespace().map(str::to_owned);
        let mut field = || fields.next();
        let split = Self {
            minute: field()?,
            hour: field()?,
            day_of_month: field()?,
            month: field()?,
            day_of_week: field()?,
        };
        fields.next().is_none().then_some(split)
    }

    fn all(&self) -> [&str; 5] {
        [
            &self.minute,
            &self.hour,
            &self.day_of_month,
            &self.month,
            &self.day_of_week,
        ]
    }
}

impl fmt::Display for CronFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.all().join(" "))
    }
}

/// The expression cannot be read, or matches no date, such as February 30.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cron expression is invalid or never comes due")]
pub struct CronInvalid;

/// A valid cron expression, which has due times.
///
/// As in cron(8), a day must match the day of the month or the day of the week if both are
/// restricted.
///
/// ```
/// use chrono::DateTime;
/// use holdfast_domain::schedule::{Cron, CronFields, Timezone};
///
/// let cron = Cron::parse(CronFields::split("0 4 * * *").expect("five fields"))?;
/// let zone = Timezone::parse("Europe/Berlin").expect("a time zone");
/// let after = DateTime::parse_from_rfc3339("2026-01-01T12:00:00Z")?.to_utc();
/// let due = cron.next_after(after, zone).expect("a due time");
/// assert_eq!(due.to_rfc3339(), "2026-01-02T03:00:00+00:00");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Cron {
    fields: CronFields,
    parsed: croner::Cron,
}

impl Cron {
    /// Parses the fields.
    ///
    /// # Errors
    /// [`CronInvalid`]
    pub fn parse(fields: CronFields) -> Result<Self, CronInvalid> {
        // The parser gets one string, and replaces names of days and months in all of it. So a
        // field must be one field, with names that belong there.
        for (field, names) in fields.all().into_iter().zip(NAMES) {
            let is_field = field.len() <= FIELD_MAX_BYTES
                && field.split(',').all(|item| !item.is_empty())
                && field
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"*,-/?#".contains(&b));
            let mut words = field.split(|c: char| !c.is_ascii_alphabetic());
            let is_name = |word: &str| {
                word.is_empty() || names.iter().any(|name| name.eq_ignore_ascii_case(word))
            };
            if !is_field || !words.all(is_name) {
                return Err(CronInvalid);
            }
        }
        let parsed = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build()
            .parse(&fields.to_string())
            .map_err(|_| CronInvalid)?;
        let cron = Self { fields, parsed };
        // Every expression that comes at all comes within these 40 years: the calendar repeats
        // after 28 years, but for one missing leap day around 2100.
        let start = DateTime::<Utc>::UNIX_EPOCH;
        match cron.next_after(start, Timezone::UTC) {
            Some(due) if (due - start).num_days() < 40 * 366 => Ok(cron),
            _ => Err(CronInvalid),
        }
    }

    /// Returns the fields as they were given.
    pub fn fields(&self) -> &CronFields {
        &self.fields
    }

    /// Returns the first due time after `after`.
    ///
    /// A time that a clock change skips is due once, at the end of the gap. A time that occurs
    /// twice is due once, the first time. An expression that matches every hour follows elapsed
    /// time instead, so that the hours between two of its runs stay the same.
    ///
    /// Returns `None` at the end of the calendar.
    pub fn next_after(&self, after: DateTime<Utc>, timezone: Timezone) -> Option<DateTime<Utc>> {
        let local = after.with_timezone(&timezone.0);
        if self.comes_every_hour() {
            let due = self.parsed.find_next_occurrence(&local, false).ok()?;
            return Some(due.to_utc());
        }
        let mut wall_clock = local.naive_local();
        loop {
            wall_clock = self.parsed.find_next_occurrence(&wall_clock, false).ok()?;
            let due = timezone.first_instant(wall_clock)?;
            // Not so in the second half of a repeated hour, nor right after a gap.
            if due > after {
                return Some(due);
            }
        }
    }

    fn comes_every_hour(&self) -> bool {
        (0..24).all(|hour| self.parsed.pattern.hour_match(hour).unwrap_or(false))
    }
}

/// A time zone of the IANA database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timezone(Tz);

impl Timezone {
    /// Coordinated Universal Time.
    pub const UTC: Self = Self(Tz::UTC);

    /// Parses a name such as `Europe/Berlin`. Returns `None` if the database has no such name.
    pub fn parse(name: &str) -> Option<Self> {
        name.parse().ok().map(Self)
    }

    /// Returns the name.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// Returns an instant as clocks of the zone show it, with the offset from UTC.
    pub fn show(self, instant: DateTime<Utc>) -> DateTime<FixedOffset> {
        instant.with_timezone(&self.0).fixed_offset()
    }

    /// Returns the first instant at which clocks show `wall_clock`, or the end of the gap that
    /// skips it.
    fn first_instant(self, wall_clock: NaiveDateTime) -> Option<DateTime<Utc>> {
        (0..=GAP_MAX_MINUTES).find_map(|minutes| {
            let shown = wall_clock.checked_add_signed(TimeDelta::minutes(minutes))?;
            let instant = self.0.from_local_datetime(&shown).earliest()?;
            Some(instant.to_utc())
        })
    }
}

#[cfg(test)]
mod tests;
