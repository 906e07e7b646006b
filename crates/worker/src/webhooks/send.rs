//! One delivery: a signed request, and what came back.
//!
//! Signed as <https://www.standardwebhooks.com> says, so that receivers find a library that checks it:
//! `webhook-signature: v1,` and base64 of HMAC-SHA256 over `webhook-id . webhook-timestamp . body`, with the bytes
//! behind the secret's `whsec_` as its key.
//!
//! Neither URL nor secret may get into a log: a URL may hold a token.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::redirect;

use holdfast_db::webhooks::WebhookSecret;
use holdfast_domain::event::EventBody;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long everything may take.
const WHOLE: Duration = Duration::from_secs(10);
/// How much of an answer is read.
const ANSWER_BYTES_MAX: usize = 1024;

/// Sends notices to webhooks.
#[derive(Clone, Debug)]
pub struct WebhookSender(reqwest::Client);

/// What a receiver answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookResponse {
    /// The HTTP status.
    pub status: u16,
    /// How its body begins.
    pub body: String,
}

/// Why nothing was answered.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// It took too long.
    #[error("it did not answer within {} s", WHOLE.as_secs())]
    TooSlow,
    /// No connection, or one that broke.
    #[error("it could not be reached")]
    Unreachable(#[source] reqwest::Error),
    /// No client, or no request, could be made.
    #[error("no request could be made")]
    Request(#[source] reqwest::Error),
    /// The notice could not be written.
    #[error("the notice could not be written")]
    EventBody(#[from] serde_json::Error),
}

impl WebhookResponse {
    /// Says whether the receiver has taken the notice.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl WebhookSender {
    /// Makes a client that follows no redirect and uses no proxy of the environment.
    ///
    /// # Errors
    /// When TLS can't be set up.
    pub fn new() -> Result<Self, SendError> {
        let client = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT)
            .timeout(WHOLE)
            .user_agent(concat!("Holdfast/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| SendError::Request(error.without_url()))?;
        Ok(Self(client))
    }

    /// Sends a notice, signed as of `now`, and waits for the answer.
    ///
    /// # Errors
    /// When there is none. An answer that is no success is none.
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
        let mut begins = Vec::new();
        // Whatever it says beyond that is not waited for.
        while begins.len() < ANSWER_BYTES_MAX
            && let Ok(Some(piece)) = response.chunk().await
        {
            begins.extend_from_slice(&piece[..piece.len().min(ANSWER_BYTES_MAX - begins.len())]);
        }
        Ok(WebhookResponse {
            status: response.status().as_u16(),
            body: String::from_utf8_lossy(&begins).into_owned(),
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
    fn signatures_are_those_of_the_standard() {
        // The example of the standard's own libraries.
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
