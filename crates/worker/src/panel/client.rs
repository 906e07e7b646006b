//! The remote API of the panel, as its daemon uses it.
//!
//! Only an answer in the panel's own form counts as one of the panel. Everything else is a failure:
//! a page of HTML, a redirect, the answer of another program at the same address.

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use holdfast_db::panel_callbacks::CallbackKind;
use holdfast_db::wings_servers::ListedServer;
use holdfast_domain::wings::WingsNode;
use holdfast_domain::{BackupId, ServerId};

use crate::http_client::{HttpAnswer, HttpClient, HttpError};

/// The media type that makes the panel answer errors as JSON too.
const ACCEPT: &str = "application/vnd.pterodactyl.v1+json";
/// How many servers a page has. Wings requests as many.
pub(super) const PAGE_SIZE: u32 = 50;
/// How much of an answer to a callback is read. With `APP_DEBUG`, it has a stack trace.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// How much of a page of servers is read. Each server has its whole configuration.
const PAGE_BYTES_MAX: usize = 32 << 20;
/// How much of a message of the panel is repeated.
const DETAIL_CHARS_MAX: usize = 200;
/// The longest name of a server.
const NAME_CHARS_MAX: usize = 191;

/// A client for the panel of a node.
#[derive(Clone, Debug)]
pub(super) struct PanelClient(HttpClient);

/// What the panel has done with a callback. In each case, it needs no other attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallbackAnswer {
    /// It has taken it.
    Taken,
    /// It had taken it before.
    AlreadyTaken,
    /// It does not know the backup.
    Unknown,
}

impl CallbackAnswer {
    /// Returns the label of metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::AlreadyTaken => "already_taken",
            Self::Unknown => "unknown",
        }
    }
}

/// Why the panel did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum PanelError {
    /// There is no answer.
    #[error(transparent)]
    NoAnswer(#[from] HttpError),
    /// It answered with a redirect, which is not followed.
    #[error(
        "it answered {status}, a redirect, which is not followed: set `remote` in the settings \
         file of Wings to the URL that the panel itself uses"
    )]
    Redirect { status: u16 },
    /// It refused the token.
    #[error(
        "it refused the token of the node ({status}): if the panel has a new one, copy the \
         configuration again, and restart Wings and this service"
    )]
    Unauthorized { status: u16 },
    /// The answer is not in the form of the panel.
    #[error(
        "the answer with status {status} is not one of the panel: check `remote` in the settings \
         file of Wings"
    )]
    NotThePanel { status: u16 },
    /// The panel can't answer at the moment.
    #[error("it answered {status}: {detail}")]
    Unavailable { status: u16, detail: String },
    /// The panel refused this request.
    #[error("it answered {status}: {detail}")]
    Refused { status: u16, detail: String },
}

impl PanelError {
    /// Returns whether only this request has failed: others can succeed.
    pub(super) fn is_of_request(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }

    /// Returns the label of metrics, which `/readyz` shows too.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::NoAnswer(HttpError::TooSlow) => "timeout",
            Self::NoAnswer(HttpError::Tls(_)) => "tls",
            Self::NoAnswer(HttpError::Unreachable(_)) => "unreachable",
            Self::NoAnswer(_) => "other",
            Self::Redirect { .. } => "redirect",
            Self::Unauthorized { .. } => "unauthorized",
            Self::NotThePanel { .. } => "not_the_panel",
            Self::Unavailable { .. } => "unavailable",
            Self::Refused { .. } => "refused",
        }
    }
}

/// What the panel knows of a server.
#[derive(Debug)]
pub(super) enum ServerAnswer {
    /// It exists. Pterodactyl says so to each node.
    Known(ListedServer),
    /// It is on another node. Only Pelican says so.
    Elsewhere,
    /// It does not exist.
    Unknown,
}

/// One page of the servers of the node.
#[derive(Debug)]
pub(super) struct ServersPage {
    pub(super) servers: Vec<ListedServer>,
    pub(super) current_page: u32,
    pub(super) last_page: u32,
    pub(super) total: u64,
}

impl PanelClient {
    /// Creates a client for the panel of a node.
    ///
    /// # Errors
    /// If TLS can't be set up, or the token can't be sent.
    pub(super) fn new(node: &WingsNode) -> Result<Self, HttpError> {
        let bearer = format!("{}.{}", node.token_id, node.token.expose());
        HttpClient::new(&node.panel_url, &bearer, ACCEPT).map(Self)
    }

    /// Tells the panel how a backup or a restore ended.
    ///
    /// # Errors
    /// If the panel has to be told again.
    pub(super) async fn report(
        &self,
        kind: CallbackKind,
        backup: BackupId,
        body: &Value,
    ) -> Result<CallbackAnswer, PanelError> {
        let path = match kind {
            CallbackKind::Backup => format!("/api/remote/backups/{backup}"),
            CallbackKind::Restore => format!("/api/remote/backups/{backup}/restore"),
        };
        let body = Some(body.to_string());
        let sent = self.0.send(Method::POST, &path, body, ANSWER_BYTES_MAX);
        let answer = sent.await?;
        if (200..300).contains(&answer.status) {
            return match is_html(&answer.body) {
                false => Ok(CallbackAnswer::Taken),
                // The panel answers without a body. This is the page of another host.
                true => Err(PanelError::NotThePanel {
                    status: answer.status,
                }),
            };
        }
        let message = PanelMessage::of(&answer);
        match (answer.status, &message) {
            (400, Some(message)) if message.says_completed() => Ok(CallbackAnswer::AlreadyTaken),
            (404, Some(message)) if !message.is_of_missing_route() => Ok(CallbackAnswer::Unknown),
            _ => Err(failed(answer.status, message)),
        }
    }

    /// Returns a page of the servers of the node, from 1 on.
    ///
    /// # Errors
    /// If the answer is not a page of servers.
    pub(super) async fn servers(&self, page: u32) -> Result<ServersPage, PanelError> {
        #[derive(Deserialize)]
        struct Page {
            data: Vec<ServerJson>,
            meta: Meta,
        }
        #[derive(Deserialize)]
        struct Meta {
            current_page: u32,
            last_page: u32,
            total: u64,
        }
        let path = format!("/api/remote/servers?page={page}&per_page={PAGE_SIZE}");
        let answer = self
            .0
            .send(Method::GET, &path, None, PAGE_BYTES_MAX)
            .await?;
        if answer.status != 200 {
            return Err(failed(answer.status, PanelMessage::of(&answer)));
        }
        let not_the_panel = || PanelError::NotThePanel { status: 200 };
        let page: Page = serde_json::from_slice(&answer.body).map_err(|_| not_the_panel())?;
        let servers: Option<Vec<ListedServer>> =
            page.data.into_iter().map(ServerJson::parse).collect();
        Ok(ServersPage {
            servers: servers.ok_or_else(not_the_panel)?,
            current_page: page.meta.current_page,
            last_page: page.meta.last_page,
            total: page.meta.total,
        })
    }

    /// Returns what the panel knows of a server.
    ///
    /// # Errors
    /// If the answer is neither.
    pub(super) async fn server(&self, id: ServerId) -> Result<ServerAnswer, PanelError> {
        let path = format!("/api/remote/servers/{id}");
        let answer = self
            .0
            .send(Method::GET, &path, None, PAGE_BYTES_MAX)
            .await?;
        let message = PanelMessage::of(&answer);
        match (answer.status, &message) {
            (404, Some(message)) if !message.is_of_missing_route() => {
                return Ok(ServerAnswer::Unknown);
            }
            (403, Some(message)) if message.detail.contains("permission") => {
                return Ok(ServerAnswer::Elsewhere);
            }
            (200, _) => {}
            _ => return Err(failed(answer.status, message)),
        }
        let server = serde_json::from_slice(&answer.body).ok();
        match server.and_then(ServerJson::parse) {
            Some(server) if server.id == id => Ok(ServerAnswer::Known(server)),
            _ => Err(PanelError::NotThePanel { status: 200 }),
        }
    }
}

/// The first error of an answer, in the panel's form.
struct PanelMessage {
    detail: String,
}

impl PanelMessage {
    fn of(answer: &HttpAnswer) -> Option<Self> {
        let body: Value = serde_json::from_slice(&answer.body).ok()?;
        let error = body.get("errors")?.get(0)?;
        error.get("code")?.as_str()?;
        let detail = error.get("detail")?.as_str()?;
        let detail = detail.chars().take(DETAIL_CHARS_MAX).collect();
        Some(Self { detail })
    }

    fn says_completed(&self) -> bool {
        self.detail.contains("already") && self.detail.contains("completed")
    }

    /// Returns whether the URL is wrong, and not the backup or server in it.
    fn is_of_missing_route(&self) -> bool {
        self.detail.starts_with("The route ")
    }
}

fn failed(status: u16, message: Option<PanelMessage>) -> PanelError {
    match (status, message) {
        (300..=399, _) => PanelError::Redirect { status },
        (401, _) => PanelError::Unauthorized { status },
        // Another 403 says that the backup belongs to another node.
        (403, Some(message)) if message.detail.contains("not authorized") => {
            PanelError::Unauthorized { status }
        }
        (404, Some(message)) if message.is_of_missing_route() => PanelError::NotThePanel { status },
        (429 | 500..=599, Some(PanelMessage { detail })) => {
            PanelError::Unavailable { status, detail }
        }
        (_, Some(PanelMessage { detail })) => PanelError::Refused { status, detail },
        (_, None) => PanelError::NotThePanel { status },
    }
}

fn is_html(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"<")
}

/// A server as the panel describes it. Most of its fields are not read.
#[derive(Deserialize)]
struct ServerJson {
    uuid: Option<Uuid>,
    settings: SettingsJson,
}

#[derive(Deserialize)]
struct SettingsJson {
    uuid: Option<Uuid>,
    #[serde(default)]
    suspended: Value,
    #[serde(default)]
    meta: Value,
}

impl ServerJson {
    /// Returns the server; `None` if it has no UUID.
    fn parse(self) -> Option<ListedServer> {
        let id = self.uuid.or(self.settings.uuid)?;
        let suspended = &self.settings.suspended;
        let name = self.settings.meta.get("name").and_then(Value::as_str);
        let name = name.map(|name| {
            let name = name.trim().chars().filter(|c| !c.is_control());
            name.take(NAME_CHARS_MAX).collect::<String>()
        });
        Some(ListedServer {
            id: ServerId(id),
            name: name.filter(|name| !name.is_empty()),
            is_suspended: suspended.as_bool().unwrap_or(false) || suspended.as_i64() == Some(1),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(detail: &str) -> Option<PanelMessage> {
        let body = serde_json::json!({ "errors": [
            { "code": "SomeException", "status": "400", "detail": detail }
        ] });
        PanelMessage::of(&HttpAnswer {
            status: 400,
            body: body.to_string().into_bytes(),
        })
    }

    #[test]
    fn a_failure_is_one_of_the_panel_unless_the_panel_refuses_this_request() {
        for (status, detail, expected, is_of_request) in [
            (302, None, "redirect", false),
            (401, Some("Unauthorized"), "unauthorized", false),
            (
                403,
                Some("You are not authorized to access this resource."),
                "unauthorized",
                false,
            ),
            (
                403,
                Some("You do not have permission to access that backup."),
                "refused",
                true,
            ),
            (403, None, "not_the_panel", false),
            (404, None, "not_the_panel", false),
            (
                404,
                Some("The route api/remote/backups/x could not be found."),
                "not_the_panel",
                false,
            ),
            (422, Some("The size must be a number."), "refused", true),
            (429, Some("Too Many Attempts."), "unavailable", false),
            (500, Some("An unexpected error"), "unavailable", false),
            (502, None, "not_the_panel", false),
            (503, Some("Service Unavailable"), "unavailable", false),
        ] {
            let error = failed(status, detail.and_then(message));
            assert_eq!(error.reason(), expected, "{status} {detail:?}");
            assert_eq!(error.is_of_request(), is_of_request, "{status} {detail:?}");
        }
    }

    #[test]
    fn a_message_is_only_read_in_the_form_of_the_panel() {
        let completed = "Cannot update the status of a backup that is already marked as completed.";
        assert!(message(completed).expect("a message").says_completed());
        for body in [
            "",
            "<html>404</html>",
            "{}",
            r#"{"error":"not found"}"#,
            r#"{"errors":[]}"#,
            r#"{"errors":[{"detail":"no code"}]}"#,
            r#"{"message":"Not Found"}"#,
        ] {
            let body = body.as_bytes().to_vec();
            assert!(PanelMessage::of(&HttpAnswer { status: 404, body }).is_none());
        }
    }

    #[test]
    fn a_server_is_read_from_either_form() {
        let id = "7d8b3d1e-5b62-4a0a-8c5a-3f4e7f5a9b10";
        for (json, name, is_suspended) in [
            (
                serde_json::json!({ "uuid": id, "settings": { "uuid": id, "suspended": true } }),
                None,
                true,
            ),
            (
                serde_json::json!({ "settings": {
                    "uuid": id, "suspended": 0, "meta": { "name": " My\u{1b} server " }, "build": {}
                } }),
                Some("My server"),
                false,
            ),
            (
                serde_json::json!({ "uuid": id, "settings": { "suspended": 1, "meta": [] } }),
                None,
                true,
            ),
        ] {
            let json: ServerJson = serde_json::from_value(json).expect("readable");
            let server = json.parse().expect("a server");
            assert_eq!(server.id.to_string(), id);
            assert_eq!(server.name.as_deref(), name);
            assert_eq!(server.is_suspended, is_suspended);
        }
    }
}
