//! Sends one signed request to a webhook.
//!
//! The signature follows <https://www.standardwebhooks.com>, so that receivers can check it with an
//! existing library: `webhook-signature: v1,` and the base64 of HMAC-SHA256 over
//! `webhook-id . webhook-timestamp . body`. The key is the bytes after the secret's `whsec_`.
//!
//! Neither the URL nor the secret may be logged: a URL may hold a token.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::redirect;

use holdfast_db::webhooks::WebhookSecret;
use holdfast_domain::event::EventBody;

/// The timeout of the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The timeout of the whole request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How many bytes of a response's body are read.
const RESPONSE_BYTES_MAX: usize = 1024;

/// The HTTP client for webhooks.
#[derive(Clone, Debug)]
pub struct WebhookSender(reqwest::Client);

/// The response of a receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookResponse {
    /// The HTTP status.
    pub status: u16,
    /// The beginning of the body.
    pub body: String,
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The receiver exceeded the timeout.
    #[error("it did not answer within {} s", REQUEST_TIMEOUT.as_secs())]
    TooSlow,
    /// The connection failed or broke.
    #[error("it could not be reached")]
    Unreachable(#[source] reqwest::Error),
    /// The client or the request could not be created.
    #[error("the request could not be created")]
    Request(#[source] reqwest::Error),
    /// The event could not be serialized.
    #[error("the event could not be serialized")]
    EventBody(#[from] serde_json::Error),
}

impl WebhookResponse {
    /// Returns whether the receiver accepted the event.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl WebhookSender {
    /// Creates a client that follows no redirects and ignores proxy settings in the environment.
    ///
    /// # Errors
    /// If TLS can't be set up.
    pub fn new() -> Result<Self, SendError> {
        let client = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .user_agent(concat!("Holdfast/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| SendError::Request(error.without_url()))?;
        Ok(Self(client))
    }

    /// Sends an event, signed with the time `now`, and waits for the response.
    ///
    /// # Errors
    /// If there is no response. A response with an error status is not an error here.
    pub async fn send(
        &self,
        url: &str,
        secret: &WebhookSecret,
        body: &EventBody<'_>,
        now: DateTime<Utc>,
    ) -> Result<WebhookResponse, SendError> {
        let id = body.id().to_string();
        let timestamp = now.timestamp();
        let text = serde_json::to_string(body)?;
        let signature = sign(secret, &id, timestamp, &text);
        let request = self
            .0
            .post(url)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(text);
        let mut response = request.send().await.map_err(not_sent)?;
        let mut body_start = Vec::new();
        while body_start.len() < RESPONSE_BYTES_MAX
            && let Ok(Some(chunk)) = response.chunk().await
        {
            let free = RESPONSE_BYTES_MAX - body_start.len();
            body_start.extend_from_slice(&chunk[..chunk.len().min(free)]);
        }
        Ok(WebhookResponse {
            status: response.status().as_u16(),
            body: String::from_utf8_lossy(&body_start).into_owned(),
        })
    }
}

fn not_sent(error: reqwest::Error) -> SendError {
    if error.is_timeout() {
        SendError::TooSlow
    } else if error.is_builder() {
        SendError::Request(error.without_url())
    } else {
        SendError::Unreachable(error.without_url())
    }
}

fn sign(secret: &WebhookSecret, id: &str, timestamp: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret.0);
    let tag = hmac::sign(&key, format!("{id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_matches_the_example_of_the_standard() {
        // From the standard's reference libraries.
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let secret = WebhookSecret(secret.expect("base64"));
        let signature = sign(
            &secret,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
