//! The audit log of the application API: a line before something is changed, and what was answered once it was.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use holdfast_domain::activity::Origin;

use crate::connect::{Database, skip};
use crate::error::Error;

/// A line that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationId(i64);

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Who asks, with which key, from where.
    pub origin: &'a Origin,
    /// The request's method.
    pub method: &'a str,
    /// The request's path.
    pub path: &'a str,
    /// By which the request is found in logs.
    pub request_id: &'a str,
}

/// Writes down what is asked for, before it is done.
///
/// # Errors
/// When the database can't be written.
pub async fn begin(database: &Database, asked: &Asked<'_>) -> Result<OperationId, Error> {
    let origin = asked.origin;
    let id = sqlx::query_scalar!(
        "INSERT INTO operations (actor_id, actor_email, key_identifier, address, method, path, request_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id",
        origin.user.0,
        origin.email,
        origin.key,
        origin.address.map(|address| address.to_string()),
        asked.method,
        asked.path,
        asked.request_id,
    )
    .fetch_one(database.pool())
    .await?;
    Ok(OperationId(id))
}

/// Writes down what was answered, and what was made.
///
/// # Errors
/// When the database can't be written.
pub async fn end(
    database: &Database,
    id: OperationId,
    status: u16,
    subject: Option<&str>,
) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE operations SET status = $2, subject = $3 WHERE id = $1",
        id.0,
        i32::from(status),
        subject,
    )
    .execute(database.pool())
    .await?;
    Ok(())
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its number: later ones are greater.
    pub id: i64,
    /// Who asked, by UUID.
    pub actor: Uuid,
    /// Who asked, by address.
    pub actor_email: String,
    /// The public part of the key.
    pub key: String,
    /// From where.
    pub address: Option<String>,
    /// The request's method.
    pub method: String,
    /// The request's path.
    pub path: String,
    /// By which the request is found in logs.
    pub request_id: String,
    /// What was made.
    pub subject: Option<String>,
    /// What was answered; none when that is not known.
    pub status: Option<i32>,
    /// When.
    pub at: DateTime<Utc>,
}

/// Counts the lines.
///
/// # Errors
/// When the database can't be read.
pub async fn count(database: &Database) -> Result<u64, Error> {
    let count = sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM operations"#)
        .fetch_one(database.pool())
        .await?;
    Ok(count.unsigned_abs())
}

/// Lists lines, newest first, from `offset` on, at most `limit`.
///
/// # Errors
/// When the database can't be read.
pub async fn list(database: &Database, limit: u32, offset: u64) -> Result<Vec<Operation>, Error> {
    let lines = sqlx::query_as!(
        Operation,
        "SELECT id, actor_id AS actor, actor_email, key_identifier AS key, address, method, path, request_id, subject,
                status, created_at AS at
         FROM operations ORDER BY id DESC LIMIT $1 OFFSET $2",
        i64::from(limit),
        skip(offset),
    )
    .fetch_all(database.pool())
    .await?;
    Ok(lines)
}
