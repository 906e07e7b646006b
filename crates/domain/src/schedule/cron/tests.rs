//! Tests of cron expressions, clock changes above all.

use chrono::{Datelike, NaiveDate, Timelike};
use proptest::prelude::*;

use super::*;

const ZONES: [&str; 6] = [
    "Europe/Berlin",
    "America/Sao_Paulo",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "America/New_York",
    "Africa/Casablanca",
];

fn cron(expression: &str) -> Cron {
    let fields = CronFields::split(expression).expect("five fields");
    Cron::parse(fields).expect("a valid expression")
}

fn zone(name: &str) -> Timezone {
    Timezone::parse(name).expect("a time zone")
}

fn time(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).expect("a time").to_utc()
}

/// Returns the next due times, as local times with their offsets.
fn next(expression: &str, zone_name: &str, after: &str, count: usize) -> Vec<String> {
    let (cron, zone) = (cron(expression), zone(zone_name));
    let mut after = time(after);
    (0..count)
        .map(|_| {
            after = cron.next_after(after, zone).expect("a due time");
            let local = after.with_timezone(&zone.0);
            local.format("%m-%d %H:%M %z").to_string()
        })
        .collect()
}

#[test]
fn a_skipped_time_is_due_at_the_end_of_the_gap_and_a_repeated_one_the_first_time() {
    for (expression, zone, after, expected) in [
        // Spring in Berlin: 02:00 to 03:00 is skipped on March 29.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T00:00:00Z",
            vec![
                "03-28 02:30 +0100",
                "03-29 03:00 +0200",
                "03-30 02:30 +0200",
            ],
        ),
        (
            "0,15,30 2 * * *",
            "Europe/Berlin",
            "2026-03-29T00:00:00Z",
            vec!["03-29 03:00 +0200", "03-30 02:00 +0200"],
        ),
        (
            "0 2,3 * * *",
            "Europe/Berlin",
            "2026-03-29T00:00:00Z",
            vec!["03-29 03:00 +0200", "03-30 02:00 +0200"],
        ),
        // Autumn: 02:00 to 03:00 occurs twice on October 25.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T12:00:00Z",
            vec!["10-25 02:30 +0200", "10-26 02:30 +0100"],
        ),
        // In the second half of the repeated hour.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-25T01:10:00Z",
            vec!["10-26 02:30 +0100"],
        ),
        // Hourly expressions follow elapsed time.
        (
            "0 * * * *",
            "Europe/Berlin",
            "2026-10-25T00:00:00Z",
            vec!["10-25 02:00 +0100", "10-25 03:00 +0100"],
        ),
        (
            "0 * * * *",
            "Europe/Berlin",
            "2026-03-29T00:00:00Z",
            vec!["03-29 03:00 +0200", "03-29 04:00 +0200"],
        ),
        // Lord Howe changes by half an hour: 02:00 to 02:30 is skipped on October 4, and 01:30 to
        // 02:00 occurs twice on April 5.
        (
            "15 2 * * *",
            "Australia/Lord_Howe",
            "2026-10-03T00:00:00Z",
            vec!["10-04 02:30 +1100", "10-05 02:15 +1100"],
        ),
        (
            "45 1 * * *",
            "Australia/Lord_Howe",
            "2026-04-04T00:00:00Z",
            vec!["04-05 01:45 +1100", "04-06 01:45 +1030"],
        ),
        // São Paulo had clock changes at midnight until 2019.
        (
            "0 0 * * *",
            "America/Sao_Paulo",
            "2018-11-03T12:00:00Z",
            vec!["11-04 01:00 -0200", "11-05 00:00 -0200"],
        ),
        (
            "0 0 * * *",
            "America/Sao_Paulo",
            "2026-11-03T12:00:00Z",
            vec!["11-04 00:00 -0300", "11-05 00:00 -0300"],
        ),
        (
            "0 4 * * *",
            "Asia/Kathmandu",
            "2026-01-01T00:00:00Z",
            vec!["01-02 04:00 +0545", "01-03 04:00 +0545"],
        ),
    ] {
        let found = next(expression, zone, after, expected.len());
        assert_eq!(found, expected, "{expression} in {zone} after {after}");
    }
}

#[test]
fn days_are_matched_as_in_cron() {
    for (expression, expected) in [
        ("0 4 * * 0", ["01-04 04:00 +0000", "01-11 04:00 +0000"]),
        ("0 4 * * 7", ["01-04 04:00 +0000", "01-11 04:00 +0000"]),
        ("0 4 * * SUN", ["01-04 04:00 +0000", "01-11 04:00 +0000"]),
        // The 13th, or a Friday.
        ("0 4 13 * 5", ["01-02 04:00 +0000", "01-09 04:00 +0000"]),
        ("0 4 29 2 *", ["02-29 04:00 +0000", "02-29 04:00 +0000"]),
        ("*/20 23 * * *", ["01-01 23:00 +0000", "01-01 23:20 +0000"]),
        (
            "0 4 * * mon,Wed",
            ["01-05 04:00 +0000", "01-07 04:00 +0000"],
        ),
        (
            "0 4 1 jan-feb *",
            ["02-01 04:00 +0000", "01-01 04:00 +0000"],
        ),
        ("0 4 * * MON#1", ["01-05 04:00 +0000", "02-02 04:00 +0000"]),
        ("0 4 * * 5L", ["01-30 04:00 +0000", "02-27 04:00 +0000"]),
        ("0 4 15W * *", ["01-15 04:00 +0000", "02-16 04:00 +0000"]),
        ("0 4 L * *", ["01-31 04:00 +0000", "02-28 04:00 +0000"]),
    ] {
        let found = next(expression, "UTC", "2026-01-01T12:00:00Z", 2);
        assert_eq!(found, expected, "{expression}");
    }
}

#[test]
fn an_expression_that_is_none_or_never_comes_is_refused() {
    let long = "1,".repeat(5000) + "1";
    let good = ["0", "4", "*", "*", "*"];
    for (field, text) in [
        (0, "60"),
        (0, "-1"),
        (0, ""),
        (0, " "),
        (0, "0 0"),
        (0, "@daily"),
        (0, "*/0"),
        (0, "5-1"),
        (0, "a"),
        (0, "\u{663}"),
        (0, "0\n"),
        (0, "1,,2"),
        (0, long.as_str()),
        (1, "24"),
        (1, "4.5"),
        (2, "0"),
        (2, "32"),
        (2, "99999999999999999999"),
        (3, "0"),
        (3, "13"),
        (3, "FOO"),
        (4, "8"),
        (4, "MONDAY"),
        (0, "SUN"),
        (1, "JAN"),
        (3, "MON"),
        (4, "JAN"),
        (0, "L"),
        (2, "1,"),
        (2, ",1"),
    ] {
        let mut fields = good;
        fields[field] = text;
        let fields = CronFields {
            minute: fields[0].to_owned(),
            hour: fields[1].to_owned(),
            day_of_month: fields[2].to_owned(),
            month: fields[3].to_owned(),
            day_of_week: fields[4].to_owned(),
        };
        assert!(Cron::parse(fields).is_err(), "field {field}: {text:?}");
    }
    for expression in ["0 4 30 2 *", "0 4 31 4,6,9,11 *"] {
        let fields = CronFields::split(expression).expect("five fields");
        assert!(Cron::parse(fields).is_err(), "{expression}");
    }
    assert_eq!(CronFields::split("0 4 * *"), None);
    assert_eq!(CronFields::split("0 4 * * * *"), None);
}

#[test]
fn a_time_zone_has_a_name_of_the_database() {
    for (name, is_known) in [
        ("UTC", true),
        ("Europe/Berlin", true),
        ("Mars/Olympus", false),
        ("europe/berlin", false),
        ("+02:00", false),
        ("", false),
    ] {
        assert_eq!(Timezone::parse(name).is_some(), is_known, "{name}");
    }
}

/// Returns the due times of one year by looking at each of its minutes, for lists of hours and
/// minutes on every day.
fn due_by_minutes(hours: &[u32], minutes: &[u32], zone: Timezone, year: i32) -> Vec<DateTime<Utc>> {
    let mut due = std::collections::BTreeSet::new();
    let mut day = NaiveDate::from_ymd_opt(year, 1, 1).expect("a date");
    while day.year() == year {
        for &hour in hours {
            for &minute in minutes {
                let mut shown = day.and_hms_opt(hour, minute, 0).expect("a time");
                let instant = loop {
                    match zone.0.from_local_datetime(&shown) {
                        chrono::LocalResult::Single(instant) => break instant,
                        chrono::LocalResult::Ambiguous(first, _) => break first,
                        chrono::LocalResult::None => shown += TimeDelta::minutes(1),
                    }
                };
                due.insert(instant.to_utc());
            }
        }
        day = day.succ_opt().expect("a date");
    }
    due.into_iter().collect()
}

fn text(values: &[u32]) -> String {
    let values: Vec<String> = values.iter().map(u32::to_string).collect();
    values.join(",")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn each_time_of_ten_years_is_due_once(
        zone_name in prop::sample::select(&ZONES[..]),
        year in 2005i32..2040,
        hours in prop::collection::btree_set(0u32..24, 1..4),
        minutes in prop::collection::btree_set(0u32..60, 1..3),
    ) {
        let hours: Vec<u32> = hours.into_iter().collect();
        let minutes: Vec<u32> = minutes.into_iter().collect();
        let zone = zone(zone_name);
        let cron = cron(&format!("{} {} * * *", text(&minutes), text(&hours)));
        let expected: Vec<DateTime<Utc>> = (year..year + 10)
            .flat_map(|year| due_by_minutes(&hours, &minutes, zone, year))
            .collect();
        let mut after = expected[0] - TimeDelta::seconds(1);
        for expected in expected {
            let due = cron.next_after(after, zone).expect("a due time");
            prop_assert_eq!(due, expected, "after {}", after);
            after = due;
        }
    }

    #[test]
    fn a_due_time_does_not_depend_on_where_the_search_begins(
        zone_name in prop::sample::select(&ZONES[..]),
        start in 1_100_000_000i64..2_500_000_000,
        hour in 0u32..24,
        minute in 0u32..60,
    ) {
        let zone = zone(zone_name);
        let cron = cron(&format!("{minute} {hour} * * *"));
        let start = DateTime::from_timestamp(start, 0).expect("a time");
        let due = cron.next_after(start, zone).expect("a due time");
        prop_assert!(due > start);
        let middle = start + (due - start) / 2;
        if middle < due {
            prop_assert_eq!(cron.next_after(middle, zone), Some(due));
        }
        prop_assert_eq!(cron.next_after(due - TimeDelta::seconds(1), zone), Some(due));
    }

    #[test]
    fn an_hourly_expression_is_due_at_each_instant_that_shows_its_minute(
        zone_name in prop::sample::select(&ZONES[..]),
        start in 1_100_000_000i64..2_500_000_000,
        minute in 0u32..60,
    ) {
        let zone = zone(zone_name);
        let cron = cron(&format!("{minute} * * * *"));
        let start = DateTime::from_timestamp(start / 60 * 60, 0).expect("a time");
        let due = cron.next_after(start, zone).expect("a due time");
        let mut expected = start + TimeDelta::minutes(1);
        while expected.with_timezone(&zone.0).minute() != minute {
            expected += TimeDelta::minutes(1);
        }
        prop_assert_eq!(due, expected);
    }

    #[test]
    fn no_text_makes_the_parser_panic(fields in prop::collection::vec(".{0,12}", 5)) {
        let [minute, hour, day_of_month, month, day_of_week] =
            <[String; 5]>::try_from(fields).expect("five fields");
        let fields = CronFields { minute, hour, day_of_month, month, day_of_week };
        if let Ok(cron) = Cron::parse(fields) {
            prop_assert!(cron.next_after(time("2026-01-01T00:00:00Z"), Timezone::UTC).is_some());
        }
    }
}
