//! Access tokens: cached until shortly before they expire, and renewed by one request, however many
//! requests wait for it. `Debug` hides them.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use percent_encoding::utf8_percent_encode;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::client::AccessToken;
use super::failure::RequestError;
use super::{ServiceAccount, client, link};

/// How long before its expiry a token is renewed.
const RENEW_BEFORE: Duration = Duration::from_secs(300);
/// The longest lifetime that is believed.
const LIFETIME_MAX: Duration = Duration::from_secs(86_400);
/// The OAuth grant type for a JWT that the account's key signed.
const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// The access token of an account.
pub(super) struct TokenCache {
    account: Arc<ServiceAccount>,
    /// Locked during a renewal.
    current: Mutex<Option<CachedToken>>,
}

struct CachedToken {
    token: AccessToken,
    renew_at: Instant,
}

#[derive(Deserialize)]
struct TokenResponse {
    access_token: String,
    #[serde(default)]
    expires_in: u64,
}

impl TokenCache {
    pub(super) fn new(account: Arc<ServiceAccount>) -> Self {
        Self {
            account,
            current: Mutex::new(None),
        }
    }

    /// Returns a token that does not expire soon.
    pub(super) async fn get(&self, http: &reqwest::Client) -> Result<AccessToken, RequestError> {
        let mut current = self.current.lock().await;
        if let Some(cached) = &*current
            && Instant::now() < cached.renew_at
        {
            return Ok(Arc::clone(&cached.token));
        }
        let response = self.request_token(http).await?;
        let lifetime = Duration::from_secs(response.expires_in).min(LIFETIME_MAX);
        let use_for = lifetime.saturating_sub(RENEW_BEFORE).max(lifetime / 2);
        let token = AccessToken::from(response.access_token);
        *current = Some(CachedToken {
            token: Arc::clone(&token),
            renew_at: Instant::now() + use_for,
        });
        Ok(token)
    }

    /// Drops a token that the server refused.
    pub(super) async fn drop_token(&self, refused: &str) {
        let mut current = self.current.lock().await;
        current.take_if(|cached| &*cached.token == refused);
    }

    async fn request_token(&self, http: &reqwest::Client) -> Result<TokenResponse, RequestError> {
        let assertion = self.account.assertion(SystemTime::now().into())?;
        let grant_type = utf8_percent_encode(GRANT_TYPE, link::ESCAPED);
        let body = format!("grant_type={grant_type}&assertion={assertion}");
        let request = http
            .post(self.account.token_uri())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .timeout(client::TIMEOUT)
            .body(body);
        let response = client::send_unauthenticated(request).await;
        let response = response.map_err(RequestError::into_token_error)?;
        // The parser's own message may quote the token.
        serde_json::from_slice(&response.body)
            .map_err(|_| RequestError::Connection("the token server sent no token".into()))
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TokenCache({:?})", self.account)
    }
}
