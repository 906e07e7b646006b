//! The client API of the panel, as far as Holdfast asks it who a caller is.
//!
//! After Pterodactyl's `EnsureStatefulRequests`, `RequireTwoFactorAuthentication`,
//! `AuthenticateIPAccess`, `RequireClientApiKey`, `SubstituteClientBindings`,
//! `AuthenticateServerAccess`, `GetUserPermissionsService` and `ServerTransformer`, in this order.
//! A session comes before a key, as in Sanctum.

use std::collections::BTreeMap;
use std::net::IpAddr;

use actix_web::http::header::{ACCEPT, AUTHORIZATION, COOKIE, LOCATION, RETRY_AFTER, SET_COOKIE};
use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, web};
use rand::distr::{Alphanumeric, SampleString as _};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Panel;
use super::remote_api::refuse;
use super::state::PanelServer;

/// The name of the cookie of a session, as it comes with Pterodactyl.
pub(crate) const SESSION_COOKIE: &str = "pterodactyl_session";

/// The users, the keys, the sessions, and who may use which server.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ClientApiState {
    pub(crate) users: BTreeMap<String, PanelUser>,
    /// By the whole key.
    pub(crate) keys: BTreeMap<String, PanelKey>,
    /// The user of each session, by the value of its cookie.
    pub(crate) sessions: BTreeMap<String, String>,
    pub(crate) servers: BTreeMap<Uuid, ServerUsers>,
    /// Whether every account needs a second factor.
    pub(crate) requires_two_factor: bool,
    /// Whether the panel trusts the machine that asks it, with `TRUSTED_PROXIES`.
    pub(crate) trusts_proxies: bool,
    /// Answered with 429 and this `Retry-After`.
    pub(crate) is_throttled: Option<u32>,
    /// Answered with 200 and this body to every caller.
    pub(crate) instead: Option<String>,
    /// Every request that has arrived.
    pub(crate) asked: Vec<AskedRequest>,
}

/// A user of the panel.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct PanelUser {
    pub(crate) is_admin: bool,
    pub(crate) uses_two_factor: bool,
}

/// An API key of the panel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PanelKey {
    pub(crate) user: String,
    pub(crate) is_application: bool,
    /// Any address if it is empty.
    pub(crate) allowed_ips: Vec<IpAddr>,
}

/// The users of a server, and what only its page shows.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ServerUsers {
    pub(crate) owner: String,
    /// The permissions of each subuser.
    pub(crate) subusers: BTreeMap<String, Vec<String>>,
    pub(crate) backup_limit: Option<u64>,
    pub(crate) is_transferring: bool,
    pub(crate) is_node_under_maintenance: bool,
}

/// A request to the client API.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AskedRequest {
    pub(crate) method: String,
    /// With the query, if there is one.
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl AskedRequest {
    /// The values of a header.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        let found = self.headers.iter().filter(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).collect()
    }
}

impl ClientApiState {
    /// Adds a user.
    pub(crate) fn add_user(&mut self, name: &str, is_admin: bool) {
        let user = PanelUser {
            is_admin,
            uses_two_factor: false,
        };
        self.users.insert(name.to_owned(), user);
    }

    /// Adds a key of a user, and returns it.
    pub(crate) fn add_key(&mut self, user: &str) -> String {
        self.add_key_of_kind("ptlc_", user)
    }

    /// Adds an application key of a user, and returns it.
    pub(crate) fn add_application_key(&mut self, user: &str) -> String {
        self.add_key_of_kind("ptla_", user)
    }

    fn add_key_of_kind(&mut self, prefix: &str, user: &str) -> String {
        let key = format!("{prefix}{}", random_text(43));
        let row = PanelKey {
            user: user.to_owned(),
            is_application: prefix == "ptla_",
            allowed_ips: Vec::new(),
        };
        self.keys.insert(key.clone(), row);
        key
    }

    /// Signs a user in, and returns the value of the session's cookie.
    pub(crate) fn sign_in(&mut self, user: &str) -> String {
        let session = format!("eyJpdiI6{}%3D", random_text(200));
        self.sessions.insert(session.clone(), user.to_owned());
        session
    }

    /// The user of a request, and the key if there is one.
    fn user(&self, request: &HttpRequest) -> Option<(String, Option<PanelKey>)> {
        let cookies = text(request, COOKIE.as_str());
        let cookies = cookies
            .split(';')
            .filter_map(|pair| pair.trim().split_once('='));
        let session = cookies
            .filter(|(name, _)| *name == SESSION_COOKIE)
            .find_map(|(_, value)| self.sessions.get(value));
        if let Some(user) = session {
            return Some((user.clone(), None));
        }
        let key = text(request, AUTHORIZATION.as_str());
        let key = self.keys.get(key.strip_prefix("Bearer ")?)?;
        Some((key.user.clone(), Some(key.clone())))
    }
}

/// Characters as `Str::random` of Laravel takes them.
fn random_text(length: usize) -> String {
    Alphanumeric.sample_string(&mut rand::rng(), length)
}

/// The value of a header; empty if there is none.
fn text<'a>(request: &'a HttpRequest, name: &str) -> &'a str {
    let value = request.headers().get(name);
    value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// The routes under `/api/client`.
pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .route("/api/client/servers/{server}", web::get().to(show_server))
        .route("/api/client/{path:.*}", web::route().to(other));
}

fn record(panel: &Panel, request: &HttpRequest) {
    let headers = request.headers().iter();
    let headers = headers.map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), value)
    });
    let asked = AskedRequest {
        method: request.method().to_string(),
        path: request.uri().to_string(),
        headers: headers.collect(),
    };
    panel.change(|state| state.client_api.asked.push(asked));
}

async fn other(panel: Data<Panel>, request: HttpRequest) -> HttpResponse {
    record(&panel, &request);
    not_found(&request)
}

fn not_found(request: &HttpRequest) -> HttpResponse {
    let detail = "The requested resource could not be found on the server.";
    refuse(request, 404, "NotFoundHttpException", detail)
}

async fn show_server(panel: Data<Panel>, request: HttpRequest, path: Path<String>) -> HttpResponse {
    record(&panel, &request);
    let (state, servers) = panel.read(|state| (state.client_api.clone(), state.servers.clone()));
    if let Some(body) = state.instead {
        return HttpResponse::Ok()
            .content_type("application/json")
            .body(body);
    }
    let Some((name, key)) = state.user(&request) else {
        let accepts = text(&request, ACCEPT.as_str());
        return match accepts.contains("json") {
            true => refuse(&request, 401, "AuthenticationException", "Unauthenticated."),
            false => HttpResponse::Found()
                .insert_header((LOCATION, "/auth/login"))
                .finish(),
        };
    };
    let user = state.users.get(&name).cloned().unwrap_or_default();
    if state.requires_two_factor && !user.uses_two_factor {
        let detail = "Two-factor authentication is required on this account in order to access \
                      this endpoint.";
        return refuse(&request, 400, "TwoFactorAuthRequiredException", detail);
    }
    let address = address(&request, state.trusts_proxies);
    if let Some(key) = &key {
        if !key.allowed_ips.is_empty() && !key.allowed_ips.contains(&address) {
            let detail = format!(
                "This IP address ({address}) does not have permission to access the API using \
                 these credentials."
            );
            return refuse(&request, 403, "AccessDeniedHttpException", &detail);
        }
        if key.is_application {
            let detail = "You are attempting to use an application API key on an endpoint that \
                          requires a client API key.";
            return refuse(&request, 403, "AccessDeniedHttpException", detail);
        }
    }
    if let Some(seconds) = state.is_throttled {
        let mut answer = refuse(
            &request,
            429,
            "ThrottleRequestsException",
            "Too Many Attempts.",
        );
        answer.headers_mut().insert(RETRY_AFTER, seconds.into());
        return answer;
    }
    let is_named = |server: &&PanelServer| match path.len() {
        8 => server.uuid.to_string().starts_with(path.as_str()),
        _ => server.uuid.to_string() == *path,
    };
    let Some(server) = servers.values().find(is_named) else {
        return not_found(&request);
    };
    let users = state.servers.get(&server.uuid).cloned().unwrap_or_default();
    let is_owner = users.owner == name;
    let permissions = match users.subusers.get(&name) {
        _ if user.is_admin => json!([
            "*",
            "admin.websocket.errors",
            "admin.websocket.install",
            "admin.websocket.transfer"
        ]),
        _ if is_owner => json!(["*"]),
        Some(permissions) => json!(permissions),
        None => return not_found(&request),
    };
    HttpResponse::Ok()
        .append_header((
            SET_COOKIE,
            format!("XSRF-TOKEN={}; path=/", random_text(40)),
        ))
        .append_header((
            SET_COOKIE,
            format!("{SESSION_COOKIE}=new; path=/; httponly"),
        ))
        .json(json!({
            "object": "server",
            "attributes": attributes(server, &users, is_owner),
            "meta": { "is_server_owner": is_owner, "user_permissions": permissions },
        }))
}

/// The address as Laravel sees it.
fn address(request: &HttpRequest, trusts_proxies: bool) -> IpAddr {
    let forwarded = text(request, "x-forwarded-for")
        .split(',')
        .next()
        .unwrap_or_default();
    match forwarded.trim().parse() {
        Ok(address) if trusts_proxies => address,
        _ => request.peer_addr().unwrap().ip(),
    }
}

fn attributes(server: &PanelServer, users: &ServerUsers, is_owner: bool) -> Value {
    let status = match server.suspended {
        true => Some("suspended"),
        false => server.status.as_deref(),
    };
    json!({
        "server_owner": is_owner,
        "identifier": server.uuid.to_string()[..8],
        "internal_id": 1,
        "uuid": server.uuid,
        "name": server.name,
        "node": "node",
        "is_node_under_maintenance": users.is_node_under_maintenance,
        "sftp_details": { "ip": "node.example.com", "port": 2022 },
        "description": "",
        "limits": {
            "memory": 1024, "swap": 0, "disk": server.disk_mb, "io": 500, "cpu": 0,
            "threads": null, "oom_disabled": true,
        },
        "invocation": "./start",
        "docker_image": "yolk",
        "egg_features": null,
        "feature_limits": { "databases": 0, "allocations": 0, "backups": users.backup_limit },
        "status": status,
        "is_suspended": status == Some("suspended"),
        "is_installing": matches!(status, Some("installing" | "install_failed")),
        "is_transferring": users.is_transferring,
        "relationships": {
            "allocations": { "object": "list", "data": [] },
            "variables": { "object": "list", "data": [] },
        },
    })
}
