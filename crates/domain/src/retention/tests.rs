//! Tests of retention: tables of backups with their verdicts, and properties for random backups.

mod future_dates;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn now() -> DateTime<Utc> {
    // A Wednesday.
    "2026-07-15T12:00:00Z".parse().expect("a time")
}

/// Parses a backup from a line such as `2026-07-01T10:00:00Z locked`.
fn candidate(number: usize, line: &str) -> RetentionCandidate {
    let mut words = line.split_whitespace();
    let created_at = words.next().expect("a time").parse().expect("a time");
    let words: Vec<&str> = words.collect();
    let has = |word| words.contains(&word);
    let state = match () {
        () if has("creating") => CandidateState::Creating,
        () if has("failed") => CandidateState::Failed,
        () => CandidateState::Completed {
            is_good: !has("damaged"),
        },
    };
    RetentionCandidate {
        id: BackupId(Uuid::from_u128(number as u128)),
        created_at,
        state,
        is_locked: has("locked"),
        is_in_use: has("busy"),
    }
}

/// Decides about the backups before each `->`, and compares with the verdict after it.
#[track_caller]
fn assert_verdicts(policy: RetentionPolicy, text: &str) {
    let lines: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| line.trim().split_once("->"))
        .map(|(backup, verdict)| (backup.trim(), verdict.trim()))
        .collect();
    let candidates: Vec<RetentionCandidate> = lines
        .iter()
        .enumerate()
        .map(|(number, (backup, _))| candidate(number, backup))
        .collect();
    let decided = decide(&candidates, &policy, now());
    assert_eq!(decided.len(), candidates.len());
    for (candidate, (backup, expected)) in candidates.iter().zip(&lines) {
        let verdict = decided.iter().find(|(c, _)| c.id == candidate.id);
        let (_, verdict) = verdict.expect("every backup has its verdict");
        let word = match verdict {
            RetentionVerdict::Keep(_) => "stays",
            RetentionVerdict::Remove(_) => "goes",
        };
        assert_eq!(format!("{word}: {verdict}"), *expected, "{backup}");
    }
}

fn days(days: u32) -> RetentionPolicy {
    RetentionPolicy {
        days,
        ..RetentionPolicy::default()
    }
}

#[test]
fn a_backup_is_deleted_after_its_maximum_age() {
    assert_verdicts(
        days(10),
        "2026-07-15T11:00:00Z          -> stays: it is the newest that completed
         2026-07-05T12:00:01Z          -> stays: it is not older than 10 days
         2026-07-05T12:00:00Z          -> stays: it is not older than 10 days
         2026-07-05T11:59:59Z          -> goes: it is older than 10 days
         2026-07-05T11:59:59Z locked   -> stays: it is locked
         2026-07-05T11:59:59Z busy     -> stays: a job is working with it
         2026-07-05T11:59:59Z creating -> stays: it is being created
         2026-07-05T11:59:59Z failed   -> goes: it failed more than 10 days ago
         2026-07-06T12:00:00Z failed   -> stays: it is not older than 10 days
         2026-06-01T12:00:00Z damaged  -> goes: it is older than 10 days",
    );
    assert_verdicts(
        days(0),
        "2026-07-15T11:00:00Z          -> stays: it is the newest that completed
         1999-01-01T00:00:00Z          -> stays: there is no age limit
         1999-01-01T00:00:00Z failed   -> stays: there is no age limit",
    );
    assert_verdicts(
        days(u32::MAX),
        "2026-07-15T11:00:00Z          -> stays: it is the newest that completed
         1999-01-01T00:00:00Z          -> stays: it is not older than 4294967295 days",
    );
}

#[test]
fn the_newest_good_backup_is_kept_at_any_age() {
    assert_verdicts(
        days(1),
        "2020-01-02T00:00:00Z          -> stays: it is the newest that completed
         2020-01-01T00:00:00Z          -> goes: it is older than 1 days",
    );
    assert_verdicts(
        days(1),
        "2026-07-15T11:00:00Z failed   -> stays: it is not older than 1 days
         2026-07-15T11:00:00Z creating -> stays: it is being created
         2020-01-04T00:00:00Z damaged  -> stays: it is the newest that completed
         2020-01-03T00:00:00Z damaged  -> goes: it is older than 1 days
         2020-01-02T00:00:00Z          -> stays: it is the newest that is good
         2020-01-01T00:00:00Z          -> goes: it is older than 1 days",
    );
}

#[test]
fn rules_keep_the_newest_backup_of_each_period() {
    let keep_rules = KeepRules {
        last: 2,
        daily: 3,
        weekly: 2,
        monthly: 2,
        ..KeepRules::default()
    };
    let policy = RetentionPolicy {
        days: 1,
        keep_rules,
        rotate_to: None,
    };
    assert_verdicts(
        policy,
        "2026-07-15T11:00:00Z          -> stays: it is the newest that completed
         2026-07-15T10:00:00Z          -> stays: kept by keep_last
         2026-07-15T09:00:00Z          -> goes: no keep rule keeps it
         2026-07-14T23:00:00Z          -> stays: kept by keep_daily
         2026-07-14T22:00:00Z          -> goes: no keep rule keeps it
         2026-07-12T23:59:00Z          -> stays: kept by keep_daily, keep_weekly
         2026-07-06T00:00:00Z          -> goes: no keep rule keeps it
         2026-07-05T23:59:00Z          -> goes: no keep rule keeps it
         2026-06-30T23:59:00Z          -> stays: kept by keep_monthly
         2026-06-01T00:00:00Z locked   -> stays: it is locked
         2026-05-31T00:00:00Z          -> goes: no keep rule keeps it
         2026-05-31T00:00:00Z failed   -> goes: it failed more than 1 days ago",
    );
}

#[test]
fn rules_for_hours_weeks_and_recent_days() {
    let hourly = KeepRules {
        hourly: 2,
        within_days: 1,
        ..KeepRules::default()
    };
    let policy = |keep_rules| RetentionPolicy {
        days: 90,
        keep_rules,
        rotate_to: None,
    };
    assert_verdicts(
        policy(hourly),
        "2026-07-15T11:30:00Z          -> stays: it is the newest that completed
         2026-07-15T11:10:00Z          -> stays: kept by keep_within_days
         2026-07-15T10:59:00Z          -> stays: kept by keep_within_days, keep_hourly
         2026-07-14T12:00:00Z          -> stays: kept by keep_within_days
         2026-07-14T11:59:59Z          -> goes: no keep rule keeps it",
    );
    // The Monday 2025-12-29 begins the first week of 2026.
    let weekly = KeepRules {
        weekly: 2,
        ..KeepRules::default()
    };
    assert_verdicts(
        policy(weekly),
        "2026-01-02T00:00:00Z          -> stays: it is the newest that completed
         2025-12-29T00:00:00Z          -> goes: no keep rule keeps it
         2025-12-28T23:59:59Z          -> stays: kept by keep_weekly",
    );
    // A damaged backup is not counted. Its age decides.
    let last = KeepRules {
        last: 1,
        ..KeepRules::default()
    };
    assert_verdicts(
        policy(last),
        "2026-07-15T11:00:00Z damaged  -> stays: it is the newest that completed
         2026-07-15T10:00:00Z damaged  -> stays: it is not older than 90 days
         2026-07-15T09:00:00Z          -> stays: it is the newest that is good
         2026-07-15T08:00:00Z          -> goes: no keep rule keeps it",
    );
}

#[test]
fn rotation_deletes_the_oldest_unlocked_backups_above_the_limit() {
    let policy = RetentionPolicy {
        days: 0,
        keep_rules: KeepRules::default(),
        rotate_to: Some(3),
    };
    assert_verdicts(
        policy,
        "2026-07-15T11:00:00Z creating -> stays: it is being created
  2026-07-14T00:00:00Z          -> stays: it is the newest that completed
  2026-07-13T00:00:00Z          -> goes: it is the oldest, and the server has more than 3 backups
  2026-07-12T00:00:00Z failed   -> stays: there is no age limit
  2026-07-11T00:00:00Z          -> goes: it is the oldest, and the server has more than 3 backups
  2026-07-10T00:00:00Z locked   -> stays: it is locked",
    );
    // At the limit, nothing is deleted. The newest good backup never is.
    for (limit, verdict) in [
        (2, "stays: there is no age limit"),
        (
            1,
            "goes: it is the oldest, and the server has more than 1 backups",
        ),
        (
            0,
            "goes: it is the oldest, and the server has more than 0 backups",
        ),
    ] {
        let policy = RetentionPolicy {
            rotate_to: Some(limit),
            ..RetentionPolicy::default()
        };
        let text = format!(
            "2026-07-14T00:00:00Z -> stays: it is the newest that completed
             2026-07-13T00:00:00Z -> {verdict}"
        );
        assert_verdicts(policy, &text);
    }
}

#[test]
fn a_servers_own_days_and_rules_replace_the_configured_ones() {
    let settings = RetentionPolicy {
        days: 90,
        keep_rules: KeepRules {
            last: 1,
            ..KeepRules::default()
        },
        rotate_to: None,
    };
    assert_eq!(settings.for_server(None, None, None), settings);
    assert_eq!(settings.for_server(Some(7), None, None), days(7));
    assert_eq!(
        settings.for_server(Some(0), None, Some(4)).rotate_to,
        Some(4)
    );
    let daily = KeepRules::parse("daily=7");
    for (own_days, expected) in [(None, 90), (Some(0), 0), (Some(7), 7)] {
        let policy = settings.for_server(own_days, daily, None);
        assert_eq!((policy.days, Some(policy.keep_rules)), (expected, daily));
    }
    assert!(settings.keep_rules.is_on() && !days(7).keep_rules.is_on());
}

prop_compose! {
    fn any_candidate()(
        // About three years, so that some backups share a minute. Some dates are in the future.
        minutes_ago in prop_oneof![9 => -1000_i64..1_500_000, 1 => -500_000_i64..-1000],
        state in prop_oneof![
            1 => Just(CandidateState::Creating),
            2 => Just(CandidateState::Failed),
            2 => Just(CandidateState::Completed { is_good: false }),
            6 => Just(CandidateState::Completed { is_good: true }),
        ],
        is_locked in prop::bool::weighted(0.15),
        is_in_use in prop::bool::weighted(0.05),
    ) -> RetentionCandidate {
        RetentionCandidate {
            id: BackupId(Uuid::nil()),
            created_at: now() - TimeDelta::minutes(minutes_ago),
            state,
            is_locked,
            is_in_use,
        }
    }
}

prop_compose! {
    fn any_policy()(
        days in prop_oneof![Just(0_u32), 1_u32..1200],
        rules in prop_oneof![Just([0_u32; 6]), prop::array::uniform6(0_u32..6)],
        rotate_to in prop::option::of(0_u32..12),
    ) -> RetentionPolicy {
        let [within_days, last, hourly, daily, weekly, monthly] = rules;
        RetentionPolicy {
            days,
            keep_rules: KeepRules { within_days, last, hourly, daily, weekly, monthly },
            rotate_to,
        }
    }
}

proptest! {
    #[test]
    fn backups_that_must_be_kept_are_never_deleted(
        mut candidates in prop::collection::vec(any_candidate(), 0..40),
        policy in any_policy(),
    ) {
        for (number, candidate) in candidates.iter_mut().enumerate() {
            candidate.id = BackupId(Uuid::from_u128(number as u128));
        }
        let decided = decide(&candidates, &policy, now());
        let is_removed =
            |verdict: &RetentionVerdict| matches!(verdict, RetentionVerdict::Remove(_));
        let goes = |id| decided.iter().any(|(c, verdict)| c.id == id && is_removed(verdict));

        let mut ids: Vec<BackupId> = decided.iter().map(|(c, _)| c.id).collect();
        ids.sort();
        ids.dedup();
        prop_assert_eq!(ids.len(), candidates.len(), "each is decided about once");

        let newest = |wanted: fn(&RetentionCandidate) -> bool| {
            let order = |c: &&RetentionCandidate| (!is_in_future(c, now()), c.created_at, c.id);
            candidates.iter().filter(|c| wanted(c)).max_by_key(order)
        };
        let last_ones = [newest(|c| c.is_good()), newest(|c| c.is_completed())];
        for must_stay in last_ones.into_iter().flatten() {
            prop_assert!(!goes(must_stay.id), "the last one: {:?}", must_stay);
        }
        for candidate in &candidates {
            let must_stay = candidate.is_locked
                || candidate.is_in_use
                || candidate.state == CandidateState::Creating;
            prop_assert!(!(must_stay && goes(candidate.id)), "{:?}", candidate);
            let is_young = policy.days == 0 || !is_older(candidate, policy.days, now());
            let by_days_alone = !policy.keep_rules.is_on() && policy.rotate_to.is_none();
            prop_assert!(!(by_days_alone && is_young && goes(candidate.id)), "{:?}", candidate);
        }

        // Rotation keeps as many backups as the limit allows.
        let left = decided.iter().map(|(c, _)| *c).filter(|c| !goes(c.id));
        let left: Vec<RetentionCandidate> = left.collect();
        let is_over_limit = |verdict: &RetentionVerdict| {
            matches!(verdict, RetentionVerdict::Remove(RemoveReason::OverLimit(_)))
        };
        let rotated = decided.iter().any(|(_, verdict)| is_over_limit(verdict));
        if let (true, Some(limit)) = (rotated, policy.rotate_to) {
            let counted = left.iter().filter(|c| c.is_counted()).count();
            prop_assert!(counted >= usize::try_from(limit).unwrap_or(usize::MAX));
        }
        // A second decision about the remaining backups deletes nothing.
        for (candidate, verdict) in decide(&left, &policy, now()) {
            let is_kept = matches!(verdict, RetentionVerdict::Keep(_));
            prop_assert!(is_kept, "{:?} {}", candidate, verdict);
        }
    }
}
