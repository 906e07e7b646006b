//! How workers serve webhooks: one worker claims one webhook for a short time, and writes under its claim.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use holdfast_domain::{BackupEvent, WebhookId};

use super::WebhookSecret;
use crate::error::Error;
use crate::events::Row;
use crate::pool::Database;

/// A webhook in a worker's hands.
#[derive(Clone)]
pub struct ClaimedWebhook {
    /// The webhook.
    pub id: WebhookId,
    /// Where notices go. Never logged: it may hold a token.
    pub url: String,
    /// What they are signed with.
    pub secret: WebhookSecret,
    /// How often in a row it could not be reached.
    pub failures: u32,
    claim: i64,
}

impl std::fmt::Debug for ClaimedWebhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Claimed").field(&self.id).finish()
    }
}

/// Claims up to `limit` webhooks that have something to be told and are not paused, for `hold`.
///
/// # Errors
/// When the database can't be written.
pub async fn claim(
    database: &Database,
    hold: Duration,
    limit: usize,
) -> Result<Vec<ClaimedWebhook>, Error> {
    let rows = sqlx::query!(
        "UPDATE webhooks SET claim = claim + 1, claimed_until = now() + make_interval(secs => $1)
         WHERE id = ANY (ARRAY(
             SELECT id FROM webhooks w
             WHERE (claimed_until IS NULL OR claimed_until < now()) AND (paused_until IS NULL OR paused_until <= now())
                 AND EXISTS (SELECT 1 FROM deliveries d WHERE d.webhook_id = w.id AND d.next_at <= now())
             ORDER BY claimed_until NULLS FIRST LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED
         ))
         RETURNING id, url, secret, failures, claim",
        hold.as_secs_f64(),
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

/// Ends a claim.
///
/// # Errors
/// When the database can't be written.
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

/// Something that a webhook is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// What.
    pub notice: BackupEvent,
    /// How often that was tried.
    pub attempts: u32,
}

/// Reads what a webhook is to be told now, the oldest first, at most `limit`.
///
/// # Errors
/// When the database can't be read.
pub async fn due(
    database: &Database,
    webhook: WebhookId,
    limit: u32,
) -> Result<Vec<Delivery>, Error> {
    struct Due {
        attempt: i32,
        id: i64,
        uuid: Uuid,
        kind: String,
        server_id: Uuid,
        server_name: String,
        backup_id: Uuid,
        backup: Option<Value>,
        error: Option<String>,
        created_at: DateTime<Utc>,
    }
    let rows = sqlx::query_as!(
        Due,
        "SELECT d.attempt, n.id, n.uuid, n.kind, n.server_id, n.server_name, n.backup_id, n.backup, n.error,
                n.created_at
         FROM deliveries d JOIN events n ON n.id = d.event_id
         WHERE d.webhook_id = $1 AND d.next_at <= now() ORDER BY d.next_at, d.event_id LIMIT $2",
        webhook.0,
        i64::from(limit),
    )
    .fetch_all(database.pool())
    .await?;
    rows.into_iter()
        .map(|due| {
            let row = Row {
                id: due.id,
                uuid: due.uuid,
                kind: due.kind,
                server_id: due.server_id,
                server_name: due.server_name,
                backup_id: due.backup_id,
                backup: due.backup,
                error: due.error,
                created_at: due.created_at,
            };
            Ok(Delivery {
                notice: BackupEvent::try_from(row)?,
                attempts: due.attempt.unsigned_abs(),
            })
        })
        .collect()
}

/// Records that a webhook was told; says whether the claim still held.
///
/// # Errors
/// When the database can't be written.
pub async fn delivered(
    database: &Database,
    claimed: &ClaimedWebhook,
    notice: &BackupEvent,
) -> Result<bool, Error> {
    let done = sqlx::query!(
        "WITH ours AS (
            UPDATE webhooks SET delivered = delivered + 1, failures = 0, paused_until = NULL, last_delivered_at = now()
            WHERE id = $1 AND claim = $2
            RETURNING id
        )
        DELETE FROM deliveries d USING ours WHERE d.webhook_id = ours.id AND d.event_id = $3",
        claimed.id.0,
        claimed.claim,
        notice.number,
    )
    .execute(database.pool())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Records that a webhook could not be told, and is to be told again after `wait`; says whether the claim still held.
///
/// # Errors
/// When the database can't be written.
pub async fn failed(
    database: &Database,
    claimed: &ClaimedWebhook,
    notice: &BackupEvent,
    error: &str,
    wait: Duration,
) -> Result<bool, Error> {
    let done = sqlx::query!(
        "WITH ours AS (
            UPDATE webhooks SET last_error = $4, last_error_at = now() WHERE id = $1 AND claim = $2 RETURNING id
        )
        UPDATE deliveries d SET attempt = attempt + 1, next_at = now() + make_interval(secs => $5)
        FROM ours WHERE d.webhook_id = ours.id AND d.event_id = $3",
        claimed.id.0,
        claimed.claim,
        notice.number,
        error,
        wait.as_secs_f64(),
    )
    .execute(database.pool())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Records that a webhook could not be told, and will not be told again; says whether the claim still held.
///
/// # Errors
/// When the database can't be written.
pub async fn give_up(
    database: &Database,
    claimed: &ClaimedWebhook,
    notice: &BackupEvent,
    error: &str,
) -> Result<bool, Error> {
    let done = sqlx::query!(
        "WITH ours AS (
            UPDATE webhooks SET given_up = given_up + 1, last_error = $4, last_error_at = now()
            WHERE id = $1 AND claim = $2
            RETURNING id
        )
        DELETE FROM deliveries d USING ours WHERE d.webhook_id = ours.id AND d.event_id = $3",
        claimed.id.0,
        claimed.claim,
        notice.number,
        error,
    )
    .execute(database.pool())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Leaves a webhook alone for `wait`, since it could not be reached.
///
/// # Errors
/// When the database can't be written.
pub async fn pause(
    database: &Database,
    claimed: &ClaimedWebhook,
    wait: Duration,
) -> Result<(), Error> {
    sqlx::query!(
        "UPDATE webhooks SET failures = failures + 1, paused_until = now() + make_interval(secs => $3)
         WHERE id = $1 AND claim = $2",
        claimed.id.0,
        claimed.claim,
        wait.as_secs_f64(),
    )
    .execute(database.pool())
    .await?;
    Ok(())
}

/// Gives up what has waited longer than `age`, whoever it is for, at most ten thousand at once; says how much.
///
/// # Errors
/// When the database can't be written.
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
        ), told AS (
            UPDATE webhooks w SET given_up = given_up + counted.count FROM counted WHERE w.id = counted.webhook_id
        )
        SELECT count(*) AS "count!" FROM old"#,
        age.as_secs_f64(),
    )
    .fetch_one(database.pool())
    .await?;
    Ok(given_up.unsigned_abs())
}
