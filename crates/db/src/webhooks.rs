//! Webhooks: who else is told of notices. Operators make them; workers serve them.

mod deliveries;

use std::fmt;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use holdfast_domain::{ServerId, WebhookId};

use crate::error::Error;
use crate::operator_log::Change;
use crate::pool::Database;

pub use deliveries::{
    ClaimedWebhook, Delivery, claim, delivered, due, expire, failed, give_up, pause, release,
};

/// What deliveries are signed with. It does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(pub Vec<u8>);

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A receiver of notices. Its URL may hold a token, so it is shown to operators, and never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its name.
    pub id: WebhookId,
    /// Where notices go.
    pub url: String,
    /// Which kinds; empty for all.
    pub kinds: Vec<String>,
    /// Whose; `None` for all servers.
    pub server: Option<ServerId>,
    /// What deliveries are signed with.
    pub secret: WebhookSecret,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Webhook").field(&self.id).finish()
    }
}

/// How a webhook fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookStatus {
    /// The webhook.
    pub webhook: Webhook,
    /// How many deliveries wait.
    pub waiting: u64,
    /// How many were made.
    pub delivered: u64,
    /// How many were given up.
    pub given_up: u64,
    /// When the last one was made.
    pub last_delivered_at: Option<DateTime<Utc>>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When that was.
    pub last_error_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// Stores a webhook. It is told of what becomes true from then on.
///
/// # Errors
/// When the database can't be written.
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

/// Removes a webhook, and what it was still to be told; says whether there was one.
///
/// # Errors
/// When the database can't be written.
pub async fn delete(change: &mut Change, webhook: WebhookId) -> Result<bool, Error> {
    let done = sqlx::query!("DELETE FROM webhooks WHERE id = $1", webhook.0)
        .execute(change.connection())
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Lists all webhooks, the oldest first.
///
/// # Errors
/// When the database can't be read.
pub async fn list(database: &Database) -> Result<Vec<WebhookStatus>, Error> {
    let rows = sqlx::query!(
        r#"SELECT id, url, kinds, server_id, secret, delivered, given_up, last_delivered_at, last_error,
                  last_error_at, created_at,
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
