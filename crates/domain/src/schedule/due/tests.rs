//! Tests of due times: late, missed, spread.

use super::*;
use crate::schedule::CronFields;

const ID: ScheduleId = ScheduleId(7);

fn timing(expression: &str, missed: MissedPolicy) -> Timing {
    let fields = CronFields::split(expression).expect("five fields");
    Timing {
        cron: Cron::parse(fields).expect("a valid expression"),
        timezone: Timezone::UTC,
        jitter_seconds: 0,
        missed,
    }
}

fn time(text: &str) -> DateTime<Utc> {
    let text = format!("2026-01-{text}Z");
    DateTime::parse_from_rfc3339(&text)
        .expect("a time")
        .to_utc()
}

#[test]
fn after_an_outage_the_latest_due_time_runs_and_the_others_are_missed() {
    use MissedPolicy::{RunOnce, Skip};
    let due = time("01T04:00:00");
    // now, policy, busy, (run, missed)
    for (now, policy, is_busy, run, missed) in [
        ("01T03:59:59", RunOnce, false, None, vec![]),
        ("01T04:00:00", RunOnce, false, Some("01T04:00:00"), vec![]),
        ("01T04:05:00", Skip, false, Some("01T04:00:00"), vec![]),
        ("01T04:05:01", Skip, false, None, vec!["01T04:00:00"]),
        ("01T23:00:00", RunOnce, false, Some("01T04:00:00"), vec![]),
        (
            "03T09:00:00",
            RunOnce,
            false,
            Some("03T04:00:00"),
            vec!["01T04:00:00", "02T04:00:00"],
        ),
        (
            "03T04:00:01",
            Skip,
            false,
            Some("03T04:00:00"),
            vec!["01T04:00:00", "02T04:00:00"],
        ),
        (
            "03T09:00:00",
            Skip,
            false,
            None,
            vec!["01T04:00:00", "02T04:00:00", "03T04:00:00"],
        ),
        ("01T04:00:01", RunOnce, true, None, vec!["01T04:00:00"]),
    ] {
        let timing = timing("0 4 * * *", policy);
        let times = due_times(ID, &timing, due, time(now), is_busy);
        let missed: Vec<_> = missed.into_iter().map(time).collect();
        assert_eq!(times.run, run.map(time), "{now} {policy:?}");
        assert_eq!(times.missed, missed, "{now} {policy:?}");
        let (next, begin) = times.next.expect("a due time");
        assert!(next > time(now) && next == begin);
    }
}

#[test]
fn a_long_outage_is_recorded_in_bounded_time_and_space() {
    let minutely = timing("* * * * *", MissedPolicy::RunOnce);
    let (due, now) = (time("01T00:00:00"), time("11T00:00:00"));
    let times = due_times(ID, &minutely, due, now, false);
    assert_eq!(times.run, Some(now));
    assert_eq!(times.missed.len(), 1500);
    assert_eq!(times.missed[0], due);
    assert_eq!(times.missed[1], now - TimeDelta::minutes(1499));
    assert_eq!(times.missed.last(), Some(&time("10T23:59:00")));

    let nightly = timing("0 4 * * *", MissedPolicy::RunOnce);
    let due = time("01T04:00:00");
    let now = due + TimeDelta::days(2000);
    let times = due_times(ID, &nightly, due, now, false);
    assert_eq!(times.run, Some(now));
    assert_eq!(times.missed.len(), 31);
    assert_eq!(times.missed[..2], [due, now - TimeDelta::days(30)]);
}

#[test]
fn jitter_delays_a_schedule_by_the_same_time_each_day_and_spreads_schedules() {
    let mut timing = timing("0 4 * * *", MissedPolicy::RunOnce);
    timing.jitter_seconds = 600;
    let (due, begin) = timing.next(ID, time("01T12:00:00")).expect("a due time");
    assert_eq!(due, time("02T04:00:00"));
    assert_eq!(begin, due + timing.delay(ID));
    let before = begin - TimeDelta::seconds(1);
    assert_eq!(due_times(ID, &timing, due, before, false).run, None);
    assert_eq!(due_times(ID, &timing, due, begin, false).run, Some(due));

    // Ten parts of the span get about a tenth each.
    let mut counts = [0; 10];
    for id in 0..10_000 {
        let seconds = timing.delay(ScheduleId(id)).num_seconds();
        assert!((0..=600).contains(&seconds));
        counts[usize::try_from(seconds.min(599) / 60).expect("small")] += 1;
    }
    assert!(
        counts.iter().all(|count| (850..1150).contains(count)),
        "{counts:?}"
    );
}

#[test]
fn a_policy_is_parsed_in_both_spellings() {
    for (text, expected) in [
        ("run_once", Some(MissedPolicy::RunOnce)),
        ("run-once", Some(MissedPolicy::RunOnce)),
        ("skip", Some(MissedPolicy::Skip)),
        ("", None),
        ("Skip", None),
    ] {
        assert_eq!(MissedPolicy::parse(text), expected, "{text}");
    }
}
