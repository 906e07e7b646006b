//! The fields of requests that create or change a task.

use holdfast_domain::ignore::{IgnoreLimit, IgnorePatterns};
use holdfast_domain::schedule::{
    COMMAND_MAX_BYTES, PowerAction, ScheduleTask, TIME_OFFSET_MAX_SECONDS, TaskAction,
    TaskActionKind, TaskRefused,
};

use crate::error::ApiError;
use crate::input::Fields;

/// The fields of a request.
#[derive(Debug)]
pub(crate) struct TaskFields {
    pub(crate) task: ScheduleTask,
    /// The number of the task in its schedule, from 1, if it was sent.
    pub(crate) sequence: Option<u32>,
}

impl TaskFields {
    /// Takes the fields of a request. Ignore patterns may have `max_ignored_bytes`.
    ///
    /// # Errors
    /// [`ApiError::Invalid`]
    pub(crate) fn take(mut fields: Fields, max_ignored_bytes: usize) -> Result<Self, ApiError> {
        let kinds = TaskActionKind::ALL.map(TaskActionKind::as_str);
        let kind = fields.one_of("action", &kinds, TaskActionKind::parse);
        fields.require("action", kind.as_ref());
        let action = take_payload(&mut fields, kind, max_ignored_bytes);
        let time_offset_seconds = fields.number("time_offset", 0..=TIME_OFFSET_MAX_SECONDS);
        fields.require("time_offset", time_offset_seconds.as_ref());
        let sequence = fields.number("sequence_id", 1..=u32::MAX);
        let continue_on_failure = fields.flag("continue_on_failure").unwrap_or(false);
        fields.check()?;
        let task = ScheduleTask {
            action: action.ok_or(ApiError::Internal)?,
            time_offset_seconds: time_offset_seconds.ok_or(ApiError::Internal)?,
            continue_on_failure,
        };
        Ok(Self { task, sequence })
    }
}

/// Takes the payload, as the action needs it.
fn take_payload(
    fields: &mut Fields,
    kind: Option<TaskActionKind>,
    max_ignored_bytes: usize,
) -> Option<TaskAction> {
    const FIELD: &str = "payload";
    let payload = fields.untrimmed(FIELD);
    // A value that is no string has a violation already.
    if payload.is_none() && fields.is_invalid(FIELD) {
        return None;
    }
    let payload = payload.unwrap_or_default();
    let payload = match kind? {
        TaskActionKind::Backup => {
            match IgnorePatterns::parse([payload.as_str()], max_ignored_bytes) {
                Ok(patterns) => patterns.lines().join("\n"),
                Err(refused) => {
                    let rule = match refused.reason {
                        IgnoreLimit::Nul => "string",
                        _ => "max",
                    };
                    let detail = format!("The {FIELD} is invalid: {refused}.");
                    fields.add_violation(FIELD, rule, detail);
                    return None;
                }
            }
        }
        TaskActionKind::Power | TaskActionKind::Command => payload,
    };
    let (rule, detail) = match TaskAction::new(kind?, &payload) {
        Ok(action) => return Some(action),
        Err(TaskRefused::PayloadMissing) => (
            "required_unless",
            format!("The {FIELD} field is required unless action is in backup."),
        ),
        Err(TaskRefused::NoPowerAction) => {
            let actions = PowerAction::ALL.map(PowerAction::as_str).join(", ");
            ("in", format!("The {FIELD} must be one of {actions}."))
        }
        Err(TaskRefused::CommandTooLong) => (
            "max",
            format!("The {FIELD} may not be greater than {COMMAND_MAX_BYTES} bytes."),
        ),
        Err(TaskRefused::CommandNotOneLine) => (
            "string",
            format!("The {FIELD} must be one line without control characters."),
        ),
    };
    fields.add_violation(FIELD, rule, detail);
    None
}
