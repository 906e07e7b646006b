//! Asks the panel about a server, with the caller's own credential.
//!
//! The URL consists of the settings and a parsed server. No redirect is followed, no proxy of the
//! environment is used, and only the meaning of an answer leaves this module.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, COOKIE, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, Response, redirect};

use holdfast_domain::ServerRef;
use holdfast_domain::error_chain::chain;
use holdfast_domain::panel::PanelServer;

use super::answer;
use super::credential::PanelCredential;

/// The timeout of the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The timeout of the whole request.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer, in bytes.
const ANSWER_MAX: usize = 1 << 20;
/// How long a caller waits after a 429 that does not say it, in seconds.
const RETRY_AFTER_SECONDS: u32 = 60;
/// The longest such wait, in seconds.
const RETRY_AFTER_MAX: u32 = 3600;
/// The header of every request to the panel. If the panel's URL leads back to this service, it ends
/// the circle.
pub(crate) const ASKS: &str = "x-holdfast-asks-panel";
/// The panel's code for an account that needs a second factor first.
const TWO_FACTOR: &str = "TwoFactorAuthRequiredException";

/// What a caller wants to know from the panel.
#[derive(Clone, Debug)]
pub(crate) struct PanelQuestion {
    pub(crate) credential: PanelCredential,
    pub(crate) server: ServerRef,
    /// The caller's address, which the panel may check.
    pub(crate) address: IpAddr,
}

/// Why the panel refuses a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PanelRefusal {
    /// 401: the credential is wrong.
    Credential,
    /// 403, with the panel's text.
    Forbidden { detail: String },
    /// 404: there is no such server for the caller.
    NotFound,
    /// 429: the caller has asked too often.
    TooManyRequests { retry_after_seconds: u32 },
    /// 400: the account needs a second factor first.
    TwoFactorRequired,
}

/// The panel has not answered, or not as a panel does.
#[derive(Debug, thiserror::Error)]
#[error("the panel {0}")]
pub(super) struct PanelFailure(String);

/// The HTTP client for the panel.
#[derive(Clone, Debug)]
pub(super) struct PanelClient {
    http: reqwest::Client,
    /// The panel's URL, without a slash at the end.
    url: String,
}

impl PanelClient {
    /// Creates a client that trusts `authorities` in addition to those of the machine.
    pub(super) fn new(url: &str, authorities: Vec<Certificate>) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .http1_only()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .tls_certs_merge(authorities)
            .user_agent(concat!("Holdfast/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let url = url.to_owned();
        Ok(Self { http, url })
    }

    /// Asks the panel whether the caller has access to a server, and to what extent.
    pub(super) async fn ask(
        &self,
        request: &PanelQuestion,
    ) -> Result<Result<PanelServer, PanelRefusal>, PanelFailure> {
        let server = match &request.server {
            ServerRef::Id(id) => id.to_string(),
            ServerRef::Short(short) => short.clone(),
        };
        let (name, value) = match &request.credential {
            PanelCredential::Key(value) => (AUTHORIZATION, value),
            PanelCredential::Session(value) => (COOKIE, value),
        };
        let value = HeaderValue::from_bytes(value.as_bytes());
        let mut value = value.map_err(|_| failed("would not understand this credential"))?;
        value.set_sensitive(true);
        let response = self
            .http
            .get(format!("{}/api/client/servers/{server}", self.url))
            .header(ACCEPT, "application/json")
            // Without it, the panel would take this page as the last one that the user has visited.
            .header(
                HeaderName::from_static("x-requested-with"),
                "XMLHttpRequest",
            )
            // The panel reads it if it trusts this machine. What the client sent is not passed on.
            .header(
                HeaderName::from_static("x-forwarded-for"),
                request.address.to_string(),
            )
            .header(HeaderName::from_static(ASKS), "1")
            .header(name, value)
            .send()
            .await
            .map_err(|error| failed(unreachable(error)))?;
        let status = response.status().as_u16();
        let retry_after_seconds = retry_after(&response);
        let body = read(response).await?;
        // A web server in front of the panel may answer in its place, if the panel is down.
        let refusal = match (status, answer::error(&body)) {
            (200, _) => return self.read_server(&body, request).map(Ok),
            (401, Some(_)) => PanelRefusal::Credential,
            (403, Some(error)) => PanelRefusal::Forbidden {
                detail: error.detail,
            },
            (404, Some(_)) => PanelRefusal::NotFound,
            (429, _) => PanelRefusal::TooManyRequests {
                retry_after_seconds,
            },
            (400, Some(error)) if error.code == TWO_FACTOR => PanelRefusal::TwoFactorRequired,
            (_, Some(_)) => return Err(failed(format!("answered with status {status}"))),
            (_, None) => {
                let answered = format!("answered with status {status}, and not as a panel does");
                return Err(failed(answered));
            }
        };
        Ok(Err(refusal))
    }

    /// Reads the answer about a server, which must be the one that was asked for.
    fn read_server(
        &self,
        body: &[u8],
        request: &PanelQuestion,
    ) -> Result<PanelServer, PanelFailure> {
        let server = answer::server(body, request.credential.is_key())
            .ok_or_else(|| failed("answered something that does not describe a server"))?;
        let is_same = match &request.server {
            ServerRef::Id(id) => server.id == *id,
            ServerRef::Short(short) => server.id.short() == *short,
        };
        if is_same {
            Ok(server)
        } else {
            Err(failed("answered about another server"))
        }
    }
}

/// Reads a body, up to its largest length.
async fn read(mut response: Response) -> Result<Vec<u8>, PanelFailure> {
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| failed(unreachable(error)))?
    {
        if body.len() + chunk.len() > ANSWER_MAX {
            return Err(failed(format!(
                "answered with more than {ANSWER_MAX} bytes"
            )));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn retry_after(response: &Response) -> u32 {
    let header = response.headers().get(RETRY_AFTER);
    let seconds = header.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    seconds
        .unwrap_or(RETRY_AFTER_SECONDS)
        .clamp(1, RETRY_AFTER_MAX)
}

/// Says why a request had no answer. The URL would only repeat the settings.
fn unreachable(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("did not answer within {} s", REQUEST_TIMEOUT.as_secs());
    }
    format!("cannot be reached: {}", chain(&error.without_url()))
}

fn failed(what: impl Into<String>) -> PanelFailure {
    PanelFailure(what.into())
}
