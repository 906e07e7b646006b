//! Backups whose date is in the future, because the clock was set back.

use super::*;

#[test]
fn a_date_in_the_future_is_not_the_newest_and_no_rule_counts_or_deletes_it() {
    let future = "its date is in the future, so its age is not known";
    // The clock was a year ahead for some days.
    let text = format!(
        "2027-07-16T00:00:00Z         -> stays: {future}
         2027-07-15T00:00:00Z         -> stays: {future}
         2027-07-15T00:00:00Z damaged -> stays: {future}
         2027-07-15T00:00:00Z failed  -> stays: {future}
         2026-07-15T11:00:00Z         -> stays: it is the newest that completed
         2026-07-14T11:00:00Z         -> stays: it is not older than 10 days
         2026-07-01T11:00:00Z         -> goes: it is older than 10 days"
    );
    assert_verdicts(days(10), &text);
    let rules = |text: &str| RetentionPolicy {
        days: 10,
        keep_rules: KeepRules::parse(text).expect("rules"),
        rotate_to: None,
    };
    for (policy, name) in [
        (rules("last=2"), "keep_last"),
        (rules("daily=2"), "keep_daily"),
        (rules("hourly=2"), "keep_hourly"),
        (rules("within=2"), "keep_within_days"),
    ] {
        let text = format!(
            "2027-07-16T00:00:00Z         -> stays: {future}
             2027-07-15T00:00:00Z         -> stays: {future}
             2026-07-15T11:00:00Z         -> stays: it is the newest that completed
             2026-07-14T13:00:00Z         -> stays: kept by {name}
             2026-07-13T11:00:00Z         -> goes: no keep rule keeps it"
        );
        assert_verdicts(policy, &text);
    }
}

#[test]
fn clocks_that_differ_by_less_than_a_day_change_nothing() {
    assert_verdicts(
        days(10),
        "2026-07-16T12:00:00Z         -> stays: it is the newest that completed
         2026-07-15T11:00:00Z         -> stays: it is not older than 10 days",
    );
    assert_verdicts(
        days(10),
        "2026-07-16T12:00:01Z         -> stays: its date is in the future, so its age is not known
         2026-07-15T11:00:00Z         -> stays: it is the newest that completed",
    );
}

#[test]
fn without_a_possible_date_the_latest_date_counts_as_the_newest() {
    assert_verdicts(
        days(10),
        "2027-07-16T00:00:00Z damaged -> stays: it is the newest that completed
         2027-07-15T00:00:00Z         -> stays: it is the newest that is good
         2027-07-14T00:00:00Z         -> stays: its date is in the future, so its age is not known",
    );
}

#[test]
fn rotation_deletes_backups_of_the_future_before_those_made_since() {
    let policy = |limit| RetentionPolicy {
        rotate_to: Some(limit),
        ..RetentionPolicy::default()
    };
    let goes = |limit: u32| {
        format!("goes: it is the oldest, and the server has more than {limit} backups")
    };
    let text = format!(
        "2027-07-16T00:00:00Z         -> stays: there is no age limit
         2027-07-15T00:00:00Z locked  -> stays: it is locked
         2027-07-14T00:00:00Z         -> {}
         2026-07-15T11:00:00Z         -> stays: it is the newest that completed
         2026-07-14T11:00:00Z         -> stays: there is no age limit",
        goes(4)
    );
    assert_verdicts(policy(4), &text);
    let text = format!(
        "2027-07-16T00:00:00Z         -> {0}
         2027-07-15T00:00:00Z         -> {0}
         2026-07-15T11:00:00Z         -> stays: it is the newest that completed
         2026-07-14T11:00:00Z         -> {0}",
        goes(1)
    );
    assert_verdicts(policy(1), &text);
}
