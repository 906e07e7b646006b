//! The values of options about schedules, for `holdfast admin schedule` and
//! `holdfast client schedule`.

use holdfast_domain::retention::KeepRules;
use holdfast_domain::schedule::{
    Cron, CronFields, JITTER_MAX_SECONDS, MissedPolicy, ScheduleName, TIME_OFFSET_MAX_SECONDS,
    TaskAction, TaskActionKind, TaskRefused, Timezone,
};

/// A command for a console; `None` if it is blank.
#[derive(Clone, Debug)]
pub(super) struct ConsoleLine(pub(super) Option<TaskAction>);

/// The retention rules of a schedule; `None` for none.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnRules(pub(super) Option<KeepRules>);

pub(super) fn cron(text: &str) -> Result<Cron, String> {
    let fields = CronFields::split(text)
        .ok_or("must have five fields: minute, hour, day of the month, month, day of the week")?;
    Cron::parse(fields).map_err(|error| error.to_string())
}

pub(super) fn timezone(text: &str) -> Result<Timezone, String> {
    let rule = "must be a name of the IANA time zone database, such as Europe/Berlin";
    Timezone::parse(text).ok_or_else(|| rule.to_owned())
}

pub(super) fn jitter(text: &str) -> Result<u32, String> {
    let rule = "must be a time such as 90s, 10m or 1h, and at most 24h";
    seconds(text, JITTER_MAX_SECONDS).ok_or_else(|| rule.to_owned())
}

pub(super) fn wait(text: &str) -> Result<u32, String> {
    let rule = "must be a time such as 15s or 2m, and at most 15m";
    seconds(text, TIME_OFFSET_MAX_SECONDS).ok_or_else(|| rule.to_owned())
}

/// Reads a time with its unit. Returns `None` if it is none, or longer than `max`.
fn seconds(text: &str, max: u32) -> Option<u32> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match &text[digits.len()..] {
        "h" => 3600,
        "m" => 60,
        "s" => 1,
        _ => return None,
    };
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number: u32 = digits.parse().ok()?;
    let seconds = number.checked_mul(unit);
    seconds.filter(|seconds| *seconds <= max)
}

pub(super) fn missed(text: &str) -> Result<MissedPolicy, String> {
    MissedPolicy::parse(text).ok_or_else(|| "must be run-once or skip".to_owned())
}

pub(super) fn keep(text: &str) -> Result<KeepRules, String> {
    KeepRules::parse(text).ok_or_else(|| format!("must be {}", KeepRules::FORMAT))
}

pub(super) fn keep_or_none(text: &str) -> Result<OwnRules, String> {
    if text == "none" {
        return Ok(OwnRules(None));
    }
    let rules = KeepRules::parse(text).map(|rules| OwnRules(Some(rules)));
    rules.ok_or_else(|| format!("must be `none`, or {}", KeepRules::FORMAT))
}

pub(super) fn name(text: &str) -> Result<ScheduleName, String> {
    match ScheduleName::parse(text) {
        Ok(Some(name)) => Ok(name),
        Ok(None) => Err("must not be blank".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

pub(super) fn command(text: &str) -> Result<ConsoleLine, String> {
    match TaskAction::new(TaskActionKind::Command, text) {
        Ok(action) => Ok(ConsoleLine(Some(action))),
        Err(TaskRefused::PayloadMissing) => Ok(ConsoleLine(None)),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jitter_is_at_most_a_day() {
        for (text, seconds) in [
            ("0s", Some(0)),
            ("90s", Some(90)),
            ("10m", Some(600)),
            ("24h", Some(86_400)),
            ("86401s", None),
            ("25h", None),
            ("-5m", None),
            ("+5m", None),
            ("5", None),
            ("", None),
            ("m", None),
            ("1d", None),
            ("1.5h", None),
            ("99999999999h", None),
            ("4294967295h", None),
            ("é", None),
        ] {
            assert_eq!(jitter(text).ok(), seconds, "{text}");
        }
    }

    #[test]
    fn a_wait_is_at_most_a_quarter_of_an_hour() {
        for (text, seconds) in [("15s", Some(15)), ("15m", Some(900)), ("901s", None)] {
            assert_eq!(wait(text).ok(), seconds, "{text}");
        }
    }
}
