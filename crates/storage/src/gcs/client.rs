//! Sends requests: with a token, within a time, and again where that may help.

use std::time::Duration;

use bytes::Bytes;
use holdfast_domain::DiskName;
use rand::RngExt as _;
use reqwest::header::HeaderMap;
use reqwest::{Client, RequestBuilder, Response};
use serde::de::DeserializeOwned;

use super::GcsDisk;
use super::failure::{Answer, Failure};
use crate::authorities::Authorities;
use crate::error::Error;

/// How often a request is tried in all.
pub(super) const ATTEMPTS: u32 = 5;
/// How long the first wait before another try may be, and the longest one; each is jittered.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long one try of an ordinary request may take.
pub(super) const ATTEMPT: Duration = Duration::from_secs(30);
/// How slow a connection may be that a chunk goes through, in bytes per second.
const SLOWEST: u64 = 64 * 1024;
/// The longest refusal that is read.
const LONGEST_REFUSAL: usize = 64 * 1024;

/// A whole answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Makes the client of a disk.
pub(super) fn connect(name: &DiskName, authorities: Option<&Authorities>) -> Result<Client, Error> {
    let trusted = authorities.map(Authorities::certificates);
    // Over HTTP/2 all requests would share one connection and its window.
    let built = Client::builder()
        .user_agent(concat!("holdfast/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .redirect(reqwest::redirect::Policy::none())
        .http1_only()
        .tls_certs_merge(trusted.unwrap_or_default())
        .build();
    built.map_err(|error| Error::Misconfigured {
        disk: name.to_string(),
        advice: "no HTTPS client could be made: check that this machine has the certificates of \
                 authorities (package ca-certificates)"
            .to_owned(),
        source: error.into(),
    })
}

/// How long a request that carries `bytes` may take.
pub(super) fn time_for(bytes: usize) -> Duration {
    ATTEMPT + Duration::from_secs(bytes as u64 / SLOWEST)
}

/// Waits before another try, longer each time.
pub(super) async fn back_off(tries: u32) {
    let longest = (BACKOFF.0 * 2_u32.saturating_pow(tries.saturating_sub(1))).min(BACKOFF.1);
    let share = rand::rng().random_range(0.5..1.0);
    tokio::time::sleep(longest.mul_f64(share)).await;
}

/// Sends a request once and reads the head of the answer; what is no success is a failure, except 308,
/// by which a server says that it wants more of an upload.
async fn begin(request: RequestBuilder) -> Result<Response, Failure> {
    let mut response = request.send().await.map_err(Failure::lost)?;
    let status = response.status().as_u16();
    if matches!(status, 200..=299 | 308) {
        return Ok(response);
    }
    let mut body = Vec::new();
    while body.len() < LONGEST_REFUSAL {
        match response.chunk().await {
            Ok(Some(piece)) => body.extend_from_slice(&piece),
            // Its status alone says enough.
            Ok(None) | Err(_) => break,
        }
    }
    Err(Failure::Refused(Answer::read(status, &body)))
}

/// Sends a request once and reads the whole answer.
pub(super) async fn reply(request: RequestBuilder) -> Result<Reply, Failure> {
    let response = begin(request).await?;
    Ok(Reply {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.bytes().await.map_err(Failure::lost)?,
    })
}

impl Reply {
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| Failure::Broken(error.into()))
    }
}

impl GcsDisk {
    async fn signed(
        &self,
        request: RequestBuilder,
    ) -> Result<(RequestBuilder, Option<Used>), Failure> {
        let Some(tokens) = &self.tokens else {
            return Ok((request, None));
        };
        let token = tokens.get(&self.http).await?;
        Ok((request.bearer_auth(&token), Some(token)))
    }

    /// Has a token renewed that the server did not take.
    async fn look_at_refusal(&self, failure: &Failure, used: Option<Used>) {
        if let (Some(tokens), Some(token), Some(401)) = (&self.tokens, used, failure.status()) {
            tokens.forget(&token).await;
        }
    }

    /// Sends a request once, and reads the whole answer.
    pub(super) async fn once(&self, request: RequestBuilder) -> Result<Reply, Failure> {
        let (request, used) = self.signed(request).await?;
        match reply(request).await {
            Ok(reply) => Ok(reply),
            Err(failure) => {
                self.look_at_refusal(&failure, used).await;
                Err(failure)
            }
        }
    }

    /// Sends a request once, and leaves the body of the answer to the caller.
    pub(super) async fn open(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let (request, used) = self.signed(request).await?;
        match tokio::time::timeout(ATTEMPT, begin(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(failure)) => {
                self.look_at_refusal(&failure, used).await;
                Err(failure)
            }
            Err(late) => Err(Failure::Broken(late.into())),
        }
    }

    /// Sends a request as often as it may help.
    pub(super) async fn ask(
        &self,
        make: impl Fn(&Client) -> RequestBuilder,
        longest: Duration,
    ) -> Result<Reply, Failure> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.once(make(&self.http).timeout(longest)).await {
                Ok(reply) => return Ok(reply),
                Err(failure) => self.before_another_try(tries, failure).await?,
            }
        }
    }

    /// Waits if another try may help, or hands the failure back.
    pub(super) async fn before_another_try(
        &self,
        tries: u32,
        failure: Failure,
    ) -> Result<(), Failure> {
        // A token may have ended early; a new one is refused for a reason.
        let may_pass = failure.may_pass() || (tries == 1 && self.is_about_token(&failure));
        if !may_pass || tries >= ATTEMPTS {
            return Err(failure);
        }
        tracing::debug!(disk = %self.name, tries, %failure, "a request failed; trying again");
        back_off(tries).await;
        Ok(())
    }

    fn is_about_token(&self, failure: &Failure) -> bool {
        self.tokens.is_some() && failure.status() == Some(401)
    }
}

/// The token that a request went with.
type Used = std::sync::Arc<str>;
