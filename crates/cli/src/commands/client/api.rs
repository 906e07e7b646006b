//! Requests to the API of a service, with the key, and to download links, without it.
//!
//! Requests that the service refuses for now (429, 503) are repeated a few times.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use fs_err as fs;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, RANGE, RETRY_AFTER};
use reqwest::{Certificate, Method, Response, redirect};
use serde_json::Value;

use holdfast_domain::error_chain::chain;

use super::credentials::Credentials;
use crate::error::CommandError;
use crate::output;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long an answer of the API may take. A deletion waits for almost two minutes.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(150);
/// After how much silence a download or a stream counts as cut. A stream has a comment every 15 s.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);
/// How many times a request that is refused for now is repeated.
const REPEATS: u32 = 4;
/// The longest time that the service may ask the client to wait.
const LONGEST_WAIT: Duration = Duration::from_secs(90);
/// The most redirects of a download link.
const REDIRECTS: usize = 5;
/// The largest JSON answer. A page of a hundred backups with all patterns is smaller.
const ANSWER_MAX_BYTES: usize = 64 << 20;

/// The API of a service, as the owner of a key sees it.
#[derive(Debug)]
pub(super) struct Api {
    /// Sends the key. Follows no redirects.
    http: reqwest::Client,
    /// For download links. Never has the key.
    links: reqwest::Client,
    base: String,
    authorization: HeaderValue,
}

/// Why a request failed.
#[derive(Debug)]
pub(super) struct ApiFailure {
    /// The status of the answer; `None` if there is none.
    pub(super) status: Option<u16>,
    text: String,
}

impl ApiFailure {
    /// Returns whether the service or the network may work again soon.
    pub(super) fn is_passing(&self) -> bool {
        self.status
            .is_none_or(|status| matches!(status, 408 | 429 | 500..=599))
    }

    /// Returns whether there is no such server, backup, schedule or path.
    pub(super) fn is_missing(&self) -> bool {
        self.status == Some(404)
    }

    fn with_status(self, status: u16) -> Self {
        let status = Some(status);
        Self { status, ..self }
    }
}

impl fmt::Display for ApiFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<ApiFailure> for CommandError {
    fn from(failure: ApiFailure) -> Self {
        Self::new(failure.text)
    }
}

impl Api {
    /// Creates a client for a service. Proxies of the environment are not used.
    pub(super) fn new(credentials: &Credentials) -> Result<Self, CommandError> {
        let mut authorities = Vec::new();
        if let Some(path) = &credentials.ca_file {
            let pem = fs::read(path)?;
            authorities = Certificate::from_pem_bundle(&pem).map_err(|error| {
                let what = format!("`{}` has no certificates in PEM form", path.display());
                CommandError::with_cause(what, &error)
            })?;
        }
        let builder = || {
            reqwest::Client::builder()
                .no_proxy()
                .referer(false)
                .connect_timeout(CONNECT_TIMEOUT)
                .tls_certs_merge(authorities.iter().cloned())
                .user_agent(concat!("Holdfast/", env!("CARGO_PKG_VERSION")))
        };
        Ok(Self {
            http: builder().redirect(redirect::Policy::none()).build()?,
            links: builder()
                .redirect(redirect::Policy::limited(REDIRECTS))
                .read_timeout(SILENCE_TIMEOUT)
                .build()?,
            base: credentials.url.clone(),
            authorization: credentials.key.header()?,
        })
    }

    /// Reads an object or a page.
    pub(super) async fn get(&self, path: &str) -> Result<Value, ApiFailure> {
        self.send(Method::GET, path, None).await
    }

    /// Sends a request and returns the JSON of its answer; null if it is empty.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ApiFailure> {
        let build = || {
            let request = self.http.request(method.clone(), self.url(path));
            let request = match body {
                Some(body) => request.json(body),
                None => request,
            };
            request.timeout(ANSWER_TIMEOUT)
        };
        let response = self.answered(&build).await?;
        let text = self.text(response).await?;
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&text).map_err(|_| self.no_service("an answer that is not JSON"))
    }

    /// Opens an answer that is not JSON: a file or a stream of events.
    pub(super) async fn open(
        &self,
        path: &str,
        last_event: Option<&str>,
    ) -> Result<Response, ApiFailure> {
        let build = || {
            let request = self.http.get(self.url(path));
            match last_event {
                Some(id) => request.header("last-event-id", id),
                None => request,
            }
        };
        self.answered(&build).await
    }

    /// Opens a download link from an offset on, without the key. The link is a secret, so that no
    /// error shows it.
    pub(super) async fn open_link(&self, url: &str, offset: u64) -> Result<Response, ApiFailure> {
        let mut request = self.links.get(url);
        if offset > 0 {
            request = request.header(RANGE, format!("bytes={offset}-"));
        }
        let response = request.send().await.map_err(|error| ApiFailure {
            status: None,
            text: format!("the download link does not answer: {}", reason(error)),
        })?;
        match response.status().as_u16() {
            200 | 206 | 416 => Ok(response),
            status => Err(ApiFailure {
                status: Some(status),
                text: format!("the download link answered with status {status}"),
            }),
        }
    }

    /// The next bytes of an answer; `None` at its end.
    pub(super) async fn chunk(response: &mut Response) -> Result<Option<Vec<u8>>, String> {
        match tokio::time::timeout(SILENCE_TIMEOUT, response.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk.map(Vec::from)),
            Ok(Err(error)) => Err(reason(error)),
            Err(_) => Err("nothing came for a minute".to_owned()),
        }
    }

    /// Sends a request until it is not refused for now, and returns a successful answer.
    async fn answered(
        &self,
        build: &dyn Fn() -> reqwest::RequestBuilder,
    ) -> Result<Response, ApiFailure> {
        let mut repeats = 0;
        loop {
            let request = build()
                .header(AUTHORIZATION, self.authorization.clone())
                .header(ACCEPT, "application/json, */*;q=0.5");
            let sent = tokio::time::timeout(ANSWER_TIMEOUT, request.send()).await;
            let sent = sent.map_err(|_| self.silent("it took too long"))?;
            let response = sent.map_err(|error| self.silent(&reason(error)))?;
            if response.status().is_success() {
                return Ok(response);
            }
            let wait = wait(&response, repeats);
            let failure = self.failure(response).await;
            let Some(wait) = wait.filter(|_| repeats < REPEATS) else {
                return Err(failure);
            };
            repeats += 1;
            let seconds = wait.as_secs();
            output::notice(&format!("{failure}; trying again in {seconds} s"));
            tokio::time::sleep(wait).await;
        }
    }

    /// Reads the reason of a refusal.
    async fn failure(&self, response: Response) -> ApiFailure {
        let status = response.status().as_u16();
        let details = match self.text(response).await {
            Ok(text) => details(&text),
            Err(failure) => return failure,
        };
        let text = match (status, details) {
            (401, Some(details)) => format!(
                "{details} `holdfast client login {}` stores another key.",
                self.base
            ),
            (_, Some(details)) => details,
            (_, None) => {
                return self
                    .no_service(&format!("status {status}"))
                    .with_status(status);
            }
        };
        ApiFailure {
            status: Some(status),
            text,
        }
    }

    async fn text(&self, mut response: Response) -> Result<Vec<u8>, ApiFailure> {
        let mut text = Vec::new();
        loop {
            let chunk = Self::chunk(&mut response).await;
            match chunk.map_err(|why| self.silent(&why))? {
                Some(chunk) if text.len() + chunk.len() <= ANSWER_MAX_BYTES => text.extend(chunk),
                Some(_) => return Err(self.no_service("an answer that is too long")),
                None => return Ok(text),
            }
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn silent(&self, why: &str) -> ApiFailure {
        ApiFailure {
            status: None,
            text: format!("{} does not answer: {why}", self.base),
        }
    }

    fn no_service(&self, what: &str) -> ApiFailure {
        ApiFailure {
            status: None,
            text: format!(
                "{} answered with {what}: is this the URL of a Holdfast service?",
                self.base
            ),
        }
    }
}

/// The objects of a list, page by page.
#[derive(Debug)]
pub(super) struct ApiPages<'a> {
    api: &'a Api,
    path: String,
    next: Option<u64>,
}

impl<'a> ApiPages<'a> {
    /// Begins with the first page of a list.
    pub(super) fn new(api: &'a Api, path: &str) -> Self {
        let separator = if path.contains('?') { '&' } else { '?' };
        Self {
            api,
            path: format!("{path}{separator}per_page=100&page="),
            next: Some(1),
        }
    }

    /// Returns the attributes of the objects of the next page; `None` after the last page.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Value>>, ApiFailure> {
        let Some(page) = self.next else {
            return Ok(None);
        };
        let mut answer = self.api.get(&format!("{}{page}", self.path)).await?;
        let pages = answer["meta"]["pagination"]["total_pages"].as_u64();
        self.next = (page < pages.unwrap_or(1)).then_some(page + 1);
        let Value::Array(objects) = take(&mut answer, "data") else {
            return Err(self.api.no_service("an answer that is no list"));
        };
        let attributes = objects
            .into_iter()
            .map(|mut object| take(&mut object, "attributes"));
        Ok(Some(attributes.collect()))
    }
}

/// Takes a field out of an answer; null if there is none.
pub(super) fn take(answer: &mut Value, field: &str) -> Value {
    answer.get_mut(field).map(Value::take).unwrap_or_default()
}

/// Returns how long to wait before a request that is refused for now is repeated; `None` if that is
/// pointless or takes too long.
fn wait(response: &Response, repeats: u32) -> Option<Duration> {
    let status = response.status().as_u16();
    let asked = response.headers().get(RETRY_AFTER);
    let asked = asked.and_then(|value| value.to_str().ok()?.parse().ok());
    let wait = match (status, asked) {
        (429 | 503, Some(seconds)) => Duration::from_secs(seconds),
        (503, None) => Duration::from_secs(1 << repeats),
        // Without that header, the limit is none of requests in a minute.
        _ => return None,
    };
    (wait <= LONGEST_WAIT).then_some(wait)
}

/// Returns the sentences of an error answer; `None` if it is none.
fn details(text: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(text).ok()?;
    let entries = answer["errors"].as_array()?.iter();
    let details: Vec<&str> = entries
        .filter_map(|entry| entry["detail"].as_str())
        .collect();
    (!details.is_empty()).then(|| details.join(" "))
}

/// Returns why a request failed, without its URL, which may be a secret.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    match error.source() {
        Some(source) => chain(source),
        None => chain(&error),
    }
}
