//! Storage of schedules.

use chrono::{DateTime, Utc};

use holdfast_domain::retention::KeepRules;
use holdfast_domain::schedule::{ScheduleId, ScheduleSettings};
use holdfast_domain::{ServerId, UserId};

use super::due::{NextDue, set_next};
use crate::error::Error;
use crate::pool::Transaction;
use crate::servers::rules;

/// Inserts a schedule without tasks, with its next due time by the clock of the database.
///
/// # Errors
/// If the database can't be written.
pub async fn insert(
    transaction: &mut Transaction,
    server: ServerId,
    settings: &ScheduleSettings,
    created_by: Option<UserId>,
) -> Result<ScheduleId, Error> {
    let timing = &settings.timing;
    let fields = timing.cron.fields();
    let row = sqlx::query!(
        r#"INSERT INTO schedules (server_id, name, minute, hour, day_of_month, month, day_of_week,
                                  timezone, jitter_seconds, missed, keep, is_active,
                                  only_when_online, created_by)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
           RETURNING id, now() AS "now!""#,
        server.0,
        settings.name.as_str(),
        fields.minute,
        fields.hour,
        fields.day_of_month,
        fields.month,
        fields.day_of_week,
        timing.timezone.name(),
        i32::try_from(timing.jitter_seconds).unwrap_or(i32::MAX),
        timing.missed.as_str(),
        settings.keep.map(|keep| keep.to_string()),
        settings.is_active,
        settings.only_when_online,
        created_by.map(|user| user.0),
    )
    .fetch_one(transaction.connection())
    .await?;
    let id = ScheduleId(row.id);
    let next = next_of(id, settings, row.now);
    set_next(transaction, &[NextDue::new(id, timing, next)]).await?;
    Ok(id)
}

/// Replaces the settings of a schedule. If the expression, the time zone or the activity changes,
/// the next due time is set by the clock of the database. Returns whether the server has the
/// schedule.
///
/// # Errors
/// If the database can't be written.
pub async fn update(
    transaction: &mut Transaction,
    server: ServerId,
    schedule: ScheduleId,
    settings: &ScheduleSettings,
) -> Result<bool, Error> {
    let timing = &settings.timing;
    let fields = timing.cron.fields();
    // A due time that has come is not lost because something else is changed.
    let row = sqlx::query!(
        r#"UPDATE schedules SET name = $3, minute = $4, hour = $5, day_of_month = $6, month = $7,
                  day_of_week = $8, timezone = $9, jitter_seconds = $10, missed = $11, keep = $12,
                  is_active = $13, only_when_online = $14, updated_at = now(),
                  next_due_at = CASE WHEN kept.is_kept THEN next_due_at END,
                  next_run_at = CASE WHEN kept.is_kept THEN next_run_at END,
                  overdue_at = CASE WHEN kept.is_kept THEN overdue_at END
           FROM (
               SELECT id AS kept_id,
                   $13 AND (minute, hour, day_of_month, month, day_of_week, timezone)
                       = ($4, $5, $6, $7, $8, $9) AS is_kept
               FROM schedules WHERE id = $1 FOR NO KEY UPDATE
           ) kept
           WHERE id = $1 AND kept_id = id AND server_id = $2
           RETURNING next_due_at, now() AS "now!""#,
        schedule.0,
        server.0,
        settings.name.as_str(),
        fields.minute,
        fields.hour,
        fields.day_of_month,
        fields.month,
        fields.day_of_week,
        timing.timezone.name(),
        i32::try_from(timing.jitter_seconds).unwrap_or(i32::MAX),
        timing.missed.as_str(),
        settings.keep.map(|keep| keep.to_string()),
        settings.is_active,
        settings.only_when_online,
    )
    .fetch_optional(transaction.connection())
    .await?;
    let Some(row) = row else { return Ok(false) };
    let kept = row.next_due_at;
    let kept = kept.map(|due| (due, due + timing.delay(schedule)));
    let next = kept.or_else(|| next_of(schedule, settings, row.now));
    set_next(transaction, &[NextDue::new(schedule, timing, next)]).await?;
    Ok(true)
}

fn next_of(
    schedule: ScheduleId,
    settings: &ScheduleSettings,
    now: DateTime<Utc>,
) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    settings
        .is_active
        .then(|| settings.timing.next(schedule, now))
        .flatten()
}

/// Returns the retention rules of a schedule; `None` if it has none, or was deleted.
///
/// # Errors
/// If the database can't be read.
pub async fn keep_rules(
    transaction: &mut Transaction,
    schedule: ScheduleId,
) -> Result<Option<KeepRules>, Error> {
    let keep = sqlx::query_scalar!("SELECT keep FROM schedules WHERE id = $1", schedule.0)
        .fetch_optional(transaction.connection())
        .await?;
    keep.flatten().as_deref().map(rules).transpose()
}

/// Deletes a schedule and its tasks. Unfinished runs continue, since they may owe a task. A server
/// whose default schedule is deleted gets no other one. The caller has locked the server. Returns
/// whether the schedule existed.
///
/// # Errors
/// If the database can't be written.
pub async fn delete(
    transaction: &mut Transaction,
    server: ServerId,
    schedule: ScheduleId,
) -> Result<bool, Error> {
    let is_default = sqlx::query_scalar!(
        "DELETE FROM schedules WHERE id = $1 AND server_id = $2 RETURNING is_default",
        schedule.0,
        server.0,
    )
    .fetch_optional(transaction.connection())
    .await?;
    if is_default == Some(true) {
        sqlx::query!(
            "UPDATE servers SET no_default_schedule = true WHERE id = $1",
            server.0
        )
        .execute(transaction.connection())
        .await?;
    }
    Ok(is_default.is_some())
}
