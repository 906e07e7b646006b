//! Webhooks, which receive events by HTTP. Operators create them, and workers deliver the events.

mod deliveries;

use std::fmt;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use holdfast_domain::{ServerId, WebhookId};

use crate::error::Error;
use crate::operator_log::Change;
use crate::pool::Database;

pub use deliveries::{
    ClaimedWebhook, Delivery, claim, expire, give_up, list_due, pause, record_delivery,
    record_failure, release,
};

/// The secret that signs deliveries. Its debug output does not contain it.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(pub Vec<u8>);

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

/// A receiver of events. Its URL may contain a token, so it is shown to operators but never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// The ID.
    pub id: WebhookId,
    /// Where events are sent.
    pub url: String,
    /// The kinds of events. Empty for all.
    pub kinds: Vec<String>,
    /// The server, or `None` for all servers.
    pub server: Option<ServerId>,
    /// The secret that signs deliveries.
    pub secret: WebhookSecret,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Webhook").field(&self.id).finish()
    }
}

/// A webhook with statistics of its deliveries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookStatus {
    /// The webhook.
    pub webhook: Webhook,
    /// The number of deliveries that wait.
    pub waiting: u64,
    /// The number of successful deliveries.
    pub delivered: u64,
    /// The number of deliveries that were given up.
    pub given_up: u64,
    /// The time of the last successful delivery.
    pub last_delivered_at: Option<DateTime<Utc>>,
    /// The last error.
    pub last_error: Option<String>,
    /// The time of the last error.
    pub last_error_at: Option<DateTime<Utc>>,
    /// When the webhook was created.
    pub created_at: DateTime<Utc>,
}

/// Inserts a webhook. It receives events that are recorded from then on.
///
/// # Errors
/// If the database can't be written.
pub async fn create(change: &mut Change, webhook: &Webhook) -> Result<(), Error> {
    sqlx::query!(
        "INSERT INTO webhooks (id, url, kinds, server_id, secret) VALUES ($1, $2, $3, $4, $5)",
        webhook.id.0,
        webhook.url,
        &webhook.kinds,
        webhook.server.map(|server| server.0) as Option<Uuid>,
        webhook.secret.0,
    )
    .execute(change.connection())
    .await?;
    Ok(())
}

/// Deletes a webhook and its waiting deliveries. Returns whether it existed.
///
/// # Errors
/// If the database can't be written.
pub async fn delete(change: &mut Change, webhook: WebhookId) -> Result<bool, Error> {
    let done = sqlx::query!("DELETE FROM webhooks WHERE id = $1", webhook.0)
        .execute(change.connection())
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Lists all webhooks, oldest first.
///
/// # Errors
/// If the database can't be read.
pub async fn list(database: &Database) -> Result<Vec<WebhookStatus>, Error> {
    let rows = sqlx::query!(
        r#"SELECT id, url, kinds, server_id, secret, delivered, given_up, last_delivered_at,
                  last_error, last_error_at, created_at,
                  (SELECT count(*) FROM deliveries d WHERE d.webhook_id = w.id) AS "waiting!"
           FROM webhooks w ORDER BY created_at, id"#
    )
    .fetch_all(database.pool())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| WebhookStatus {
            webhook: Webhook {
                id: WebhookId(row.id),
                url: row.url,
                kinds: row.kinds,
                server: row.server_id.map(ServerId),
                secret: WebhookSecret(row.secret),
            },
            waiting: row.waiting.unsigned_abs(),
            delivered: row.delivered.unsigned_abs(),
            given_up: row.given_up.unsigned_abs(),
            last_delivered_at: row.last_delivered_at,
            last_error: row.last_error,
            last_error_at: row.last_error_at,
            created_at: row.created_at,
        })
        .collect())
}
