//! Notices: what triggers have written down of backups and restores. Read here, pruned here, written nowhere in Rust.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use holdfast_domain::event::BackupSnapshot;
use holdfast_domain::{BackupEvent, BackupId, ServerId};

use crate::error::Error;
use crate::pool::Database;

pub(crate) struct Row {
    pub(crate) id: i64,
    pub(crate) uuid: Uuid,
    pub(crate) kind: String,
    pub(crate) server_id: Uuid,
    pub(crate) server_name: String,
    pub(crate) backup_id: Uuid,
    pub(crate) backup: Option<Value>,
    pub(crate) error: Option<String>,
    pub(crate) created_at: DateTime<Utc>,
}

impl TryFrom<Row> for BackupEvent {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let told = |value: Value| {
            let text = value.to_string();
            serde_json::from_value::<BackupSnapshot>(value)
                .map_err(|_| Error::unreadable("notice", text))
        };
        Ok(Self {
            number: row.id,
            id: row.uuid,
            kind: row.kind,
            server: ServerId(row.server_id),
            server_name: row.server_name,
            backup: BackupId(row.backup_id),
            snapshot: row.backup.map(told).transpose()?,
            error: row.error,
            at: row.created_at,
        })
    }
}

/// Where the notices stand that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventRange {
    /// The number of the oldest, if there is any.
    pub oldest: Option<i64>,
    /// The number of the newest that there ever was; 0 when there was none.
    pub newest: i64,
}

/// Says which notices there are.
///
/// # Errors
/// When the database can't be read.
pub async fn kept(database: &Database) -> Result<EventRange, Error> {
    // The newest row, and not the sequence, which runs ahead of what is true.
    let row = sqlx::query!("SELECT min(id) AS oldest, max(id) AS newest FROM events")
        .fetch_one(database.pool())
        .await?;
    Ok(EventRange {
        oldest: row.oldest,
        newest: row.newest.unwrap_or(0),
    })
}

/// Reads the next notices of several servers, each after the number that is given with it, at most `limit` of each
/// server, in order. What is read once is never preceded by anything that is not read yet.
///
/// # Errors
/// When the database can't be read.
pub async fn after(
    database: &Database,
    servers: &[(ServerId, i64)],
    limit: u32,
) -> Result<Vec<BackupEvent>, Error> {
    let (ids, numbers): (Vec<Uuid>, Vec<i64>) = servers
        .iter()
        .map(|(server, number)| (server.0, *number))
        .unzip();
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT n.id AS "id!", n.uuid AS "uuid!", n.kind AS "kind!", n.server_id AS "server_id!",
                  n.server_name AS "server_name!", n.backup_id AS "backup_id!", n.backup AS "backup?",
                  n.error AS "error?", n.created_at AS "created_at!"
           FROM unnest($1::uuid[], $2::bigint[]) AS q (server, number)
           CROSS JOIN LATERAL (
               SELECT * FROM events WHERE server_id = q.server AND id > q.number ORDER BY id LIMIT $3
           ) n
           ORDER BY n.id"#,
        &ids,
        &numbers,
        i64::from(limit),
    )
    .fetch_all(database.pool())
    .await?;
    rows.into_iter().map(BackupEvent::try_from).collect()
}

/// Removes notices that are older than `age`, at most ten thousand at once; says how many.
///
/// # Errors
/// When the database can't be written.
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
