//! The audit log. Entries are written in the transaction of what they describe and never change.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use holdfast_domain::activity::{ActivityEvent, RequestOrigin};
use holdfast_domain::schedule::ScheduleId;
use holdfast_domain::{BackupId, ServerId};

use crate::error::Error;
use crate::pool::{COUNT_MAX, Database, Transaction, clamp_offset};

/// Adds an entry about a backup. The name of the backup is read from its row. Without an origin,
/// the entry says that the service acted by itself.
///
/// # Errors
/// If the database can't be written.
pub async fn record(
    transaction: &mut Transaction,
    event: ActivityEvent,
    server: ServerId,
    backup: BackupId,
    origin: Option<&RequestOrigin>,
    properties: &Value,
) -> Result<(), Error> {
    let entry = NewEntry {
        event,
        server,
        backup,
        schedule: None,
        properties: properties.clone(),
    };
    insert(transaction, &[entry], origin).await
}

/// Adds an entry about a schedule. Its properties get the ID of the schedule, and its name as its
/// row has it. Without an origin, the entry says that the service acted by itself.
///
/// # Errors
/// If the database can't be written.
pub async fn record_schedule(
    transaction: &mut Transaction,
    event: ActivityEvent,
    server: ServerId,
    schedule: ScheduleId,
    origin: Option<&RequestOrigin>,
    properties: &Value,
) -> Result<(), Error> {
    let entry = NewEntry {
        event,
        server,
        backup: BackupId::NONE,
        schedule: Some(schedule),
        properties: properties.clone(),
    };
    insert(transaction, &[entry], origin).await
}

/// A new entry.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// The event.
    pub event: ActivityEvent,
    /// The server.
    pub server: ServerId,
    /// The backup, or [`BackupId::NONE`]. The entry gets its name as well.
    pub backup: BackupId,
    /// The schedule, if the entry is about one. The properties get its ID and name.
    pub schedule: Option<ScheduleId>,
    /// What the event adds to these, as a JSON object.
    pub properties: Value,
}

/// Adds entries that say that the service acted by itself.
///
/// # Errors
/// If the database can't be written.
pub async fn record_all(transaction: &mut Transaction, entries: &[NewEntry]) -> Result<(), Error> {
    insert(transaction, entries, None).await
}

async fn insert(
    transaction: &mut Transaction,
    entries: &[NewEntry],
    origin: Option<&RequestOrigin>,
) -> Result<(), Error> {
    let rows: Vec<Value> = entries
        .iter()
        .map(|entry| {
            json!({
                "event": entry.event.as_str(),
                "server_id": entry.server,
                "backup_id": entry.backup,
                "schedule_id": entry.schedule,
                "properties": entry.properties,
            })
        })
        .collect();
    sqlx::query!(
        "INSERT INTO activity (event, server_id, backup_id, backup_name, actor_id, actor_email,
                               key_identifier, address, properties)
         SELECT event, server_id, backup_id, (SELECT name FROM backups WHERE id = backup_id),
                $2::uuid, $3::text, $4::text, $5::text,
                CASE
                    WHEN schedule_id IS NULL THEN properties
                    ELSE jsonb_build_object(
                        'schedule', schedule_id,
                        'name', (SELECT name FROM schedules WHERE id = schedule_id)
                    ) || properties
                END
         FROM jsonb_to_recordset($1) AS e (
             event text, server_id uuid, backup_id uuid, schedule_id bigint, properties jsonb
         )",
        Value::Array(rows),
        origin.and_then(|origin| origin.user).map(|user| user.0) as Option<Uuid>,
        origin.map(|origin| origin.email.as_str()),
        origin.map(|origin| origin.key.as_str()),
        origin
            .and_then(|origin| origin.address)
            .map(|address| address.to_string()),
    )
    .execute(transaction.connection())
    .await?;
    Ok(())
}

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq)]
pub struct ActivityEntry {
    /// The number of the entry. Later entries have greater numbers.
    pub id: i64,
    /// The name of the event.
    pub event: String,
    /// The backup, if the entry is about one.
    pub backup: Option<BackupId>,
    /// The name of the backup at that time.
    pub backup_name: Option<String>,
    /// The UUID of the user, or `None` if the service acted by itself.
    pub actor: Option<Uuid>,
    /// The email address of the user.
    pub actor_email: Option<String>,
    /// The public part of the API key.
    pub key: Option<String>,
    /// The IP address of the client.
    pub address: Option<String>,
    /// Details, in a shape that the event defines.
    pub properties: Value,
    /// When it happened.
    pub at: DateTime<Utc>,
}

/// Counts the entries of a server, up to 100,000. Those about schedules are left out unless
/// `of_schedules` is set.
///
/// # Errors
/// If the database can't be read.
pub async fn count(
    database: &Database,
    server: ServerId,
    of_schedules: bool,
) -> Result<u64, Error> {
    let count = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM (
               SELECT 1 FROM activity WHERE server_id = $1 AND ($3 OR backup_id <> $4) LIMIT $2
           ) rows"#,
        server.0,
        COUNT_MAX,
        of_schedules,
        BackupId::NONE.0,
    )
    .fetch_one(database.pool())
    .await?;
    Ok(count.unsigned_abs())
}

/// Lists a page of the entries of a server, newest first. Those about schedules are left out unless
/// `of_schedules` is set.
///
/// # Errors
/// If the database can't be read.
pub async fn list(
    database: &Database,
    server: ServerId,
    of_schedules: bool,
    limit: u32,
    offset: u64,
) -> Result<Vec<ActivityEntry>, Error> {
    let rows = sqlx::query!(
        "SELECT id, event, backup_id, backup_name, actor_id, actor_email, key_identifier, address,
                properties, created_at
         FROM activity WHERE server_id = $1 AND ($4 OR backup_id <> $5)
         ORDER BY id DESC LIMIT $2 OFFSET $3",
        server.0,
        i64::from(limit),
        clamp_offset(offset),
        of_schedules,
        BackupId::NONE.0,
    )
    .fetch_all(database.pool())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| ActivityEntry {
            id: row.id,
            event: row.event,
            backup: BackupId(row.backup_id).some(),
            backup_name: row.backup_name,
            actor: row.actor_id,
            actor_email: row.actor_email,
            key: row.key_identifier,
            address: row.address,
            properties: row.properties,
            at: row.created_at,
        })
        .collect())
}
