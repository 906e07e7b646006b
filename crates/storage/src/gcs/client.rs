//! Sends requests, with authentication, timeouts and retries.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::RngExt as _;
use reqwest::header::HeaderMap;
use reqwest::{Client, RequestBuilder, Response};
use serde::de::DeserializeOwned;

use holdfast_domain::DiskName;

use super::GcsDisk;
use super::failure::{ErrorResponse, RequestError};
use crate::ca_bundle::CaBundle;
use crate::error::Error;

/// The maximum number of attempts of a request.
pub(super) const ATTEMPTS_MAX: u32 = 5;
/// The maximum number of attempts of a health check.
pub(super) const HEALTH_ATTEMPTS_MAX: u32 = 2;
/// The first delay before a retry, and the longest one. Each is jittered.
const BACKOFF_MIN: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// The timeout for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The timeout of one attempt of a request without a large body.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
/// The lowest rate at which a body may be sent, in bytes per second.
const RATE_MIN: u64 = 64 * 1024;
/// The maximum size of an error response that is read.
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// An access token of Google.
pub(super) type AccessToken = Arc<str>;

/// A response with its whole body.
#[derive(Debug)]
pub(super) struct FullResponse {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Creates a disk's HTTP client.
pub(super) fn connect(name: &DiskName, ca_bundle: Option<&CaBundle>) -> Result<Client, Error> {
    let certificates = ca_bundle.map(CaBundle::certificates);
    // With HTTP/2, all requests would share one connection and its flow-control window.
    let built = Client::builder()
        .user_agent(concat!("holdfast/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .http1_only()
        .tls_certs_merge(certificates.unwrap_or_default())
        .build();
    built.map_err(|error| Error::Misconfigured {
        disk: name.to_string(),
        advice: "the HTTPS client could not be created: check that this machine has certificates \
                 of authorities (package ca-certificates)"
            .to_owned(),
        source: error.into(),
    })
}

/// Returns the timeout of a request with a body of `bytes`.
pub(super) fn timeout_for(bytes: usize) -> Duration {
    TIMEOUT + Duration::from_secs(bytes as u64 / RATE_MIN)
}

/// Waits before the retry after `attempts` attempts, with exponential backoff and jitter.
async fn back_off(attempts: u32) {
    let doublings = attempts.saturating_sub(1);
    let delay = (BACKOFF_MIN * 2_u32.saturating_pow(doublings)).min(BACKOFF_MAX);
    let jitter = rand::rng().random_range(0.5..1.0);
    tokio::time::sleep(delay.mul_f64(jitter)).await;
}

/// Sends a request once and returns the response without its body. A status other than success is
/// an error, except 308, with which a server asks for more of an upload.
async fn send_for_head(request: RequestBuilder) -> Result<Response, RequestError> {
    let sent = request.send().await;
    let mut response = sent.map_err(RequestError::from_transport)?;
    let status = response.status().as_u16();
    if matches!(status, 200..=299 | 308) {
        return Ok(response);
    }
    let mut body = Vec::new();
    while body.len() < ERROR_BYTES_MAX {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            // The status alone is enough for an error.
            Ok(None) | Err(_) => break,
        }
    }
    let response = ErrorResponse::parse(status, &body);
    Err(RequestError::Refused(response))
}

/// Sends a request once and returns the response with its body.
pub(super) async fn send_unauthenticated(
    request: RequestBuilder,
) -> Result<FullResponse, RequestError> {
    let response = send_for_head(request).await?;
    Ok(FullResponse {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response
            .bytes()
            .await
            .map_err(RequestError::from_transport)?,
    })
}

impl FullResponse {
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, RequestError> {
        serde_json::from_slice(&self.body).map_err(|error| RequestError::Connection(error.into()))
    }
}

impl GcsDisk {
    /// Adds the access token to a request. Returns both.
    async fn authenticate(
        &self,
        request: RequestBuilder,
    ) -> Result<(RequestBuilder, Option<AccessToken>), RequestError> {
        let Some(tokens) = &self.tokens else {
            return Ok((request, None));
        };
        let token = tokens.get(&self.http).await?;
        Ok((request.bearer_auth(&token), Some(token)))
    }

    /// Drops a token from the cache if the server refused it.
    async fn drop_refused_token(&self, error: &RequestError, token: Option<AccessToken>) {
        if let (Some(tokens), Some(token), Some(401)) = (&self.tokens, token, error.status()) {
            tokens.drop_token(&token).await;
        }
    }

    /// Sends a request once, and returns the response with its body.
    pub(super) async fn send_once(
        &self,
        request: RequestBuilder,
    ) -> Result<FullResponse, RequestError> {
        let (request, token) = self.authenticate(request).await?;
        match send_unauthenticated(request).await {
            Ok(response) => Ok(response),
            Err(error) => {
                self.drop_refused_token(&error, token).await;
                Err(error)
            }
        }
    }

    /// Sends a request once, and returns the response. The caller reads its body.
    pub(super) async fn send_for_body(
        &self,
        request: RequestBuilder,
    ) -> Result<Response, RequestError> {
        let (request, token) = self.authenticate(request).await?;
        match tokio::time::timeout(TIMEOUT, send_for_head(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => {
                self.drop_refused_token(&error, token).await;
                Err(error)
            }
            Err(elapsed) => Err(RequestError::Connection(elapsed.into())),
        }
    }

    /// Sends a request, and retries temporary errors. `timeout` is for each attempt.
    pub(super) async fn send(
        &self,
        build: impl Fn(&Client) -> RequestBuilder,
        timeout: Duration,
    ) -> Result<FullResponse, RequestError> {
        self.send_with_attempts(ATTEMPTS_MAX, build, timeout).await
    }

    /// Sends a request, with at most `attempts_max` attempts.
    pub(super) async fn send_with_attempts(
        &self,
        attempts_max: u32,
        build: impl Fn(&Client) -> RequestBuilder,
        timeout: Duration,
    ) -> Result<FullResponse, RequestError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.send_once(build(&self.http).timeout(timeout)).await {
                Ok(response) => return Ok(response),
                Err(error) if attempts >= attempts_max => return Err(error),
                Err(error) => self.wait_before_retry(attempts, error).await?,
            }
        }
    }

    /// Waits before a retry after `attempts` attempts. Returns the error if a retry does not help.
    pub(super) async fn wait_before_retry(
        &self,
        attempts: u32,
        error: RequestError,
    ) -> Result<(), RequestError> {
        // The token may have been revoked. If the server refuses a new token too, a retry is
        // useless.
        let is_old_token = attempts == 1 && self.is_token_refused(&error);
        if !(error.is_temporary() || is_old_token) || attempts >= ATTEMPTS_MAX {
            return Err(error);
        }
        tracing::debug!(disk = %self.name, attempts, %error, "a request failed; retrying");
        back_off(attempts).await;
        Ok(())
    }

    fn is_token_refused(&self, error: &RequestError) -> bool {
        self.tokens.is_some() && error.status() == Some(401)
    }
}
