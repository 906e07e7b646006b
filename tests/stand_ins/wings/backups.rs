//! The backups that Wings itself makes, restores, deletes and sends.
//!
//! After `router/router_server_backup.go`, `router/router_download.go` and `server/backup.go`. A
//! backup with the adapter `s3` is only recorded and reported: there is no bucket.

use std::path::Path as FilePath;
use std::process::Command;
use std::time::Duration;

use actix_web::web::{Data, Path, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, web};
use jsonwebtoken::{DecodingKey, Validation};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::Wings;
use super::server_api::{find, record, refuse, respond};
use crate::stand_ins::Flavour;

/// Registers the routes.
pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .route("/api/servers/{server}/backup", web::post().to(create))
        .route(
            "/api/servers/{server}/backup/{backup}/restore",
            web::post().to(restore),
        )
        .route(
            "/api/servers/{server}/backup/{backup}",
            web::delete().to(delete),
        )
        .route(
            "/api/servers/{server}/deleteAllBackups",
            web::delete().to(delete_all),
        )
        .route("/download/backup", web::get().to(download));
}

async fn create(
    wings: Data<Wings>,
    request: HttpRequest,
    path: Path<String>,
    body: web::Bytes,
) -> HttpResponse {
    let answer = match find(&wings, &request, &path) {
        Err(refused) => refused,
        Ok(server) => {
            let parsed: Value = serde_json::from_slice(&body).unwrap_or_default();
            let backup = parsed["uuid"]
                .as_str()
                .and_then(|text| Uuid::parse_str(text).ok());
            match (parsed["adapter"].as_str(), backup) {
                (Some("wings"), Some(backup)) => {
                    actix_web::rt::spawn(make(wings.clone(), server, backup));
                    respond(&wings, 202).finish()
                }
                (Some("s3"), Some(backup)) => {
                    let report = report_of(b"an archive in the panel's bucket");
                    let path = format!("/api/remote/backups/{backup}");
                    let wings = wings.clone();
                    let answer = respond(&wings, 202).finish();
                    actix_web::rt::spawn(async move {
                        actix_web::rt::time::sleep(Duration::from_millis(300)).await;
                        tell_panel(&wings, &path, &report).await
                    });
                    answer
                }
                _ => {
                    let text = "An unexpected error was encountered while processing this request";
                    refuse(&wings, 500, text)
                }
            }
        }
    };
    record(&wings, &request, &body, answer)
}

/// Archives a server's directory, and tells the panel.
async fn make(wings: Data<Wings>, server: Uuid, backup: Uuid) {
    let archive = wings.archive(server, backup);
    fs_err::create_dir_all(archive.parent().unwrap()).unwrap();
    let mut tar = Command::new("tar");
    tar.arg("-czf")
        .arg(&archive)
        .arg("-C")
        .arg(wings.directory(server))
        .arg(".");
    let is_made = run(tar).await;
    let path = format!("/api/remote/backups/{backup}");
    let report = match is_made {
        true => report_of(&fs_err::read(&archive).unwrap()),
        false => {
            json!({
                "checksum": "", "checksum_type": "", "size": 0, "parts": null, "successful": false,
            })
        }
    };
    // A real archive takes longer than the panel's transaction. See `stand_ins.rs`.
    actix_web::rt::time::sleep(Duration::from_millis(300)).await;
    // Wings removes an archive that the panel was not told of.
    if !tell_panel(&wings, &path, &report).await {
        let _gone = fs_err::remove_file(&archive);
    }
}

/// The report of a completed backup. Wings sends SHA-1; no one checks its kind.
fn report_of(archive: &[u8]) -> Value {
    json!({
        "checksum": hex::encode(Sha256::digest(archive)),
        "checksum_type": "sha256",
        "size": archive.len(),
        "parts": null,
        "successful": true,
    })
}

async fn run(mut command: Command) -> bool {
    let done = web::block(move || command.status()).await;
    matches!(done, Ok(Ok(status)) if status.success())
}

/// Calls the panel for at most 30 seconds. Answers of 4xx end it.
async fn tell_panel(wings: &Wings, path: &str, body: &Value) -> bool {
    let key = &wings.options.key;
    for delay in [0, 500, 1000, 1500, 2000, 3000, 4000, 6000, 12_000] {
        actix_web::rt::time::sleep(Duration::from_millis(delay)).await;
        let request = wings
            .client
            .post(format!("{}{path}", wings.options.remote))
            .bearer_auth(format!("{}.{}", key.token_id, key.token))
            .header("accept", "application/vnd.pterodactyl.v1+json")
            .json(body);
        match request.send().await {
            Ok(answer) if answer.status().is_success() => return true,
            Ok(answer) if answer.status().is_client_error() => return false,
            _ => {}
        }
    }
    false
}

async fn restore(
    wings: Data<Wings>,
    request: HttpRequest,
    path: Path<(String, String)>,
    body: web::Bytes,
) -> HttpResponse {
    let answer = match find(&wings, &request, &path.0) {
        Err(refused) => refused,
        Ok(server) => begin_restore(&wings, server, &path.1, &body),
    };
    record(&wings, &request, &body, answer)
}

fn begin_restore(wings: &Data<Wings>, server: Uuid, backup: &str, body: &[u8]) -> HttpResponse {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let adapter = body["adapter"].as_str().unwrap_or("");
    let Some(backup) = Uuid::parse_str(backup).ok() else {
        return refuse(wings, 400, "The backup identifier must be a valid UUID.");
    };
    if !["wings", "s3"].contains(&adapter) {
        return refuse(wings, 400, "The data provided could not be validated.");
    }
    if adapter == "s3" && body["download_url"].as_str().unwrap_or("").is_empty() {
        let text = "The download_url field is required when the backup adapter is set to S3.";
        return refuse(wings, 400, text);
    }
    // As in Wings: the directory is emptied before the archive is looked for.
    if body["truncate_directory"].as_bool() == Some(true) {
        empty(&wings.directory(server));
    }
    let archive = wings.archive(server, backup);
    if adapter == "wings" && !archive.is_file() {
        let text = "The requested resources was not found on the system.";
        return refuse(wings, 404, text);
    }
    let wings = wings.clone();
    actix_web::rt::spawn({
        let wings = wings.clone();
        async move {
            let is_done = adapter_is_local(&archive) && {
                let mut tar = Command::new("tar");
                tar.arg("-xzf")
                    .arg(&archive)
                    .arg("-C")
                    .arg(wings.directory(server));
                run(tar).await
            };
            actix_web::rt::time::sleep(Duration::from_millis(300)).await;
            let path = format!("/api/remote/backups/{backup}/restore");
            tell_panel(&wings, &path, &json!({"successful": is_done})).await
        }
    });
    respond(&wings, 202).finish()
}

/// Whether there is an archive to unpack; with `s3` it would come from the URL.
fn adapter_is_local(archive: &FilePath) -> bool {
    archive.is_file()
}

fn empty(directory: &FilePath) {
    for entry in fs_err::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            fs_err::remove_dir_all(path).unwrap();
        } else {
            fs_err::remove_file(path).unwrap();
        }
    }
}

async fn delete(
    wings: Data<Wings>,
    request: HttpRequest,
    path: Path<(String, String)>,
) -> HttpResponse {
    let answer = match find(&wings, &request, &path.0) {
        Err(refused) => refused,
        Ok(server) => match Uuid::parse_str(&path.1) {
            Err(_) => refuse(&wings, 400, "The backup identifier must be a valid UUID."),
            Ok(backup) => match fs_err::remove_file(wings.archive(server, backup)) {
                Ok(()) => respond(&wings, 204).finish(),
                Err(_) => {
                    let text = "The requested backup was not found on this server.";
                    refuse(&wings, 404, text)
                }
            },
        },
    };
    record(&wings, &request, &[], answer)
}

async fn delete_all(wings: Data<Wings>, request: HttpRequest, path: Path<String>) -> HttpResponse {
    if wings.options.flavour == Flavour::Pterodactyl {
        return super::server_api::unknown(wings, request, web::Bytes::new()).await;
    }
    let answer = match find(&wings, &request, &path) {
        Err(refused) => refused,
        Ok(server) => {
            remove_all(&wings, server);
            respond(&wings, 204).finish()
        }
    };
    record(&wings, &request, &[], answer)
}

/// Removes all archives of a server. Only Pelican's Wings can tell which they are.
pub(super) fn remove_all(wings: &Wings, server: Uuid) {
    let folder = wings.options.backups.join(server.to_string());
    let _none = fs_err::remove_dir_all(folder);
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: String,
}

#[derive(Deserialize)]
struct Claims {
    server_uuid: Uuid,
    backup_uuid: Uuid,
    unique_id: String,
    scope: Option<String>,
}

async fn download(wings: Data<Wings>, request: HttpRequest, query: Query<Token>) -> HttpResponse {
    let answer = send(&wings, &query.token);
    record(&wings, &request, &[], answer)
}

fn send(wings: &Wings, token: &str) -> HttpResponse {
    let key = DecodingKey::from_secret(wings.options.key.token.as_bytes());
    let validation = Validation {
        validate_aud: false,
        leeway: 0,
        ..Validation::default()
    };
    let Ok(token) = jsonwebtoken::decode::<Claims>(token, &key, &validation) else {
        let text = "An unexpected error was encountered while processing this request";
        return refuse(wings, 500, text);
    };
    let claims = token.claims;
    let mut state = wings.state.lock().unwrap();
    let has_scope = match wings.options.flavour {
        Flavour::Pterodactyl => true,
        Flavour::Pelican => {
            let scopes = claims.scope.as_deref().unwrap_or("");
            scopes.split(' ').any(|scope| scope == "backup-download")
        }
    };
    let is_new = !state.used_tokens.contains(&claims.unique_id);
    if state.server(claims.server_uuid).is_none() || !is_new || !has_scope {
        let text = "The requested resource was not found on this server.";
        return refuse(wings, 404, text);
    }
    state.used_tokens.push(claims.unique_id);
    drop(state);
    match fs_err::read(wings.archive(claims.server_uuid, claims.backup_uuid)) {
        Err(_) => refuse(
            wings,
            404,
            "The requested backup was not found on this server.",
        ),
        Ok(bytes) => {
            let name = format!("attachment; filename=\"{}.tar.gz\"", claims.backup_uuid);
            respond(wings, 200)
                .insert_header(("content-disposition", name))
                .insert_header(("content-type", "application/octet-stream"))
                .body(bytes)
        }
    }
}
