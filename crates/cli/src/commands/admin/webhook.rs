//! `holdfast admin webhook create|list|delete|test`.
//!
//! Only whoever works on the machine can make a webhook: it makes workers send requests to any address that they
//! reach, inner ones too.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::Utc;
use clap::Subcommand;
use serde_json::{Value, json};
use uuid::Uuid;

use holdfast_db::webhooks::{Webhook, WebhookSecret};
use holdfast_db::{Database, webhooks};
use holdfast_domain::WebhookId;
use holdfast_domain::event::{EVENT_KINDS, EventBody};
use holdfast_worker::webhooks::WebhookSender;

use super::{change, date, find_server};
use crate::failure::Failure;

/// What can be done with webhooks.
#[derive(Debug, Subcommand)]
pub enum WebhookCommand {
    /// Make a webhook; its secret is shown this once
    Create {
        /// Where workers send notices to, by POST
        #[arg(long, value_name = "URL", value_parser = web_url)]
        url: String,
        /// Which kind of notice; may be given more than once; none means all
        #[arg(long, value_name = "EVENT", value_parser = EVENT_KINDS)]
        event: Vec<String>,
        /// Only this server's: its UUID, or the first eight characters of it
        #[arg(long, value_name = "SERVER")]
        server: Option<String>,
    },
    /// List webhooks and how they fare, without their secrets
    List,
    /// Remove a webhook, and what it was still to be told
    Delete {
        /// Its UUID
        id: Uuid,
    },
    /// Send a signed notice of the kind `webhook.test` from here, and show what came back
    Test {
        /// Its UUID
        id: Uuid,
    },
}

pub(super) async fn run(database: &Database, command: WebhookCommand) -> Result<Value, Failure> {
    match command {
        WebhookCommand::Create { url, event, server } => {
            let server = match server {
                Some(server) => Some(find_server(database, &server).await?.id),
                None => None,
            };
            let mut secret = vec![0; 32];
            rand::fill(&mut secret[..]);
            let webhook = Webhook {
                id: WebhookId(Uuid::new_v4()),
                url,
                kinds: event,
                server,
                secret: WebhookSecret(secret),
            };
            let mut change = change::begin(database, "webhook create").await?;
            webhooks::create(&mut change, &webhook).await?;
            change.commit(Some(&webhook.id.to_string()), None).await?;
            Ok(json!({
                "id": webhook.id,
                "url": webhook.url,
                "events": webhook.kinds,
                "server": webhook.server,
                "secret": format!("whsec_{}", STANDARD.encode(&webhook.secret.0)),
            }))
        }
        WebhookCommand::List => {
            let all = webhooks::list(database).await?;
            Ok(all
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
                .collect())
        }
        WebhookCommand::Delete { id } => {
            let mut change = change::begin(database, "webhook delete").await?;
            if !webhooks::delete(&mut change, WebhookId(id)).await? {
                return Err(missing(id));
            }
            change.commit(Some(&id.to_string()), None).await?;
            Ok(json!({ "id": id, "deleted": true }))
        }
        WebhookCommand::Test { id } => test(database, id).await,
    }
}

async fn test(database: &Database, id: Uuid) -> Result<Value, Failure> {
    let all = webhooks::list(database).await?;
    let mut all = all.into_iter().map(|found| found.webhook);
    let webhook = all.find(|webhook| webhook.id.0 == id);
    let webhook = webhook.ok_or_else(|| missing(id))?;
    let failed = |why: &dyn std::error::Error| Failure::of(format!("webhook `{id}` failed"), why);
    let sender = WebhookSender::new().map_err(|error| failed(&error))?;
    let now = Utc::now();
    let body = EventBody::test(Uuid::new_v4(), now);
    let begun = Instant::now();
    let answer = sender
        .send(&webhook.url, &webhook.secret, &body, now)
        .await
        .map_err(|error| failed(&error))?;
    let duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    if !answer.is_success() {
        return Err(Failure::new(format!(
            "webhook `{id}` answered {} and not 2xx: {}",
            answer.status, answer.body
        )));
    }
    Ok(json!({
        "id": id,
        "event_id": body.id(),
        "status": answer.status,
        "body": answer.body,
        "duration_ms": duration_ms,
    }))
}

fn missing(id: Uuid) -> Failure {
    Failure::new(format!(
        "there is no webhook `{id}`: `holdfast admin webhook list` shows them"
    ))
}

fn web_url(text: &str) -> Result<String, String> {
    match reqwest::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
            Ok(text.to_owned())
        }
        _ => Err("not a URL such as https://panel.example.com/hooks".to_owned()),
    }
}
