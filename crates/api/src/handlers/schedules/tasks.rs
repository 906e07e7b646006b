//! The endpoints under `/api/client/servers/{server}/schedules/{schedule}/tasks`.

mod change;
mod create;
mod delete;
mod fields;

use serde_json::{Value, json};

use holdfast_db::{Transaction, schedules};
use holdfast_domain::Server;
use holdfast_domain::schedule::{
    PAYLOAD_MAX_BYTES, Schedule, ScheduleTask, StoredTask, TaskId, TaskLimits,
};

use crate::error::{ApiError, ScheduleRefused};
use crate::state::ApiState;

pub(crate) use change::*;
pub(crate) use create::*;
pub(crate) use delete::*;
#[cfg(fuzzing)]
pub(crate) use fields::TaskFields;

/// Finds the task in the path.
fn find_task<'a>(schedule: &'a Schedule, task: &str) -> Result<&'a StoredTask, ApiError> {
    let id = TaskId::parse(task).ok_or(ApiError::NotFound)?;
    let mut tasks = schedule.tasks.iter();
    tasks.find(|task| task.id == id).ok_or(ApiError::NotFound)
}

/// Checks that a schedule with `others` other tasks can have a task.
fn check_allowed(
    state: &ApiState,
    server: &Server,
    others: usize,
    task: &ScheduleTask,
) -> Result<(), ApiError> {
    let backups = server.limits.backups;
    let limits = TaskLimits {
        backups: backups.unwrap_or(state.options.backups_per_server),
        power: state.options.power_support,
    };
    let checked = limits.check(others, &task.action);
    checked.map_err(|refused| ApiError::Schedule(ScheduleRefused::Task(refused)))
}

/// Checks that the payloads of all tasks of a server stay within their limit.
async fn check_payload(
    transaction: &mut Transaction,
    server: &Server,
    task: &ScheduleTask,
    replaced: Option<&StoredTask>,
) -> Result<(), ApiError> {
    let length = |task: &ScheduleTask| task.action.payload().len() as u64;
    let usage = schedules::usage(transaction, server.id).await?;
    let added = length(task);
    let removed = replaced.map_or(0, |stored| length(&stored.task));
    if added > removed && usage.payload_bytes + added - removed > PAYLOAD_MAX_BYTES {
        return Err(ApiError::Schedule(ScheduleRefused::TooMuchPayload));
    }
    Ok(())
}

/// Returns what the audit log shows of a task.
fn properties(id: TaskId, task: &ScheduleTask) -> Value {
    json!({
        "task": id,
        "action": task.action.kind().as_str(),
        "payload": task.action.payload(),
    })
}
