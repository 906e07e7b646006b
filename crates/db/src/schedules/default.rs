//! The default schedule, which the settings give every server.
//!
//! `servers.default_schedule` holds a fingerprint of what was last applied to a server. So servers
//! that need a change are found by an index, and a check that finds none is cheap.

use uuid::Uuid;

use holdfast_domain::schedule::{DefaultSchedule, ScheduleId};

use super::due::{NextDue, set_next};
use crate::error::Error;
use crate::pool::{Database, Transaction};

/// Creates, changes or deletes the default schedules of at most `limit` servers that do not have
/// what the settings say, in one transaction. `None` means that servers have no default schedule.
/// Returns how many servers were changed.
///
/// A server whose limit of backups is 0 gets no default schedule; `backups_per_server` is the limit
/// of servers without their own. A server whose default schedule is due is left for later, so that
/// no due time is lost.
///
/// # Errors
/// If the database can't be read or written.
pub async fn apply_default(
    database: &Database,
    default: Option<&DefaultSchedule>,
    backups_per_server: u32,
    limit: u32,
) -> Result<usize, Error> {
    let fingerprint = default.map_or(String::new(), |default| {
        default.fingerprint(backups_per_server)
    });
    let found = sqlx::query_scalar!(
        r#"SELECT id AS "id!" FROM (
               (SELECT id FROM servers
                WHERE deleting_at IS NULL AND default_schedule < $1
                ORDER BY default_schedule LIMIT $2)
               UNION ALL
               (SELECT id FROM servers
                WHERE deleting_at IS NULL AND default_schedule > $1
                ORDER BY default_schedule LIMIT $2)
           ) stale LIMIT $2"#,
        fingerprint,
        i64::from(limit),
    )
    .fetch_all(database.pool())
    .await?;
    if found.is_empty() {
        return Ok(0);
    }
    let mut transaction = database.begin().await?;
    let rows = sqlx::query!(
        r#"SELECT id, NOT no_default_schedule AND coalesce(backup_limit, $3) > 0 AS "is_wanted!"
           FROM servers s
           WHERE id = ANY ($1) AND deleting_at IS NULL AND default_schedule <> $2
               AND NOT EXISTS (
                   SELECT 1 FROM schedules d
                   WHERE d.server_id = s.id AND d.is_default AND d.next_run_at <= now())
           ORDER BY id FOR NO KEY UPDATE SKIP LOCKED"#,
        &found,
        fingerprint,
        i32::try_from(backups_per_server).unwrap_or(i32::MAX),
    )
    .fetch_all(transaction.connection())
    .await?;
    let locked: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let (wanted, unwanted): (Vec<_>, Vec<_>) = rows
        .into_iter()
        .partition(|row| row.is_wanted && default.is_some());
    let wanted: Vec<Uuid> = wanted.into_iter().map(|row| row.id).collect();
    let unwanted: Vec<Uuid> = unwanted.into_iter().map(|row| row.id).collect();
    sqlx::query!(
        "DELETE FROM schedules WHERE is_default AND server_id = ANY ($1)",
        &unwanted,
    )
    .execute(transaction.connection())
    .await?;
    if let Some(default) = default {
        save(&mut transaction, &wanted, default).await?;
    }
    sqlx::query!(
        "UPDATE servers SET default_schedule = $2 WHERE id = ANY ($1)",
        &locked,
        fingerprint,
    )
    .execute(transaction.connection())
    .await?;
    transaction.commit().await?;
    Ok(locked.len())
}

/// Inserts or updates the default schedules of servers.
async fn save(
    transaction: &mut Transaction,
    servers: &[Uuid],
    default: &DefaultSchedule,
) -> Result<(), Error> {
    let timing = &default.timing;
    let fields = timing.cron.fields();
    let rows = sqlx::query!(
        r#"INSERT INTO schedules (server_id, is_default, name, minute, hour, day_of_month, month,
                                  day_of_week, timezone, jitter_seconds, missed, keep)
           SELECT id, true, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11 FROM unnest($1::uuid[]) id
           ON CONFLICT (server_id) WHERE is_default DO UPDATE SET
               name = EXCLUDED.name, minute = EXCLUDED.minute, hour = EXCLUDED.hour,
               day_of_month = EXCLUDED.day_of_month, month = EXCLUDED.month,
               day_of_week = EXCLUDED.day_of_week, timezone = EXCLUDED.timezone,
               jitter_seconds = EXCLUDED.jitter_seconds, missed = EXCLUDED.missed,
               keep = EXCLUDED.keep, updated_at = now(),
               overdue_at = CASE
                   WHEN (schedules.minute, schedules.hour, schedules.day_of_month, schedules.month,
                         schedules.day_of_week, schedules.timezone)
                       = (EXCLUDED.minute, EXCLUDED.hour, EXCLUDED.day_of_month, EXCLUDED.month,
                          EXCLUDED.day_of_week, EXCLUDED.timezone)
                   THEN schedules.overdue_at
               END
           RETURNING id, now() AS "now!""#,
        servers,
        DefaultSchedule::NAME,
        fields.minute,
        fields.hour,
        fields.day_of_month,
        fields.month,
        fields.day_of_week,
        timing.timezone.name(),
        i32::try_from(timing.jitter_seconds).unwrap_or(i32::MAX),
        timing.missed.as_str(),
        default.keep.map(|keep| keep.to_string()),
    )
    .fetch_all(transaction.connection())
    .await?;
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    // No default schedule is due now, so no due time is lost.
    if let (Some(now), Some(first)) = (rows.first().map(|row| row.now), ids.first()) {
        let first = ScheduleId(*first);
        let first = NextDue::new(first, timing, timing.next(first, now));
        let next_of = |id: &i64| first.for_schedule(ScheduleId(*id), timing);
        let next: Vec<NextDue> = ids.iter().map(next_of).collect();
        set_next(transaction, &next).await?;
    }
    sqlx::query!(
        "DELETE FROM schedule_tasks WHERE schedule_id = ANY ($1)",
        &ids
    )
    .execute(transaction.connection())
    .await?;
    sqlx::query!(
        "INSERT INTO schedule_tasks (schedule_id, sequence, action, payload)
         SELECT id, 1, 'backup', $2 FROM unnest($1::bigint[]) id",
        &ids,
        default.ignored.lines().join("\n"),
    )
    .execute(transaction.connection())
    .await?;
    Ok(())
}
