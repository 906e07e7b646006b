//! Reads arbitrary bytes as the bodies of requests about backups and schedules, as JSON and as a
//! form.
//!
//! A body costs time and memory in proportion to its length, and so does its answer. What a
//! handler accepts keeps the limits, can be sent again with the same meaning, and has patterns that
//! the archive engine accepts as well.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

use holdfast_api::fuzzing::{self, BackupBody, MAX_IGNORED_BYTES, Refusal};
use holdfast_archive::IgnoreRules;
use holdfast_domain::schedule::{ScheduleSettings, ScheduleTask};
use holdfast_fuzz::{Bounds, FORM, JSON, check_refusal};

fn check_backup(fields: &BackupBody) {
    let name = fields.name.as_str();
    assert_eq!(name, name.trim());
    assert!((1..=191).contains(&name.chars().count()), "{name:?}");
    assert!(!name.contains('\0'));
    let bytes: usize = fields.ignored.iter().map(|line| line.len() + 1).sum();
    assert!(bytes <= MAX_IGNORED_BYTES + 1, "{bytes}");
    for line in &fields.ignored {
        assert!(!line.contains(['\n', '\0']) && !line.trim().is_empty());
    }
    let body = json!({
        "name": name,
        "ignored": fields.ignored,
        "is_locked": fields.is_locked,
        "full": fields.is_full,
    });
    let again = fuzzing::create_backup(body.to_string().as_bytes(), JSON);
    assert_eq!(again.as_ref(), Ok(fields));
    let form = [
        ("name", name),
        ("ignored_files", &fields.ignored.join("\r\n")),
        ("isLocked", if fields.is_locked { "1" } else { "0" }),
        ("full", if fields.is_full { "true" } else { "false" }),
    ];
    let form = serde_urlencoded::to_string(form).unwrap();
    let again = fuzzing::create_backup(form.as_bytes(), FORM);
    assert_eq!(again.as_ref(), Ok(fields));
    IgnoreRules::new(&fields.ignored).expect("the engine accepts what the API accepts");
}

/// Returns the name that a body has, read by the crate `serde_json` alone.
fn plain_name(body: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(body).ok()?;
    value.as_object()?.get("name")?.as_str().map(str::to_owned)
}

/// The body that stores a schedule again as it is.
fn schedule_body(settings: &ScheduleSettings) -> Value {
    let timing = &settings.timing;
    let cron = timing.cron.fields();
    json!({
        "name": settings.name.as_str(),
        "minute": cron.minute,
        "hour": cron.hour,
        "day_of_month": cron.day_of_month,
        "month": cron.month,
        "day_of_week": cron.day_of_week,
        "is_active": settings.is_active,
        "only_when_online": settings.only_when_online,
        "timezone": timing.timezone.name(),
        "jitter_seconds": timing.jitter_seconds,
        "missed": timing.missed.as_str(),
        "keep": settings.keep.map(|keep| keep.to_string()),
    })
}

fn check_schedule(settings: &ScheduleSettings) {
    let timing = &settings.timing;
    let start = chrono::DateTime::UNIX_EPOCH;
    let due = timing.cron.next_after(start, timing.timezone);
    assert!(due.is_some_and(|due| due > start), "it comes due");
    let body = schedule_body(settings);
    let again = fuzzing::schedule(body.to_string().as_bytes(), JSON).expect("it is accepted again");
    assert_eq!(schedule_body(&again), body);
}

fn check_task(task: &ScheduleTask, sequence: Option<u32>) {
    assert!(task.time_offset_seconds <= 900 && sequence != Some(0));
    let body = json!({
        "action": task.action.kind().as_str(),
        "payload": task.action.payload(),
        "time_offset": task.time_offset_seconds.to_string(),
        "sequence_id": sequence,
        "continue_on_failure": u8::from(task.continue_on_failure),
    });
    let again = fuzzing::schedule_task(body.to_string().as_bytes(), JSON);
    assert_eq!(again, Ok((task.clone(), sequence)));
}

fn checked<T>(body: &[u8], read: impl FnOnce() -> Result<T, Refusal>) -> Option<T> {
    Bounds::TEXT
        .check(body.len(), read)
        .map_err(|refusal| check_refusal(&refusal))
        .ok()
}

fuzz_target!(|body: &[u8]| {
    let with_query = String::from_utf8_lossy(body);
    for content_type in [JSON, FORM] {
        if let Some(fields) = checked(body, || fuzzing::create_backup(body, content_type)) {
            check_backup(&fields);
        }
        if let Some(name) = checked(body, || fuzzing::rename(body, content_type)) {
            let again = fuzzing::rename(json!({ "name": name }).to_string().as_bytes(), JSON);
            assert_eq!(again.as_ref(), Ok(&name));
            if let Some(plain) = plain_name(body) {
                assert_eq!(name, plain.trim());
            }
        }
        if let Some(settings) = checked(body, || fuzzing::schedule(body, content_type)) {
            check_schedule(&settings);
        }
        if let Some((task, sequence)) = checked(body, || fuzzing::schedule_task(body, content_type))
        {
            check_task(&task, sequence);
        }
        let locked = checked(body, || fuzzing::lock(body, content_type));
        // A form cannot begin with a brace, so the content type decides nothing then.
        if body.trim_ascii_start().starts_with(b"{") {
            assert_eq!(locked, fuzzing::lock(body, JSON).ok());
        }
        for is_required in [false, true] {
            let read = || fuzzing::restore(body, content_type, &with_query, is_required);
            if checked(body, read) == Some(None) {
                assert!(!is_required);
            }
        }
    }
});
