//! Reads arbitrary text as a cron expression, and looks for its due times.
//!
//! The first line of the input is the expression, the second one the time zone, the third one the
//! time to start from. A due time is after the start, does not depend on where the search begins,
//! and no time of day is due twice. For expressions of numbers, a second implementation that looks
//! at each minute finds the same due time.
#![no_main]

use std::time::Duration;

use chrono::{DateTime, Datelike, LocalResult, NaiveDateTime, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use libfuzzer_sys::fuzz_target;

use holdfast_domain::schedule::{Cron, CronFields, Timezone};
use holdfast_fuzz::{Bounds, first_line};

/// Zones with clock changes of an hour, half an hour, at midnight and over the date line, and
/// without any.
const ZONES: [&str; 8] = [
    "UTC",
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Asia/Kathmandu",
    "America/New_York",
    "Africa/Casablanca",
    "Pacific/Apia",
];

/// From 1975, when no zone had an offset with seconds anymore, to 2100.
const STARTS: std::ops::Range<i64> = 157_766_400..4_102_444_800;

/// An expression that never comes is only refused after a search through the calendar.
const BOUNDS: Bounds = Bounds {
    time: Duration::from_secs(1),
    ..Bounds::TEXT
};

/// How far the second implementation looks.
const LOOKED_AT: TimeDelta = TimeDelta::days(3);

/// The numbers that a simple field selects, by number.
type Selected = [bool; 60];

/// An expression of `*`, numbers, ranges and steps.
struct Simple {
    minute: Selected,
    hour: Selected,
    day: Selected,
    month: Selected,
    weekday: Selected,
    /// Whether both days are restricted, so that either of them is enough.
    either_day: bool,
}

impl Simple {
    fn parse(fields: &CronFields) -> Option<Self> {
        let mut weekday = select(&fields.day_of_week, 0, 7)?;
        weekday[0] |= weekday[7];
        // Unlike some programs, this one takes a step such as `*/2` for a restriction.
        let is_free = |field: &str| field == "*";
        Some(Self {
            minute: select(&fields.minute, 0, 59)?,
            hour: select(&fields.hour, 0, 23)?,
            day: select(&fields.day_of_month, 1, 31)?,
            month: select(&fields.month, 1, 12)?,
            weekday,
            either_day: !is_free(&fields.day_of_month) && !is_free(&fields.day_of_week),
        })
    }

    fn matches(&self, shown: NaiveDateTime) -> bool {
        let has = |selected: &Selected, number: u32| selected[number as usize];
        let day = has(&self.day, shown.day());
        let weekday = has(&self.weekday, shown.weekday().num_days_from_sunday());
        let is_day = match self.either_day {
            true => day || weekday,
            false => day && weekday,
        };
        is_day
            && has(&self.minute, shown.minute())
            && has(&self.hour, shown.hour())
            && has(&self.month, shown.month())
    }

    fn comes_every_hour(&self) -> bool {
        self.hour[..24].iter().all(|&selected| selected)
    }
}

/// Returns `None` for a field that is not simple.
fn select(field: &str, first: usize, last: usize) -> Option<Selected> {
    let number = |text: &str| -> Option<usize> {
        let is_number = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|_| is_number)
    };
    let mut selected = [false; 60];
    // A list with a star is read in different ways by different programs.
    if field.contains(',') && field.contains('*') {
        return None;
    }
    for item in field.split(',') {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, number(step).filter(|step| *step > 0)?),
            None => (item, 1),
        };
        let (from, to) = match range.split_once('-') {
            Some((from, to)) => (number(from)?, number(to)?),
            None if range == "*" => (first, last),
            None if item.contains('/') => return None,
            None => (number(range)?, number(range)?),
        };
        if from < first || to > last || from > to {
            return None;
        }
        for number in (from..=to).step_by(step) {
            selected[number] = true;
        }
    }
    Some(selected)
}

/// Finds the next due time by looking at each minute. Returns `None` if there is none soon.
fn next_by_minutes(simple: &Simple, after: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
    let minute = DateTime::from_timestamp(after.timestamp().div_euclid(60) * 60, 0)?;
    if simple.comes_every_hour() {
        return (1..=LOOKED_AT.num_minutes())
            .map(|minutes| minute + TimeDelta::minutes(minutes))
            .find(|instant| simple.matches(instant.with_timezone(&zone).naive_local()));
    }
    // A day earlier, since a clock change may show times again.
    let start = minute.with_timezone(&zone).naive_local() - TimeDelta::hours(26);
    let minutes = LOOKED_AT.num_minutes() + 2 * 26 * 60;
    let due = (0..minutes)
        .map(|minutes| start + TimeDelta::minutes(minutes))
        .filter(|shown| simple.matches(*shown))
        .map(|mut shown| {
            loop {
                match zone.from_local_datetime(&shown) {
                    LocalResult::Single(instant) | LocalResult::Ambiguous(instant, _) => {
                        return instant.to_utc();
                    }
                    LocalResult::None => shown += TimeDelta::minutes(1),
                }
            }
        })
        .filter(|due| *due > after)
        .min();
    due.filter(|due| *due <= after + LOOKED_AT)
}

fuzz_target!(|input: &[u8]| {
    let (expression, rest) = first_line(input);
    let (zone, start) = first_line(rest);
    let expression = String::from_utf8_lossy(expression);
    let Some(fields) = CronFields::split(&expression) else {
        return;
    };
    let parse = || Cron::parse(fields.clone());
    let Ok(cron) = BOUNDS.check(expression.len(), parse) else {
        return;
    };
    assert_eq!(cron.fields(), &fields);
    assert_eq!(CronFields::split(&fields.to_string()), Some(fields.clone()));

    let zone = String::from_utf8_lossy(zone);
    let sum = zone.bytes().map(usize::from).sum::<usize>();
    let timezone = Timezone::parse(&zone);
    let timezone = timezone.or_else(|| Timezone::parse(ZONES[sum % ZONES.len()]));
    let timezone = timezone.expect("a time zone");
    let tz: Tz = timezone.name().parse().expect("a time zone");
    let start = String::from_utf8_lossy(start);
    let start = start.trim().parse::<i64>().unwrap_or_default();
    let start = STARTS.start + start.rem_euclid(STARTS.end - STARTS.start);
    let start = DateTime::from_timestamp(start, 0).expect("a time");

    let next = |after| BOUNDS.check(expression.len(), || cron.next_after(after, timezone));
    let due = next(start).expect("it comes within 40 years");
    assert!(due > start);
    assert_eq!(next(due - TimeDelta::seconds(1)), Some(due));
    let middle = start + (due - start) / 2;
    if middle < due {
        assert_eq!(next(middle), Some(due), "after {middle}");
    }
    let second = next(due).expect("it comes within 40 years");
    assert!(second > due);
    let simple = Simple::parse(&fields);
    if let Some(simple) = &simple {
        let shown = |due: DateTime<Utc>| due.with_timezone(&tz).naive_local();
        assert!(
            simple.comes_every_hour() || shown(second) > shown(due),
            "{second}"
        );
        for (after, due) in [(start, due), (due, second)] {
            let found = next_by_minutes(simple, after, tz);
            let due = Some(due).filter(|due| *due <= after + LOOKED_AT);
            assert_eq!(found, due, "{expression} in {timezone:?} after {after}");
        }
    }
});
