//! The audit log: written in the transaction of what it tells, never changed.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use holdfast_domain::activity::{ActivityEvent, RequestOrigin};
use holdfast_domain::{BackupId, ServerId};

use crate::error::Error;
use crate::pool::{COUNT_MAX, Database, Transaction, skip};

/// Writes down what was done to a backup, whose name is taken from its row. Without an origin, the
/// service itself did it.
///
/// # Errors
/// When the database can't be written.
pub async fn record(
    transaction: &mut Transaction,
    event: ActivityEvent,
    server: ServerId,
    backup: BackupId,
    origin: Option<&RequestOrigin>,
    properties: &Value,
) -> Result<(), Error> {
    sqlx::query!(
        "INSERT INTO activity (event, server_id, backup_id, backup_name, actor_id, actor_email, key_identifier,
                               address, properties)
         VALUES ($1, $2, $3, (SELECT name FROM backups WHERE id = $3), $4, $5, $6, $7, $8)",
        event.as_str(),
        server.0,
        backup.0,
        origin.map(|origin| origin.user.0) as Option<Uuid>,
        origin.map(|origin| origin.email.as_str()),
        origin.map(|origin| origin.key.as_str()),
        origin.and_then(|origin| origin.address).map(|address| address.to_string()),
        properties,
    )
    .execute(transaction.connection())
    .await?;
    Ok(())
}

/// A line of the audit log.
#[derive(Clone, Debug, PartialEq)]
pub struct ActivityEntry {
    /// Its number: later ones are greater.
    pub id: i64,
    /// The event's name.
    pub event: String,
    /// Which backup.
    pub backup: BackupId,
    /// What that was called then.
    pub backup_name: Option<String>,
    /// Who, by UUID; none for the service itself.
    pub actor: Option<Uuid>,
    /// Who, by address.
    pub actor_email: Option<String>,
    /// The public part of the key.
    pub key: Option<String>,
    /// From where.
    pub address: Option<String>,
    /// What else there is to say.
    pub properties: Value,
    /// When.
    pub at: DateTime<Utc>,
}

/// Counts a server's lines, up to a hundred thousand.
///
/// # Errors
/// When the database can't be read.
pub async fn count(database: &Database, server: ServerId) -> Result<u64, Error> {
    let count = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM (SELECT 1 FROM activity WHERE server_id = $1 LIMIT $2) rows"#,
        server.0,
        COUNT_MAX,
    )
    .fetch_one(database.pool())
    .await?;
    Ok(count.unsigned_abs())
}

/// Lists a server's lines, newest first, from `offset` on, at most `limit`.
///
/// # Errors
/// When the database can't be read.
pub async fn list(
    database: &Database,
    server: ServerId,
    limit: u32,
    offset: u64,
) -> Result<Vec<ActivityEntry>, Error> {
    let rows = sqlx::query!(
        "SELECT id, event, backup_id, backup_name, actor_id, actor_email, key_identifier, address, properties,
                created_at
         FROM activity WHERE server_id = $1 ORDER BY id DESC LIMIT $2 OFFSET $3",
        server.0,
        i64::from(limit),
        skip(offset),
    )
    .fetch_all(database.pool())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| ActivityEntry {
            id: row.id,
            event: row.event,
            backup: BackupId(row.backup_id),
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
