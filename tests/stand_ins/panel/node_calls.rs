//! What the panel does to its nodes.
//!
//! After `DaemonBackupRepository`, `InitiateBackupService`, `BackupController`,
//! `DeleteBackupService`, `DownloadLinkService` and `NodeJWTService`. Each works in a transaction:
//! what it changes is visible only after the node has answered with 2xx, and never otherwise.

use std::time::Duration;

use chrono::Utc;
use jsonwebtoken::{EncodingKey, Header};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::Panel;
use super::state::{PanelBackup, PanelNode, PanelServer};
use crate::stand_ins::Flavour;

/// The user who asks, in tokens of downloads.
const USER: u32 = 1;

/// A backup that a user of the panel wants.
#[derive(Clone, Debug)]
pub(crate) struct NewBackup {
    /// `wings` or `s3`.
    pub(crate) adapter: String,
    pub(crate) ignored: Vec<String>,
    pub(crate) is_locked: bool,
    /// Known only to tests: another request with the same UUID. Panels choose a new one each time.
    pub(crate) uuid: Uuid,
}

impl Default for NewBackup {
    fn default() -> Self {
        Self {
            adapter: "wings".to_owned(),
            ignored: Vec::new(),
            is_locked: false,
            uuid: Uuid::new_v4(),
        }
    }
}

/// Why the panel shows an error to its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeError {
    /// The status of the node's answer; `None` without one, or for the panel's own reasons.
    pub(crate) status: Option<u16>,
    pub(crate) text: String,
}

impl NodeError {
    fn own(text: &str) -> Self {
        Self {
            status: None,
            text: text.to_owned(),
        }
    }
}

/// The panel's HTTP client, with Guzzle's timeouts.
pub(super) fn client() -> Client {
    let builder = Client::builder()
        .timeout(Duration::from_secs(15))
        .connect_timeout(Duration::from_secs(5))
        .no_proxy();
    builder.build().unwrap()
}

/// Sends a request to a node. An answer that is not 2xx is an error.
async fn call(
    panel: &Panel,
    node: &PanelNode,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Result<(), NodeError> {
    let request = panel
        .client
        .request(method, format!("{}{path}", node.url))
        .bearer_auth(&node.key.token)
        .header("accept", "application/json")
        .header("content-type", "application/json");
    let request = match body {
        Some(body) => request.body(body.to_string()),
        None => request,
    };
    let answer = request.send().await.map_err(|error| NodeError {
        status: None,
        text: format!("the node does not answer: {error}"),
    })?;
    let status = answer.status().as_u16();
    let agent = answer.headers().get("user-agent").cloned();
    let text = answer.text().await.unwrap_or_default();
    // Pelican's `DaemonRepository::enforceValidNodeToken` runs before it looks at the status.
    let agent = agent.as_ref().and_then(|agent| agent.to_str().ok());
    if panel.flavour == Flavour::Pelican && !is_of_node(agent, &node.key.token_id) {
        return Err(NodeError::own("does not match node token_id !"));
    }
    if (200..300).contains(&status) {
        return Ok(());
    }
    Err(NodeError {
        status: Some(status),
        text,
    })
}

/// Whether Pelican accepts an answer with this `User-Agent`: it must have one. If it is that of
/// Wings, it must name the node's token ID.
fn is_of_node(agent: Option<&str>, token_id: &str) -> bool {
    let Some(agent) = agent.filter(|agent| !agent.is_empty()) else {
        return false;
    };
    let named = agent
        .strip_prefix("Pelican Wings/v")
        .and_then(|rest| rest.split_once(" (id:"))
        .and_then(|(_, id)| id.strip_suffix(')'));
    named.is_none_or(|id| id == token_id)
}

fn server_and_node(panel: &Panel, server: Uuid) -> Result<(PanelServer, PanelNode), NodeError> {
    panel.read(|state| {
        let found = state.servers.get(&server).cloned();
        let server = found.ok_or_else(|| NodeError::own("the panel has no such server"))?;
        let node = state.nodes[server.node].clone();
        Ok((server, node))
    })
}

fn find_backup(panel: &Panel, backup: Uuid) -> Result<PanelBackup, NodeError> {
    let found = panel.read(|state| state.backups.get(&backup).cloned());
    found.ok_or_else(|| NodeError::own("the panel has no such backup"))
}

pub(super) async fn create_backup(
    panel: &Panel,
    server: Uuid,
    new: NewBackup,
) -> Result<Uuid, NodeError> {
    let (_, node) = server_and_node(panel, server)?;
    let body = json!({"adapter": new.adapter, "uuid": new.uuid, "ignore": new.ignored.join("\n")});
    let path = format!("/api/servers/{server}/backup");
    let created_at = Utc::now();
    call(panel, &node, Method::POST, &path, Some(body)).await?;
    tokio::time::sleep(panel.commit_after).await;
    panel.change(|state| {
        state.backups.entry(new.uuid).or_insert(PanelBackup {
            uuid: new.uuid,
            server,
            disk: new.adapter,
            ignored: new.ignored,
            is_successful: false,
            is_locked: new.is_locked,
            checksum: None,
            bytes: 0,
            created_at,
            completed_at: None,
        });
    });
    Ok(new.uuid)
}

pub(super) async fn restore_backup(
    panel: &Panel,
    backup: Uuid,
    truncate: bool,
) -> Result<(), NodeError> {
    let backup = find_backup(panel, backup)?;
    let (server, node) = server_and_node(panel, backup.server)?;
    if server.status.is_some() {
        return Err(NodeError::own(
            "This server is not currently in a state that allows for a backup to be restored.",
        ));
    }
    if !backup.is_successful && backup.completed_at.is_none() {
        return Err(NodeError::own(
            "This backup cannot be restored at this time: not completed or failed.",
        ));
    }
    let url = match backup.disk.as_str() {
        "s3" => "https://bucket.example.com/archive.tar.gz?X-Amz-Signature=1",
        _ => "",
    };
    let body = json!({"adapter": backup.disk, "truncate_directory": truncate, "download_url": url});
    let path = format!(
        "/api/servers/{}/backup/{}/restore",
        server.uuid, backup.uuid
    );
    call(panel, &node, Method::POST, &path, Some(body)).await?;
    tokio::time::sleep(panel.commit_after).await;
    panel.change(|state| {
        if let Some(server) = state.servers.get_mut(&backup.server) {
            server.status = Some("restoring_backup".to_owned());
        }
    });
    Ok(())
}

pub(super) async fn delete_backup(panel: &Panel, backup: Uuid) -> Result<(), NodeError> {
    let backup = find_backup(panel, backup)?;
    if backup.is_locked && backup.is_successful && backup.completed_at.is_some() {
        return Err(NodeError::own(
            "Cannot delete a backup that is marked as locked.",
        ));
    }
    let (server, node) = server_and_node(panel, backup.server)?;
    // The panel itself deletes objects in its bucket.
    if backup.disk != "s3" {
        let path = format!("/api/servers/{}/backup/{}", server.uuid, backup.uuid);
        take_not_found_as_done(call(panel, &node, Method::DELETE, &path, None).await)?;
    }
    panel.change(|state| state.backups.remove(&backup.uuid));
    Ok(())
}

pub(super) async fn delete_all_backups(panel: &Panel, server: Uuid) -> Result<(), NodeError> {
    let (server, node) = server_and_node(panel, server)?;
    let path = format!("/api/servers/{}/deleteAllBackups", server.uuid);
    call(panel, &node, Method::DELETE, &path, None).await?;
    panel.change(|state| {
        state
            .backups
            .retain(|_, backup| backup.server != server.uuid);
    });
    Ok(())
}

pub(super) async fn delete_server(panel: &Panel, server: Uuid) -> Result<(), NodeError> {
    let (server, node) = server_and_node(panel, server)?;
    let path = format!("/api/servers/{}", server.uuid);
    take_not_found_as_done(call(panel, &node, Method::DELETE, &path, None).await)?;
    panel.change(|state| state.forget_server(server.uuid));
    Ok(())
}

fn take_not_found_as_done(result: Result<(), NodeError>) -> Result<(), NodeError> {
    match result {
        Err(error) if error.status == Some(404) => Ok(()),
        other => other,
    }
}

/// The URL of an archive at its node, with a token that is valid for 15 minutes.
pub(super) fn download_link(panel: &Panel, backup: Uuid) -> String {
    let backup = find_backup(panel, backup).unwrap();
    let (server, node) = server_and_node(panel, backup.server).unwrap();
    let now = Utc::now().timestamp();
    // Pterodactyl hashes with MD5, Pelican with SHA-256. Daemons take any text.
    let id = hex::encode(Sha256::digest(format!("{USER}{}", server.uuid)));
    let mut claims = json!({
        "iss": panel.url(),
        "aud": [node.url],
        "jti": id,
        "iat": now,
        "nbf": now - 300,
        "exp": now + 900,
        "backup_uuid": backup.uuid,
        "server_uuid": server.uuid,
        "user_uuid": Uuid::from_u128(u128::from(USER)),
    });
    match panel.flavour {
        Flavour::Pterodactyl => claims["user_id"] = json!(USER),
        Flavour::Pelican => claims["scope"] = json!("backup-download"),
    }
    claims["unique_id"] = json!(hex::encode(rand::random::<[u8; 8]>()));
    // Panels repeat the ID in the header.
    let extras = serde_json::from_value(json!({"jti": id})).unwrap();
    let header = Header {
        extras,
        ..Header::default()
    };
    let key = EncodingKey::from_secret(node.key.token.as_bytes());
    let token = jsonwebtoken::encode(&header, &claims, &key).unwrap();
    format!("{}/download/backup?token={token}", node.url)
}
