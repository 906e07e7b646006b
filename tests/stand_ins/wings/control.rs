//! The routes by which scripts control Wings, at an address of their own.
//!
//! | request | |
//! | --- | --- |
//! | `GET /stand-in/settings` | the text of its settings file |
//! | `GET /stand-in/calls` | every request so far |
//! | `POST /stand-in/servers/{server}` | adds a server that is offline |
//! | `GET /stand-in/servers/{server}` | `{"state", "console", "actions", "crashes"}` |
//! | `PUT /stand-in/servers/{server}` | see `Change` |
//! | `POST /stand-in/servers/{server}/stop-outside` | stops its container without Wings |
//! | `PUT /stand-in/fault` | `{"kind": "down"}` and the others of `Fault` |

use std::time::Duration;

use actix_web::web::{Data, Json, Path, ServiceConfig};
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::Wings;
use super::state::PowerState;
use crate::stand_ins::faults::Fault;

/// Registers the routes.
pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .route("/stand-in/settings", web::get().to(settings))
        .route("/stand-in/calls", web::get().to(calls))
        .route("/stand-in/fault", web::put().to(set_fault))
        .service(
            web::resource("/stand-in/servers/{server}")
                .route(web::get().to(show))
                .route(web::post().to(add))
                .route(web::put().to(change)),
        )
        .route(
            "/stand-in/servers/{server}/stop-outside",
            web::post().to(stop_outside),
        );
}

async fn settings(wings: Data<Wings>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain")
        .body(wings.settings())
}

async fn calls(wings: Data<Wings>) -> HttpResponse {
    let calls = wings.state.lock().unwrap().calls.clone();
    HttpResponse::Ok().json(calls)
}

async fn set_fault(wings: Data<Wings>, fault: Json<Fault>) -> HttpResponse {
    wings.set_fault(fault.into_inner());
    HttpResponse::NoContent().finish()
}

async fn add(wings: Data<Wings>, server: Path<Uuid>) -> HttpResponse {
    wings.add_server(*server);
    HttpResponse::Created().json(json!({"directory": wings.directory(*server)}))
}

async fn show(wings: Data<Wings>, uuid: Path<Uuid>) -> HttpResponse {
    let mut state = wings.state.lock().unwrap();
    let Some(server) = state.server(*uuid) else {
        return HttpResponse::NotFound().finish();
    };
    HttpResponse::Ok().json(json!({
        "state": server.state,
        "console": server.console,
        "actions": server.actions,
        "crashes": server.crashes,
    }))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Change {
    state: Option<PowerState>,
    ignores_stop: Option<bool>,
    suspended: Option<bool>,
    stop_milliseconds: Option<u64>,
}

async fn change(wings: Data<Wings>, uuid: Path<Uuid>, change: Json<Change>) -> HttpResponse {
    let mut state = wings.state.lock().unwrap();
    let Some(server) = state.server(*uuid) else {
        return HttpResponse::NotFound().finish();
    };
    if let Some(state) = change.state {
        server.enter(state);
    }
    server.ignores_stop = change.ignores_stop.unwrap_or(server.ignores_stop);
    server.suspended = change.suspended.unwrap_or(server.suspended);
    let stop_takes = change.stop_milliseconds.map(Duration::from_millis);
    server.stop_takes = stop_takes.unwrap_or(server.stop_takes);
    HttpResponse::NoContent().finish()
}

async fn stop_outside(wings: Data<Wings>, uuid: Path<Uuid>) -> HttpResponse {
    let mut state = wings.state.lock().unwrap();
    let Some(server) = state.server(*uuid) else {
        return HttpResponse::NotFound().finish();
    };
    server.crash();
    HttpResponse::NoContent().finish()
}
