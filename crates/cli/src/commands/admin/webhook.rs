//! `holdfast admin webhook create|list|delete|test`.
//!
//! Webhooks can only be created on the machine of the service, because workers send requests to
//! their URLs, which may be in internal networks.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::Utc;
use clap::Subcommand;
use serde_json::{Value, json};
use uuid::Uuid;

use holdfast_db::webhooks::{Webhook, WebhookSecret};
use holdfast_db::{Database, webhooks};
use holdfast_domain::event::{EVENT_KINDS, EventBody};
use holdfast_domain::{ServerId, WebhookId};
use holdfast_worker::webhooks::WebhookSender;

use super::{Outcome, UncommittedSecret, change, date, find_server};
use crate::error::CommandError;

/// The subcommands of `holdfast admin webhook`.
#[derive(Debug, Subcommand)]
pub enum WebhookCommand {
    /// Creates a webhook, and prints its secret once
    Create {
        /// URL that workers send events to, with POST
        #[arg(long, value_name = "URL", value_parser = web_url)]
        url: String,
        /// Kind of event; repeatable [default: all]
        #[arg(long, value_name = "EVENT", value_parser = EVENT_KINDS)]
        event: Vec<String>,
        /// UUID of a server, or its first eight characters, to send only events of that server
        #[arg(long, value_name = "SERVER")]
        server: Option<String>,
    },
    /// Lists webhooks and their deliveries, without their secrets
    List,
    /// Deletes a webhook and its pending deliveries
    Delete {
        /// UUID of the webhook
        id: Uuid,
    },
    /// Sends a signed `webhook.test` event from this machine, and prints the response
    Test {
        /// UUID of the webhook
        id: Uuid,
    },
}

pub(super) async fn run(
    database: &Database,
    command: WebhookCommand,
) -> Result<Outcome, CommandError> {
    match command {
        WebhookCommand::Create { url, event, server } => {
            let server = match server {
                Some(server) => Some(find_server(database, &server).await?.id),
                None => None,
            };
            create(database, url, event, server).await
        }
        WebhookCommand::List => {
            let all = webhooks::list(database).await?;
            let all: Value = all
                .into_iter()
                .map(|found| {
                    json!({
                        "id": found.webhook.id,
                        "url": found.webhook.url,
                        "events": found.webhook.kinds,
                        "server": found.webhook.server,
                        "waiting": found.waiting,
                        "delivered": found.delivered,
                        "given_up": found.given_up,
                        "last_delivered_at": found.last_delivered_at.map(date),
                        "last_error": found.last_error,
                        "last_error_at": found.last_error_at.map(date),
                        "created_at": date(found.created_at),
                    })
                })
                .collect();
            Ok(all.into())
        }
        WebhookCommand::Delete { id } => {
            let mut change = change::begin(database, "webhook delete").await?;
            if !webhooks::delete(&mut change, WebhookId(id)).await? {
                return Err(missing(id));
            }
            change.commit(Some(&id.to_string()), None).await?;
            Ok(json!({ "id": id, "deleted": true }).into())
        }
        WebhookCommand::Test { id } => Ok(test(database, id).await?.into()),
    }
}

async fn create(
    database: &Database,
    url: String,
    kinds: Vec<String>,
    server: Option<ServerId>,
) -> Result<Outcome, CommandError> {
    let mut secret = vec![0; 32];
    rand::fill(&mut secret[..]);
    let webhook = Webhook {
        id: WebhookId(Uuid::new_v4()),
        url,
        kinds,
        server,
        secret: WebhookSecret(secret),
    };
    let mut change = change::begin(database, "webhook create").await?;
    webhooks::create(&mut change, &webhook).await?;
    let result = json!({
        "id": webhook.id,
        "url": webhook.url,
        "events": webhook.kinds,
        "server": webhook.server,
        "secret": format!("whsec_{}", STANDARD.encode(&webhook.secret.0)),
    });
    let (noun, id) = ("webhook", webhook.id.to_string());
    let secret = UncommittedSecret {
        result,
        noun,
        id,
        change,
    };
    Ok(Outcome::Secret(Box::new(secret)))
}

async fn test(database: &Database, id: Uuid) -> Result<Value, CommandError> {
    let all = webhooks::list(database).await?;
    let mut all = all.into_iter().map(|found| found.webhook);
    let webhook = all.find(|webhook| webhook.id.0 == id);
    let webhook = webhook.ok_or_else(|| missing(id))?;
    let failed = |error: &dyn std::error::Error| {
        CommandError::with_cause(format!("webhook `{id}` failed"), error)
    };
    let sender = WebhookSender::new().map_err(|error| failed(&error))?;
    let now = Utc::now();
    let body = EventBody::test(Uuid::new_v4(), now);
    let begun = Instant::now();
    let response = sender
        .send(&webhook.url, &webhook.secret, &body, now)
        .await
        .map_err(|error| failed(&error))?;
    let duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    if !response.is_success() {
        return Err(CommandError::new(format!(
            "webhook `{id}` responded with {}, not 2xx: {}",
            response.status, response.body
        )));
    }
    Ok(json!({
        "id": id,
        "event_id": body.id(),
        "status": response.status,
        "body": response.body,
        "duration_ms": duration_ms,
    }))
}

fn missing(id: Uuid) -> CommandError {
    CommandError::new(format!(
        "there is no webhook `{id}`: `holdfast admin webhook list` shows the webhooks"
    ))
}

fn web_url(text: &str) -> Result<String, String> {
    match reqwest::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
            Ok(text.to_owned())
        }
        _ => Err("must be a URL such as https://panel.example.com/hooks".to_owned()),
    }
}
