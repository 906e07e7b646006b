//! Events of backups, restores, verifications and schedules. Triggers write them
//! (`migrations/0007_events.sql`); this module only reads and prunes them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use holdfast_domain::event::{BackupSnapshot, ScheduleSnapshot};
use holdfast_domain::{BackupId, ServerEvent, ServerId};

use crate::error::Error;
use crate::pool::Database;

pub(crate) struct EventRow {
    pub(crate) id: i64,
    pub(crate) uuid: Uuid,
    pub(crate) kind: String,
    pub(crate) server_id: Uuid,
    pub(crate) server_name: String,
    pub(crate) backup_id: Uuid,
    pub(crate) backup: Option<Value>,
    pub(crate) schedule: Option<Value>,
    pub(crate) error: Option<String>,
    pub(crate) created_at: DateTime<Utc>,
}

impl TryFrom<EventRow> for ServerEvent {
    type Error = Error;

    fn try_from(row: EventRow) -> Result<Self, Error> {
        let backup = |value: Value| {
            let text = value.to_string();
            serde_json::from_value::<BackupSnapshot>(value)
                .map_err(|_| Error::unreadable("snapshot of a backup", text))
        };
        let schedule = |value: Value| {
            let text = value.to_string();
            serde_json::from_value::<ScheduleSnapshot>(value)
                .map_err(|_| Error::unreadable("snapshot of a schedule", text))
        };
        Ok(Self {
            number: row.id,
            id: row.uuid,
            kind: row.kind,
            server: ServerId(row.server_id),
            server_name: row.server_name,
            backup: BackupId(row.backup_id).some(),
            snapshot: row.backup.map(backup).transpose()?,
            schedule: row.schedule.map(schedule).transpose()?,
            error: row.error,
            at: row.created_at,
        })
    }
}

/// The numbers of the stored events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventRange {
    /// The number of the oldest stored event, if there is one.
    pub oldest: Option<i64>,
    /// The number of the newest event, or 0 if there is none.
    pub newest: i64,
}

/// Returns the range of the stored events.
///
/// # Errors
/// If the database can't be read.
pub async fn range(database: &Database) -> Result<EventRange, Error> {
    // The newest row, not the sequence: that is ahead of the commits.
    let row = sqlx::query!("SELECT min(id) AS oldest, max(id) AS newest FROM events")
        .fetch_one(database.pool())
        .await?;
    Ok(EventRange {
        oldest: row.oldest,
        newest: row.newest.unwrap_or(0),
    })
}

/// Reads the events of several servers after the given numbers, in order, and at most `limit` for
/// each server. Events become visible in the order of their numbers, so a reader misses none.
///
/// # Errors
/// If the database can't be read.
pub async fn list_after(
    database: &Database,
    servers: &[(ServerId, i64)],
    limit: u32,
) -> Result<Vec<ServerEvent>, Error> {
    let (ids, numbers): (Vec<Uuid>, Vec<i64>) = servers
        .iter()
        .map(|(server, number)| (server.0, *number))
        .unzip();
    let rows = sqlx::query_as!(
        EventRow,
        r#"SELECT e.id AS "id!", e.uuid AS "uuid!", e.kind AS "kind!",
                  e.server_id AS "server_id!", e.server_name AS "server_name!",
                  e.backup_id AS "backup_id!", e.backup AS "backup?",
                  e.schedule AS "schedule?", e.error AS "error?", e.created_at AS "created_at!"
           FROM unnest($1::uuid[], $2::bigint[]) AS q (server, number)
           CROSS JOIN LATERAL (
               SELECT * FROM events
               WHERE server_id = q.server AND id > q.number ORDER BY id LIMIT $3
           ) e
           ORDER BY e.id"#,
        &ids,
        &numbers,
        i64::from(limit),
    )
    .fetch_all(database.pool())
    .await?;
    rows.into_iter().map(ServerEvent::try_from).collect()
}

/// Deletes up to 10,000 events that are older than `age`. Returns how many.
///
/// # Errors
/// If the database can't be written.
pub async fn prune(database: &Database, age: Duration) -> Result<u64, Error> {
    let done = sqlx::query!(
        "DELETE FROM events WHERE id = ANY (ARRAY(
             SELECT id FROM events WHERE created_at < now() - make_interval(secs => $1)
             ORDER BY created_at LIMIT 10000
         ))",
        age.as_secs_f64(),
    )
    .execute(database.pool())
    .await?;
    Ok(done.rows_affected())
}
