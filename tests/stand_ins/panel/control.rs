//! The routes by which scripts control the panel, at an address of their own.
//!
//! | request | |
//! | --- | --- |
//! | `GET /stand-in/state` | all tables |
//! | `PUT /stand-in/nodes/{number}/url` | body: the URL |
//! | `POST /stand-in/servers` | adds a server; `{"uuid", "node"}` |
//! | `DELETE /stand-in/servers/{server}` | deletes it, at its node too |
//! | `POST /stand-in/servers/{server}/backups` | creates one; see `CreateBackup` |
//! | `DELETE /stand-in/servers/{server}/backups` | `deleteAllBackups` |
//! | `POST /stand-in/backups/{backup}/restore` | `{"truncate"}` |
//! | `DELETE /stand-in/backups/{backup}` | |
//! | `GET /stand-in/backups/{backup}/download` | `{"url"}` |
//! | `PUT /stand-in/fault` | `{"kind": "down"}` and the others of `Fault` |
//!
//! All fields are optional. Where a node refuses, the answer is 502 with `{"status", "text"}`.

use actix_web::web::{Data, Json, Path, ServiceConfig};
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::Panel;
use super::node_calls::{self, NewBackup, NodeError};
use crate::stand_ins::faults::Fault;

/// Registers the routes.
pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .route("/stand-in/state", web::get().to(state))
        .route("/stand-in/fault", web::put().to(set_fault))
        .route("/stand-in/nodes/{number}/url", web::put().to(set_node_url))
        .route("/stand-in/servers", web::post().to(add_server))
        .route(
            "/stand-in/servers/{server}",
            web::delete().to(delete_server),
        )
        .service(
            web::resource("/stand-in/servers/{server}/backups")
                .route(web::post().to(create_backup))
                .route(web::delete().to(delete_all_backups)),
        )
        .route(
            "/stand-in/backups/{backup}",
            web::delete().to(delete_backup),
        )
        .route(
            "/stand-in/backups/{backup}/restore",
            web::post().to(restore_backup),
        )
        .route(
            "/stand-in/backups/{backup}/download",
            web::get().to(download_link),
        );
}

fn answer(result: Result<(), NodeError>) -> HttpResponse {
    match result {
        Ok(()) => HttpResponse::NoContent().finish(),
        Err(error) => refused(&error),
    }
}

fn refused(error: &NodeError) -> HttpResponse {
    HttpResponse::BadGateway().json(json!({"status": error.status, "text": error.text}))
}

async fn state(panel: Data<Panel>) -> HttpResponse {
    HttpResponse::Ok().json(panel.read(Clone::clone))
}

async fn set_fault(panel: Data<Panel>, fault: Json<Fault>) -> HttpResponse {
    panel.set_fault(fault.into_inner());
    HttpResponse::NoContent().finish()
}

async fn set_node_url(panel: Data<Panel>, number: Path<usize>, url: String) -> HttpResponse {
    panel.change(|state| url.trim().clone_into(&mut state.nodes[*number].url));
    HttpResponse::NoContent().finish()
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AddServer {
    uuid: Option<Uuid>,
    node: usize,
}

async fn add_server(panel: Data<Panel>, body: Option<Json<AddServer>>) -> HttpResponse {
    let asked = body.map(Json::into_inner).unwrap_or_default();
    let uuid = asked.uuid.unwrap_or_else(Uuid::new_v4);
    let uuid = panel.change(|state| state.add_server(uuid, asked.node));
    HttpResponse::Created().json(json!({"uuid": uuid}))
}

async fn delete_server(panel: Data<Panel>, server: Path<Uuid>) -> HttpResponse {
    answer(node_calls::delete_server(&panel, *server).await)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CreateBackup {
    adapter: Option<String>,
    ignored: Vec<String>,
    is_locked: bool,
}

async fn create_backup(
    panel: Data<Panel>,
    server: Path<Uuid>,
    body: Option<Json<CreateBackup>>,
) -> HttpResponse {
    let asked = body.map(Json::into_inner).unwrap_or_default();
    let mut new = NewBackup {
        ignored: asked.ignored,
        is_locked: asked.is_locked,
        ..NewBackup::default()
    };
    if let Some(adapter) = asked.adapter {
        new.adapter = adapter;
    }
    match node_calls::create_backup(&panel, *server, new).await {
        Ok(uuid) => HttpResponse::Created().json(json!({"uuid": uuid})),
        Err(error) => refused(&error),
    }
}

async fn delete_all_backups(panel: Data<Panel>, server: Path<Uuid>) -> HttpResponse {
    answer(node_calls::delete_all_backups(&panel, *server).await)
}

#[derive(Deserialize)]
struct Restore {
    truncate: bool,
}

async fn restore_backup(
    panel: Data<Panel>,
    backup: Path<Uuid>,
    body: Option<Json<Restore>>,
) -> HttpResponse {
    let truncate = body.is_none_or(|body| body.truncate);
    answer(node_calls::restore_backup(&panel, *backup, truncate).await)
}

async fn delete_backup(panel: Data<Panel>, backup: Path<Uuid>) -> HttpResponse {
    answer(node_calls::delete_backup(&panel, *backup).await)
}

async fn download_link(panel: Data<Panel>, backup: Path<Uuid>) -> HttpResponse {
    let url = node_calls::download_link(&panel, *backup);
    HttpResponse::Ok().json(json!({"url": url}))
}
