//! The API that nodes call, under `/api/remote`.
//!
//! After Pterodactyl's `DaemonAuthenticate`, `ServerDetailsController`, `BackupStatusController`
//! and `BackupRemoteUploadController`, and Pelican's classes of the same names.

use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, AUTHORIZATION};
use actix_web::web::{Data, Path, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::Utc;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::state::{Callback, PanelServer};
use super::{Panel, error_body};
use crate::stand_ins::Flavour;
use crate::stand_ins::faults::Fault;

/// Registers the routes.
pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .route("/api/remote/servers", web::get().to(list_servers))
        .route("/api/remote/servers/reset", web::post().to(reset_servers))
        .route("/api/remote/servers/{server}", web::get().to(show_server))
        .route("/api/remote/backups/{backup}", web::get().to(upload_urls))
        .route("/api/remote/backups/{backup}", web::post().to(end_backup))
        .route(
            "/api/remote/backups/{backup}/restore",
            web::post().to(end_restore),
        );
}

/// An error as Laravel shows it: JSON to those that accept it, a page to others.
pub(super) fn refuse(request: &HttpRequest, status: u16, code: &str, detail: &str) -> HttpResponse {
    let accepts = request.headers().get(ACCEPT);
    let accepts = accepts.and_then(|value| value.to_str().ok()).unwrap_or("");
    let mut builder = HttpResponse::build(StatusCode::from_u16(status).unwrap());
    if accepts.contains("/json") || accepts.contains("+json") {
        builder.json(error_body(status, code, detail))
    } else {
        let page = format!("<!DOCTYPE html><html><body>{status} | {detail}</body></html>");
        builder.content_type("text/html; charset=UTF-8").body(page)
    }
}

fn not_found(request: &HttpRequest) -> HttpResponse {
    let detail = "The requested resource could not be found on the server.";
    refuse(request, 404, "NotFoundHttpException", detail)
}

/// Returns the number of the node that calls.
fn authenticate(panel: &Panel, request: &HttpRequest) -> Result<usize, HttpResponse> {
    let header = request.headers().get(AUTHORIZATION);
    let bearer = header.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let Some(bearer) = bearer else {
        let detail = "Access to this endpoint must include an Authorization header.";
        return Err(refuse(request, 401, "HttpException", detail));
    };
    let parts: Vec<&str> = bearer.split('.').collect();
    let [token_id, token] = parts.as_slice() else {
        let detail = "The Authorization header provided was not in a valid format.";
        return Err(refuse(request, 400, "BadRequestHttpException", detail));
    };
    if token_id.is_empty() || token.is_empty() {
        let detail = "The Authorization header provided was not in a valid format.";
        return Err(refuse(request, 400, "BadRequestHttpException", detail));
    }
    let node = panel.read(|state| state.node_with(token_id, token));
    node.ok_or_else(|| {
        let detail = "You are not authorized to access this resource.";
        refuse(request, 403, "AccessDeniedHttpException", detail)
    })
}

/// The settings of a server, as Wings reads them.
fn settings_of(server: &PanelServer) -> Value {
    json!({
        "uuid": server.uuid,
        "settings": {
            "uuid": server.uuid,
            "meta": {"name": server.name, "description": ""},
            "suspended": server.suspended,
            "environment": {"STARTUP": "./start", "P_SERVER_UUID": server.uuid},
            "invocation": "./start",
            "skip_egg_scripts": false,
            "build": {
                "memory_limit": 1024, "swap": 0, "io_weight": 500, "cpu_limit": 0, "threads": null,
                "disk_space": server.disk_mb, "oom_disabled": true,
            },
            "container": {"image": "yolk", "oom_disabled": true, "requires_rebuild": false},
            "allocations": {
                "force_outgoing_ip": false,
                "default": {"ip": "127.0.0.1", "port": 25565},
                "mappings": {"127.0.0.1": [25565]},
            },
            "mounts": [],
            "egg": {"id": Uuid::nil(), "file_denylist": []},
        },
        "process_configuration": {
            "startup": {"done": ["Done"]},
            "stop": {"type": "command", "value": "stop"},
            "configs": [],
        },
    })
}

/// The page that a node asks for. Laravel takes what is not a number as 1, or as the default.
#[derive(Deserialize)]
struct Page {
    page: Option<String>,
    per_page: Option<String>,
}

async fn list_servers(
    panel: Data<Panel>,
    request: HttpRequest,
    query: Query<Page>,
) -> HttpResponse {
    let node = match authenticate(&panel, &request) {
        Ok(node) => node,
        Err(refused) => return refused,
    };
    let number = |text: &Option<String>, other: usize| {
        let number = text.as_deref().and_then(|text| text.parse().ok());
        number.filter(|number| *number > 0).unwrap_or(other)
    };
    let (page, per_page) = (number(&query.page, 1), number(&query.per_page, 50));
    let mut all: Vec<Value> = panel.read(|state| {
        let all = state.servers.values();
        all.filter(|server| server.node == node)
            .map(settings_of)
            .collect()
    });
    if panel.faults.get() == Fault::EmptyList {
        all.clear();
    }
    let total = all.len();
    if panel.faults.get() == Fault::ShortList {
        all.pop();
    }
    let shown: Vec<Value> = all
        .into_iter()
        .skip((page - 1) * per_page)
        .take(per_page)
        .collect();
    let last_page = total.div_ceil(per_page).max(1);
    let first = (!shown.is_empty()).then_some((page - 1) * per_page + 1);
    let last = first.map(|first| first + shown.len() - 1);
    let url = format!("{}/api/remote/servers", panel.url());
    let link = |page: usize| format!("{url}?page={page}");
    HttpResponse::Ok().json(json!({
        "data": shown,
        "links": {
            "first": link(1), "last": link(last_page),
            "prev": (page > 1).then(|| link(page - 1)),
            "next": (page < last_page).then(|| link(page + 1)),
        },
        "meta": {
            "current_page": page, "from": first, "last_page": last_page, "links": [], "path": url,
            "per_page": per_page, "to": last, "total": total,
        },
    }))
}

async fn show_server(panel: Data<Panel>, request: HttpRequest, path: Path<String>) -> HttpResponse {
    let node = match authenticate(&panel, &request) {
        Ok(node) => node,
        Err(refused) => return refused,
    };
    let uuid = Uuid::parse_str(&path).ok();
    let server = uuid.and_then(|uuid| panel.read(|state| state.servers.get(&uuid).cloned()));
    let Some(server) = server else {
        return not_found(&request);
    };
    if panel.flavour == Flavour::Pelican && server.node != node {
        let detail = "Requesting node does not have permission to access this server.";
        return refuse(&request, 403, "HttpForbiddenException", detail);
    }
    let mut body = settings_of(&server);
    if let Some(fields) = body.as_object_mut() {
        fields.remove("uuid");
    }
    HttpResponse::Ok().json(body)
}

/// Wings calls this when it starts: nothing of it is under way then.
async fn reset_servers(panel: Data<Panel>, request: HttpRequest) -> HttpResponse {
    let node = match authenticate(&panel, &request) {
        Ok(node) => node,
        Err(refused) => return refused,
    };
    panel.change(|state| {
        for server in state.servers.values_mut() {
            let is_reset = matches!(
                server.status.as_deref(),
                Some("installing" | "restoring_backup")
            );
            if server.node == node && is_reset {
                server.status = None;
            }
        }
    });
    HttpResponse::NoContent().finish()
}

/// The presigned URLs of an upload. This panel has no bucket.
async fn upload_urls(panel: Data<Panel>, request: HttpRequest, path: Path<String>) -> HttpResponse {
    if let Err(refused) = authenticate(&panel, &request) {
        return refused;
    }
    let uuid = Uuid::parse_str(&path).ok();
    match uuid.and_then(|uuid| panel.read(|state| state.backups.get(&uuid).cloned())) {
        None => not_found(&request),
        Some(_) => {
            let detail = "The configured backup adapter is not an S3 compatible adapter.";
            refuse(&request, 400, "BadRequestHttpException", detail)
        }
    }
}

/// What a node reports of a backup.
struct Report {
    is_successful: bool,
    checksum: Option<String>,
    bytes: u64,
}

/// Validates a report like Laravel's rules do.
fn validate(body: &Value) -> Result<Report, &'static str> {
    let is_successful = match &body["successful"] {
        Value::Bool(value) => *value,
        Value::Number(number) if number.as_u64() == Some(1) => true,
        Value::Number(number) if number.as_u64() == Some(0) => false,
        Value::String(text) if text == "1" => true,
        Value::String(text) if text == "0" => false,
        Value::Null => return Err("The successful field is required."),
        _ => return Err("The successful field must be true or false."),
    };
    let text = |field: &str| body[field].as_str().filter(|text| !text.is_empty());
    for field in ["checksum", "checksum_type"] {
        if !body[field].is_null() && !body[field].is_string() {
            return Err("The checksum must be a string.");
        }
    }
    let checksum = text("checksum_type").zip(text("checksum"));
    if is_successful && checksum.is_none() {
        return Err("The checksum field is required when successful is true.");
    }
    let bytes = body["size"].as_u64();
    if is_successful && bytes.is_none() {
        return Err("The size field is required when successful is true.");
    }
    if !body["parts"].is_null() && !body["parts"].is_array() {
        return Err("The parts must be an array.");
    }
    Ok(Report {
        is_successful,
        checksum: checksum.map(|(kind, hash)| format!("{kind}:{hash}")),
        bytes: bytes.unwrap_or(0),
    })
}

async fn end_backup(
    panel: Data<Panel>,
    request: HttpRequest,
    path: Path<String>,
    body: web::Bytes,
) -> HttpResponse {
    let node = match authenticate(&panel, &request) {
        Ok(node) => node,
        Err(refused) => return refused,
    };
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let answer = match validate(&body) {
        Err(detail) => refuse(&request, 422, "ValidationException", detail),
        Ok(report) => Uuid::parse_str(&path).map_or_else(
            |_| not_found(&request),
            |uuid| keep_report(&panel, &request, node, uuid, report),
        ),
    };
    record(&panel, &path, false, body, &answer);
    answer
}

fn keep_report(
    panel: &Panel,
    request: &HttpRequest,
    node: usize,
    uuid: Uuid,
    report: Report,
) -> HttpResponse {
    panel.change(|state| {
        let Some(backup) = state.backups.get_mut(&uuid) else {
            return not_found(request);
        };
        if state.servers[&backup.server].node != node {
            let detail = "You do not have permission to access that backup.";
            return refuse(request, 403, "HttpForbiddenException", detail);
        }
        if backup.is_successful {
            let detail =
                "Cannot update the status of a backup that is already marked as completed.";
            return refuse(request, 400, "BadRequestHttpException", detail);
        }
        backup.is_successful = report.is_successful;
        backup.is_locked &= report.is_successful;
        backup.checksum = report.checksum.filter(|_| report.is_successful);
        backup.bytes = if report.is_successful {
            report.bytes
        } else {
            0
        };
        backup.completed_at = Some(Utc::now());
        HttpResponse::NoContent().finish()
    })
}

async fn end_restore(
    panel: Data<Panel>,
    request: HttpRequest,
    path: Path<String>,
    body: web::Bytes,
) -> HttpResponse {
    let node = match authenticate(&panel, &request) {
        Ok(node) => node,
        Err(refused) => return refused,
    };
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let answer = panel.change(|state| {
        let uuid = Uuid::parse_str(&path).ok();
        let Some(backup) = uuid.and_then(|uuid| state.backups.get(&uuid)) else {
            return not_found(&request);
        };
        let server = state.servers.get_mut(&backup.server).unwrap();
        if panel.flavour == Flavour::Pelican && server.node != node {
            let detail = "Requesting node does not have permission to access this server.";
            return refuse(&request, 403, "HttpForbiddenException", detail);
        }
        server.status = None;
        HttpResponse::NoContent().finish()
    });
    record(&panel, &path, true, body, &answer);
    answer
}

fn record(panel: &Panel, path: &str, is_restore: bool, body: Value, answer: &HttpResponse) {
    panel.change(|state| {
        state.callbacks.push(Callback {
            backup: Uuid::parse_str(path).unwrap_or_default(),
            is_restore,
            body,
            status: answer.status().as_u16(),
            at: Utc::now(),
        });
    });
}

impl Panel {
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.serving().address())
    }
}
