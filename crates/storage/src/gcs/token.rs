//! The token that requests go with: asked for once, kept until shortly before its end, and renewed by
//! one request however many wait for it. It never shows itself.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use percent_encoding::utf8_percent_encode;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::failure::Failure;
use super::{ServiceAccount, client, link};

/// How long before its end a token is renewed.
const EARLY: Duration = Duration::from_secs(300);
/// What is sent to say that the account's own key proves who asks.
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// The tokens of an account.
pub(super) struct Tokens {
    account: Arc<ServiceAccount>,
    /// Held while a new one is asked for.
    current: Mutex<Option<Token>>,
}

struct Token {
    text: Arc<str>,
    renew_at: Instant,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    #[serde(default)]
    expires_in: u64,
}

impl Tokens {
    pub(super) fn new(account: Arc<ServiceAccount>) -> Self {
        Self {
            account,
            current: Mutex::new(None),
        }
    }

    /// Returns a token that is good for a while.
    pub(super) async fn get(&self, http: &reqwest::Client) -> Result<Arc<str>, Failure> {
        let mut current = self.current.lock().await;
        if let Some(token) = &*current
            && Instant::now() < token.renew_at
        {
            return Ok(Arc::clone(&token.text));
        }
        let granted = self.ask(http).await?;
        let lifetime = Duration::from_secs(granted.expires_in);
        let kept = lifetime.saturating_sub(EARLY).max(lifetime / 2);
        let text: Arc<str> = granted.access_token.into();
        *current = Some(Token {
            text: Arc::clone(&text),
            renew_at: Instant::now() + kept,
        });
        Ok(text)
    }

    /// Throws away a token that was refused.
    pub(super) async fn forget(&self, refused: &str) {
        let mut current = self.current.lock().await;
        current.take_if(|token| &*token.text == refused);
    }

    async fn ask(&self, http: &reqwest::Client) -> Result<Granted, Failure> {
        let assertion = self.account.assertion(SystemTime::now().into())?;
        let grant = utf8_percent_encode(GRANT, link::ESCAPED);
        let body = format!("grant_type={grant}&assertion={assertion}");
        let request = http
            .post(self.account.token_uri())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .timeout(client::ATTEMPT)
            .body(body);
        let reply = client::reply(request).await.map_err(Failure::of_token)?;
        // The parser's own word could quote the token.
        serde_json::from_slice(&reply.body)
            .map_err(|_| Failure::Broken("the token server sent no token".into()))
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Tokens({:?})", self.account)
    }
}
