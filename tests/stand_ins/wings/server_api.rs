//! Wings' routes for servers, except backups.
//!
//! After `router/middleware/middleware.go` and `router/router_server.go`.

use actix_web::http::StatusCode;
use actix_web::http::header::AUTHORIZATION;
use actix_web::web::{Data, Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Wings;
use super::state::{Call, PowerState};
use crate::stand_ins::Flavour;

/// Registers the routes.
pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .route("/api/system", web::get().to(system))
        .service(
            web::resource("/api/servers/{server}")
                .route(web::get().to(show))
                .route(web::delete().to(delete)),
        )
        .route("/api/servers/{server}/power", web::post().to(power))
        .route("/api/servers/{server}/commands", web::post().to(commands))
        .route("/api/servers/{server}/ws", web::get().to(websocket));
}

/// An answer of Wings; Pelican's names the daemon and its token ID.
pub(super) fn respond(wings: &Wings, status: u16) -> HttpResponseBuilder {
    let mut builder = HttpResponse::build(StatusCode::from_u16(status).unwrap());
    builder.insert_header(("x-request-id", Uuid::new_v4().to_string()));
    builder.insert_header(("access-control-allow-origin", wings.options.remote.as_str()));
    if wings.options.flavour == Flavour::Pelican {
        let id = &wings.options.key.token_id;
        builder.insert_header(("user-agent", format!("Pelican Wings/vdevelop (id:{id})")));
    }
    builder
}

pub(super) fn refuse(wings: &Wings, status: u16, text: &str) -> HttpResponse {
    respond(wings, status).json(json!({"error": text}))
}

/// Checks the panel's token.
pub(super) fn authorize(wings: &Wings, request: &HttpRequest) -> Result<(), HttpResponse> {
    let header = request.headers().get(AUTHORIZATION);
    let header = header.and_then(|value| value.to_str().ok()).unwrap_or("");
    let Some(token) = header.strip_prefix("Bearer ") else {
        let text = "The required authorization heads were not present in the request.";
        let mut refused = refuse(wings, 401, text);
        let bearer = actix_web::http::header::HeaderValue::from_static("Bearer");
        refused
            .headers_mut()
            .insert(actix_web::http::header::WWW_AUTHENTICATE, bearer);
        return Err(refused);
    };
    if token != wings.options.key.token {
        let text = "You are not authorized to access this endpoint.";
        return Err(refuse(wings, 403, text));
    }
    Ok(())
}

/// Checks the token, and that Wings has the server.
pub(super) fn find(wings: &Wings, request: &HttpRequest, path: &str) -> Result<Uuid, HttpResponse> {
    authorize(wings, request)?;
    let uuid = Uuid::parse_str(path).ok();
    let is_known = |uuid: &Uuid| wings.state.lock().unwrap().server(*uuid).is_some();
    uuid.filter(is_known).ok_or_else(|| {
        let text = "The requested resource does not exist on this instance.";
        refuse(wings, 404, text)
    })
}

/// Records a request and its answer, which it returns.
pub(super) fn record(
    wings: &Wings,
    request: &HttpRequest,
    body: &[u8],
    answer: HttpResponse,
) -> HttpResponse {
    wings.state.lock().unwrap().calls.push(Call {
        method: request.method().to_string(),
        path: request.uri().to_string(),
        body: serde_json::from_slice(body).unwrap_or_default(),
        status: answer.status().as_u16(),
    });
    answer
}

/// gin's answer to a path that no route has.
pub(super) async fn unknown(
    wings: Data<Wings>,
    request: HttpRequest,
    body: web::Bytes,
) -> HttpResponse {
    let answer = respond(&wings, 404).body("404 page not found");
    record(&wings, &request, &body, answer)
}

async fn system(wings: Data<Wings>, request: HttpRequest) -> HttpResponse {
    let answer = match authorize(&wings, &request) {
        Ok(()) => respond(&wings, 200).json(json!({"version": "1.11.13", "os": "linux"})),
        Err(refused) => refused,
    };
    record(&wings, &request, &[], answer)
}

async fn show(wings: Data<Wings>, request: HttpRequest, path: Path<String>) -> HttpResponse {
    let answer = match find(&wings, &request, &path) {
        Err(refused) => refused,
        Ok(uuid) => {
            let mut state = wings.state.lock().unwrap();
            let server = state.server(uuid).unwrap();
            let body = json!({
                "state": server.state,
                "is_suspended": server.suspended,
                "utilization": {
                    "memory_bytes": 0, "memory_limit_bytes": 0, "cpu_absolute": 0.0,
                    "network": {"rx_bytes": 0, "tx_bytes": 0}, "uptime": 0, "state": server.state,
                    "disk_bytes": 0,
                },
                "configuration": {"uuid": uuid, "suspended": server.suspended},
            });
            drop(state);
            respond(&wings, 200).json(body)
        }
    };
    record(&wings, &request, &[], answer)
}

async fn power(
    wings: Data<Wings>,
    request: HttpRequest,
    path: Path<String>,
    body: web::Bytes,
) -> HttpResponse {
    let answer = match find(&wings, &request, &path) {
        Err(refused) => refused,
        Ok(uuid) => act(&wings, uuid, &body),
    };
    record(&wings, &request, &body, answer)
}

fn act(wings: &Wings, uuid: Uuid, body: &[u8]) -> HttpResponse {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let action = body["action"].as_str().unwrap_or("");
    if !["start", "stop", "restart", "kill"].contains(&action) {
        let text = "The power action provided was not valid, should be one of \"stop\", \
            \"start\", \"restart\", \"kill\"";
        return refuse(wings, 422, text);
    }
    let mut state = wings.state.lock().unwrap();
    let server = state.server(uuid).unwrap();
    if server.suspended && ["start", "restart"].contains(&action) {
        let text = "Cannot start or restart a server that is suspended.";
        return refuse(wings, 400, text);
    }
    server.actions.push(action.to_owned());
    match action {
        "start" => server.start(),
        "stop" => server.stop(false),
        "restart" => server.stop(true),
        _ => server.kill(),
    }
    respond(wings, 202).finish()
}

async fn commands(
    wings: Data<Wings>,
    request: HttpRequest,
    path: Path<String>,
    body: web::Bytes,
) -> HttpResponse {
    let answer = match find(&wings, &request, &path) {
        Err(refused) => refused,
        Ok(uuid) => {
            let parsed: Value = serde_json::from_slice(&body).unwrap_or_default();
            let lines = parsed["commands"].as_array().cloned().unwrap_or_default();
            let mut state = wings.state.lock().unwrap();
            let server = state.server(uuid).unwrap();
            // A container that stops still runs.
            if server.state == PowerState::Offline {
                let text = "Cannot send commands to a stopped server instance.";
                refuse(&wings, 502, text)
            } else {
                let lines = lines.iter().filter_map(Value::as_str).map(str::to_owned);
                server.console.extend(lines);
                respond(&wings, 204).finish()
            }
        }
    };
    record(&wings, &request, &body, answer)
}

async fn delete(wings: Data<Wings>, request: HttpRequest, path: Path<String>) -> HttpResponse {
    let answer = match find(&wings, &request, &path) {
        Err(refused) => refused,
        Ok(uuid) => {
            wings.state.lock().unwrap().servers.remove(&uuid);
            let _gone = fs_err::remove_dir_all(wings.directory(uuid));
            if wings.options.flavour == Flavour::Pelican {
                super::backups::remove_all(&wings, uuid);
            }
            respond(&wings, 204).finish()
        }
    };
    record(&wings, &request, &[], answer)
}

/// Says which headers of a websocket's request arrived.
async fn websocket(wings: Data<Wings>, request: HttpRequest) -> HttpResponse {
    let header = |name: &str| {
        let value = request.headers().get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
            .to_owned()
    };
    let body = json!({"upgrade": header("upgrade"), "connection": header("connection"),
        "origin": header("origin"), "host": header("host")});
    let answer = respond(&wings, 400).json(body);
    record(&wings, &request, &[], answer)
}
