//! Controls servers through Wings, the daemon of the panel, so that it knows why a server stops.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use holdfast_domain::ServerId;
use holdfast_domain::wings::WingsNode;

use super::{POLL_INTERVAL, PowerError};
use crate::http_client::{HttpAnswer, HttpClient, HttpError};

/// How much of an answer is read. The state of a server has less than a kilobyte.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// How much of a message of Wings is repeated.
const MESSAGE_CHARS_MAX: usize = 200;
/// The longest time that Wings accepts as `wait_seconds`.
const WAIT_SECONDS_MAX: u64 = 300;

/// How to reach Wings.
#[derive(Clone, Debug)]
pub struct WingsPower {
    client: HttpClient,
    url: String,
    /// How long a server may take to stop before it is killed.
    grace: Duration,
}

/// Why Wings did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum WingsError {
    /// There is no answer.
    #[error(transparent)]
    NoAnswer(#[from] HttpError),
    /// It refused the token.
    #[error(
        "it refused the token ({status}): if the panel has a new token for the node, restart this \
         service, so that it reads the settings file of Wings again"
    )]
    Unauthorized {
        /// The HTTP status.
        status: u16,
    },
    /// It does not know the server.
    #[error("it does not know server {0}: is the server on this node?")]
    UnknownServer(ServerId),
    /// It refused the request with a message.
    #[error("it answered {status}: {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Its message.
        message: String,
    },
    /// The answer is not one of Wings.
    #[error(
        "the answer with status {status} is not one of Wings: check `api` in its settings file, or \
         set wings.url"
    )]
    NotWings {
        /// The HTTP status.
        status: u16,
    },
}

impl WingsError {
    /// Returns whether a later attempt may succeed without a change of the settings.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::NoAnswer(error) => {
                matches!(error, HttpError::TooSlow | HttpError::Unreachable(_))
            }
            // A proxy in front of Wings answers so while Wings restarts.
            Self::NotWings { status } | Self::Refused { status, .. } => {
                matches!(status, 500 | 502..=504)
            }
            Self::Unauthorized { .. } | Self::UnknownServer(_) => false,
        }
    }
}

impl WingsPower {
    /// Creates a client for the Wings of a node.
    ///
    /// # Errors
    /// If TLS can't be set up, or the token can't be sent.
    pub fn new(node: &WingsNode, grace: Duration) -> Result<Self, HttpError> {
        let client = HttpClient::new(&node.wings_url, node.token.expose(), "application/json")?;
        Ok(Self {
            client,
            url: node.wings_url.clone(),
            grace,
        })
    }

    pub(super) async fn is_running(&self, server: ServerId) -> Result<bool, PowerError> {
        let path = format!("/api/servers/{server}");
        let answer = self.request(server, Method::GET, &path, None).await?;
        let state = match answer.status {
            200 => serde_json::from_slice::<Value>(&answer.body).ok(),
            _ => None,
        };
        // A state that is not known here counts as running: its files must not be replaced.
        match state.as_ref().and_then(|body| body.get("state")?.as_str()) {
            Some(state) => Ok(state != "offline"),
            None => Err(self.failed(WingsError::NotWings {
                status: answer.status,
            })),
        }
    }

    /// Stops a server as its console does, and kills it if it has not stopped in time.
    pub(super) async fn stop(&self, server: ServerId) -> Result<(), PowerError> {
        if !self.is_running(server).await? {
            return Ok(());
        }
        self.act(server, "stop").await?;
        let deadline = Instant::now() + self.grace;
        while self.is_running(server).await? {
            if Instant::now() >= deadline {
                tracing::warn!(
                    %server,
                    grace_seconds = self.grace.as_secs(),
                    "killing a server that did not stop in time"
                );
                return self.kill(server).await;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    pub(super) async fn start(&self, server: ServerId) -> Result<(), PowerError> {
        self.act(server, "start").await
    }

    pub(super) async fn kill(&self, server: ServerId) -> Result<(), PowerError> {
        self.act(server, "kill").await
    }

    /// Sends a line to a server's console.
    pub(super) async fn send_command(
        &self,
        server: ServerId,
        line: &str,
    ) -> Result<(), PowerError> {
        let path = format!("/api/servers/{server}/commands");
        let body = json!({ "commands": [line] }).to_string();
        let answer = self
            .request(server, Method::POST, &path, Some(body))
            .await?;
        match answer.status {
            200..=299 => Ok(()),
            502 if message(&answer).is_some() => Err(PowerError::NotRunning),
            _ => Err(self.refused(&answer)),
        }
    }

    /// Requests a change of the power state. Wings works on it after it has answered.
    async fn act(&self, server: ServerId, action: &'static str) -> Result<(), PowerError> {
        let path = format!("/api/servers/{server}/power");
        let wait_seconds = self.grace.as_secs().min(WAIT_SECONDS_MAX);
        let body = json!({ "action": action, "wait_seconds": wait_seconds }).to_string();
        let answer = self
            .request(server, Method::POST, &path, Some(body))
            .await?;
        match answer.status {
            200..=299 => Ok(()),
            _ => Err(self.refused(&answer)),
        }
    }

    /// Sends a request, and handles the refusals that every request can get.
    async fn request(
        &self,
        server: ServerId,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<HttpAnswer, PowerError> {
        let sent = self.client.send(method, path, body, ANSWER_BYTES_MAX).await;
        let answer = sent.map_err(|error| self.failed(error.into()))?;
        let error = match answer.status {
            401 | 403 => WingsError::Unauthorized {
                status: answer.status,
            },
            404 if message(&answer).is_some() => WingsError::UnknownServer(server),
            _ => return Ok(answer),
        };
        Err(self.failed(error))
    }

    fn refused(&self, answer: &HttpAnswer) -> PowerError {
        let status = answer.status;
        self.failed(match message(answer) {
            Some(message) => WingsError::Refused { status, message },
            None => WingsError::NotWings { status },
        })
    }

    fn failed(&self, source: WingsError) -> PowerError {
        PowerError::Wings {
            url: self.url.clone(),
            source,
        }
    }
}

/// Returns the message of an answer of Wings, which is `{"error": "…"}`.
fn message(answer: &HttpAnswer) -> Option<String> {
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    let text = body.get("error")?.as_str()?;
    Some(text.chars().take(MESSAGE_CHARS_MAX).collect())
}
