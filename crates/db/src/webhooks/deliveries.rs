//! Deliveries to webhooks. A worker claims a webhook for a short time and writes under its claim.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use holdfast_domain::{ServerEvent, WebhookId};

use super::WebhookSecret;
use crate::error::Error;
use crate::events::EventRow;
use crate::pool::Database;

/// A webhook that a worker has claimed.
#[derive(Clone)]
pub struct ClaimedWebhook {
    /// The ID.
    pub id: WebhookId,
    /// Where events are sent. Never logged, because it may contain a token.
    pub url: String,
    /// The secret that signs deliveries.
    pub secret: WebhookSecret,
    /// How many times in a row it could not be reached.
    pub failures: u32,
    claim: i64,
}

impl std::fmt::Debug for ClaimedWebhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ClaimedWebhook").field(&self.id).finish()
    }
}

/// Claims up to `limit` webhooks for `duration`: those that have due deliveries and are not paused.
///
/// # Errors
/// If the database can't be written.
pub async fn claim(
    database: &Database,
    duration: Duration,
    limit: usize,
) -> Result<Vec<ClaimedWebhook>, Error> {
    let rows = sqlx::query!(
        "UPDATE webhooks SET claim = claim + 1, claimed_until = now() + make_interval(secs => $1)
         WHERE id = ANY (ARRAY(
             SELECT id FROM webhooks w
             WHERE (claimed_until IS NULL OR claimed_until < now())
                 AND (paused_until IS NULL OR paused_until <= now())
                 AND EXISTS (
                     SELECT 1 FROM deliveries d WHERE d.webhook_id = w.id AND d.next_at <= now()
                 )
             ORDER BY claimed_until NULLS FIRST LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED
         ))
         RETURNING id, url, secret, failures, claim",
        duration.as_secs_f64(),
        i64::try_from(limit).unwrap_or(i64::MAX),
    )
    .fetch_all(database.pool())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| ClaimedWebhook {
            id: WebhookId(row.id),
            url: row.url,
            secret: WebhookSecret(row.secret),
            failures: row.failures.unsigned_abs(),
            claim: row.claim,
        })
        .collect())
}

/// Releases a claim.
///
/// # Errors
/// If the database can't be written.
pub async fn release(database: &Database, claimed: &ClaimedWebhook) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE webhooks SET claimed_until = NULL WHERE id = $1 AND claim = $2",
        claimed.id.0,
        claimed.claim,
    )
    .execute(database.pool())
    .await?;
    Ok(())
}

/// An event to be delivered to a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The event.
    pub event: ServerEvent,
    /// The number of attempts so far.
    pub attempts: u32,
}

/// Lists up to `limit` deliveries to a webhook that are due, oldest first.
///
/// # Errors
/// If the database can't be read.
pub async fn list_due(
    database: &Database,
    webhook: WebhookId,
    limit: u32,
) -> Result<Vec<Delivery>, Error> {
    struct DeliveryRow {
        attempt: i32,
        id: i64,
        uuid: Uuid,
        kind: String,
        server_id: Uuid,
        server_name: String,
        backup_id: Uuid,
        backup: Option<Value>,
        schedule: Option<Value>,
        error: Option<String>,
        created_at: DateTime<Utc>,
    }
    let rows = sqlx::query_as!(
        DeliveryRow,
        "SELECT d.attempt, e.id, e.uuid, e.kind, e.server_id, e.server_name, e.backup_id, e.backup,
                e.schedule, e.error, e.created_at
         FROM deliveries d JOIN events e ON e.id = d.event_id
         WHERE d.webhook_id = $1 AND d.next_at <= now()
         ORDER BY d.next_at, d.event_id LIMIT $2",
        webhook.0,
        i64::from(limit),
    )
    .fetch_all(database.pool())
    .await?;
    rows.into_iter()
        .map(|delivery| {
            let row = EventRow {
                id: delivery.id,
                uuid: delivery.uuid,
                kind: delivery.kind,
                server_id: delivery.server_id,
                server_name: delivery.server_name,
                backup_id: delivery.backup_id,
                backup: delivery.backup,
                schedule: delivery.schedule,
                error: delivery.error,
                created_at: delivery.created_at,
            };
            Ok(Delivery {
                event: ServerEvent::try_from(row)?,
                attempts: delivery.attempt.unsigned_abs(),
            })
        })
        .collect()
}

/// Records a successful delivery. Returns whether the claim still held.
///
/// # Errors
/// If the database can't be written.
pub async fn record_delivery(
    database: &Database,
    claimed: &ClaimedWebhook,
    event: &ServerEvent,
) -> Result<bool, Error> {
    let done = sqlx::query!(
        "WITH claimed AS (
            UPDATE webhooks SET delivered = delivered + 1, failures = 0, paused_until = NULL,
                   last_delivered_at = now()
            WHERE id = $1 AND claim = $2
            RETURNING id
        )
        DELETE FROM deliveries d USING claimed WHERE d.webhook_id = claimed.id AND d.event_id = $3",
        claimed.id.0,
        claimed.claim,
        event.number,
    )
    .execute(database.pool())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Records a failed delivery and schedules the next attempt after `wait`. Returns whether the claim
/// still held.
///
/// # Errors
/// If the database can't be written.
pub async fn record_failure(
    database: &Database,
    claimed: &ClaimedWebhook,
    event: &ServerEvent,
    error: &str,
    wait: Duration,
) -> Result<bool, Error> {
    let done = sqlx::query!(
        "WITH claimed AS (
            UPDATE webhooks SET last_error = $4, last_error_at = now()
            WHERE id = $1 AND claim = $2
            RETURNING id
        )
        UPDATE deliveries d SET attempt = attempt + 1, next_at = now() + make_interval(secs => $5)
        FROM claimed WHERE d.webhook_id = claimed.id AND d.event_id = $3",
        claimed.id.0,
        claimed.claim,
        event.number,
        error,
        wait.as_secs_f64(),
    )
    .execute(database.pool())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Records a failed delivery that is given up. Returns whether the claim still held.
///
/// # Errors
/// If the database can't be written.
pub async fn give_up(
    database: &Database,
    claimed: &ClaimedWebhook,
    event: &ServerEvent,
    error: &str,
) -> Result<bool, Error> {
    let done = sqlx::query!(
        "WITH claimed AS (
            UPDATE webhooks SET given_up = given_up + 1, last_error = $4, last_error_at = now()
            WHERE id = $1 AND claim = $2
            RETURNING id
        )
        DELETE FROM deliveries d USING claimed WHERE d.webhook_id = claimed.id AND d.event_id = $3",
        claimed.id.0,
        claimed.claim,
        event.number,
        error,
    )
    .execute(database.pool())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Pauses a webhook for `wait`, because it could not be reached.
///
/// # Errors
/// If the database can't be written.
pub async fn pause(
    database: &Database,
    claimed: &ClaimedWebhook,
    wait: Duration,
) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE webhooks
         SET failures = failures + 1, paused_until = now() + make_interval(secs => $3)
         WHERE id = $1 AND claim = $2",
        claimed.id.0,
        claimed.claim,
        wait.as_secs_f64(),
    )
    .execute(database.pool())
    .await?;
    Ok(())
}

/// Gives up deliveries that have waited longer than `age`, at most 10,000 at a time. Returns how
/// many.
///
/// # Errors
/// If the database can't be written.
pub async fn expire(database: &Database, age: Duration) -> Result<u64, Error> {
    let given_up = sqlx::query_scalar!(
        r#"WITH old AS (
            DELETE FROM deliveries WHERE ctid = ANY (ARRAY(
                SELECT ctid FROM deliveries WHERE created_at < now() - make_interval(secs => $1)
                ORDER BY created_at LIMIT 10000 FOR UPDATE SKIP LOCKED
            ))
            RETURNING webhook_id
        ), counted AS (
            SELECT webhook_id, count(*) AS count FROM old GROUP BY webhook_id
        ), updated AS (
            UPDATE webhooks w SET given_up = given_up + counted.count
            FROM counted WHERE w.id = counted.webhook_id
        )
        SELECT count(*) AS "count!" FROM old"#,
        age.as_secs_f64(),
    )
    .fetch_one(database.pool())
    .await?;
    Ok(given_up.unsigned_abs())
}
