//! The tasks of schedules.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use holdfast_domain::schedule::{
    ScheduleId, ScheduleTask, StoredTask, TaskAction, TaskActionKind, TaskId,
};

use crate::error::Error;
use crate::pool::Transaction;

struct TaskRow {
    id: i64,
    schedule_id: i64,
    sequence: i32,
    action: String,
    payload: String,
    time_offset_seconds: i32,
    continue_on_failure: bool,
    is_queued: bool,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl TryFrom<TaskRow> for StoredTask {
    type Error = Error;

    fn try_from(row: TaskRow) -> Result<Self, Error> {
        let kind = TaskActionKind::parse(&row.action)
            .ok_or_else(|| Error::unreadable("action of a task", &row.action))?;
        let action = TaskAction::new(kind, &row.payload)
            .map_err(|_| Error::unreadable("payload of a task", &row.payload))?;
        Ok(Self {
            id: TaskId(row.id),
            sequence: row.sequence.unsigned_abs(),
            task: ScheduleTask {
                action,
                time_offset_seconds: row.time_offset_seconds.unsigned_abs(),
                continue_on_failure: row.continue_on_failure,
            },
            is_queued: row.is_queued,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

/// Lists the tasks of schedules, in their order.
pub(super) async fn list(
    transaction: &mut Transaction,
    schedules: &[i64],
) -> Result<BTreeMap<ScheduleId, Vec<StoredTask>>, Error> {
    let rows = sqlx::query_as!(
        TaskRow,
        r#"SELECT t.id, t.schedule_id, t.sequence, t.action, t.payload, t.time_offset_seconds,
                  t.continue_on_failure, t.created_at, t.updated_at,
                  -- An aborted run owes the current task, and perhaps later ones.
                  EXISTS (
                      SELECT 1 FROM schedule_runs r
                      WHERE r.server_id = s.server_id AND r.schedule_id = s.id
                          AND r.state IN ('waiting', 'running') AND NOT r.is_abandoned
                          AND r.task < t.sequence
                          AND t.sequence <= jsonb_array_length(r.tasks)
                          AND (r.task = t.sequence - 1 OR NOT r.is_aborted)
                  ) AS "is_queued!"
           FROM schedule_tasks t JOIN schedules s ON s.id = t.schedule_id
           WHERE t.schedule_id = ANY ($1) ORDER BY t.schedule_id, t.sequence"#,
        schedules,
    )
    .fetch_all(transaction.connection())
    .await?;
    let mut tasks: BTreeMap<ScheduleId, Vec<StoredTask>> = BTreeMap::new();
    for row in rows {
        let schedule = ScheduleId(row.schedule_id);
        tasks.entry(schedule).or_default().push(row.try_into()?);
    }
    Ok(tasks)
}

/// Inserts a task at `sequence`, and moves the tasks from there on back. The caller has locked the
/// schedule, and `sequence` is at most one more than the number of tasks.
///
/// # Errors
/// If the database can't be written.
pub async fn insert_task(
    transaction: &mut Transaction,
    schedule: ScheduleId,
    sequence: u32,
    task: &ScheduleTask,
) -> Result<TaskId, Error> {
    let sequence = i32::try_from(sequence).unwrap_or(i32::MAX);
    sqlx::query!(
        "UPDATE schedule_tasks SET sequence = sequence + 1
         WHERE schedule_id = $1 AND sequence >= $2",
        schedule.0,
        sequence,
    )
    .execute(transaction.connection())
    .await?;
    let id = sqlx::query_scalar!(
        "INSERT INTO schedule_tasks (schedule_id, sequence, action, payload, time_offset_seconds,
                                     continue_on_failure)
         VALUES ($1, $2, $3, $4, $5, $6) RETURNING id",
        schedule.0,
        sequence,
        task.action.kind().as_str(),
        task.action.payload(),
        i32::try_from(task.time_offset_seconds).unwrap_or(i32::MAX),
        task.continue_on_failure,
    )
    .fetch_one(transaction.connection())
    .await?;
    Ok(TaskId(id))
}

/// Replaces all tasks of a schedule. The caller has locked the schedule's server.
///
/// # Errors
/// If the database can't be written.
pub async fn replace_tasks(
    transaction: &mut Transaction,
    schedule: ScheduleId,
    tasks: &[ScheduleTask],
) -> Result<(), Error> {
    sqlx::query!(
        "DELETE FROM schedule_tasks WHERE schedule_id = $1",
        schedule.0
    )
    .execute(transaction.connection())
    .await?;
    for (sequence, task) in (1..).zip(tasks) {
        insert_task(transaction, schedule, sequence, task).await?;
    }
    Ok(())
}

/// Replaces a task, and moves it to `sequence`. Returns whether the schedule has it.
///
/// # Errors
/// If the database can't be written.
pub async fn update_task(
    transaction: &mut Transaction,
    schedule: ScheduleId,
    id: TaskId,
    sequence: u32,
    task: &ScheduleTask,
) -> Result<bool, Error> {
    let done = sqlx::query!(
        "UPDATE schedule_tasks t SET
             sequence = CASE
                 WHEN t.id = $2 THEN $3
                 WHEN t.sequence > old.sequence AND t.sequence <= $3 THEN t.sequence - 1
                 WHEN t.sequence < old.sequence AND t.sequence >= $3 THEN t.sequence + 1
                 ELSE t.sequence
             END,
             action = CASE WHEN t.id = $2 THEN $4 ELSE t.action END,
             payload = CASE WHEN t.id = $2 THEN $5 ELSE t.payload END,
             time_offset_seconds = CASE WHEN t.id = $2 THEN $6 ELSE t.time_offset_seconds END,
             continue_on_failure = CASE WHEN t.id = $2 THEN $7 ELSE t.continue_on_failure END,
             updated_at = CASE WHEN t.id = $2 THEN now() ELSE t.updated_at END
         FROM (SELECT sequence FROM schedule_tasks WHERE id = $2 AND schedule_id = $1) old
         WHERE t.schedule_id = $1",
        schedule.0,
        id.0,
        i32::try_from(sequence).unwrap_or(i32::MAX),
        task.action.kind().as_str(),
        task.action.payload(),
        i32::try_from(task.time_offset_seconds).unwrap_or(i32::MAX),
        task.continue_on_failure,
    )
    .execute(transaction.connection())
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Deletes a task, and moves later ones up. Returns whether the schedule had it.
///
/// # Errors
/// If the database can't be written.
pub async fn delete_task(
    transaction: &mut Transaction,
    schedule: ScheduleId,
    id: TaskId,
) -> Result<bool, Error> {
    let sequence = sqlx::query_scalar!(
        "DELETE FROM schedule_tasks WHERE id = $2 AND schedule_id = $1 RETURNING sequence",
        schedule.0,
        id.0,
    )
    .fetch_optional(transaction.connection())
    .await?;
    let Some(sequence) = sequence else {
        return Ok(false);
    };
    sqlx::query!(
        "UPDATE schedule_tasks SET sequence = sequence - 1
         WHERE schedule_id = $1 AND sequence > $2",
        schedule.0,
        sequence,
    )
    .execute(transaction.connection())
    .await?;
    Ok(true)
}
