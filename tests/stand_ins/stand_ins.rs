//! Stand-ins for what Holdfast works beside on a node: a panel and Wings, its node daemon.
//!
//! Panels and their daemons cannot be installed for a test. These follow the sources of Pterodactyl
//! (panel 1.11, Wings 1.11) and Pelican (August 2026) in what concerns backups, also where that is
//! inconvenient:
//!
//! - The panel makes its row of a backup visible only after the node has answered. A callback that
//!   arrives earlier gets 404. The state "restoring" appears in the same way, so that a callback
//!   which arrives earlier clears nothing, and the server stays restoring.
//! - Pelican refuses each answer of a node that has no `User-Agent` header, or that of another
//!   node's Wings.
//! - Pterodactyl tells every node about every server; Pelican answers other nodes with 403.
//! - Wings empties the server's directory before it looks for the archive of a restore.
//! - Wings starts a server again that was stopped without it.
//!
//! Tests of the whole service use this as a module. `main.rs` is a program for scripts.

#![expect(
    clippy::result_large_err,
    reason = "an error is an answer, and is sent once"
)]

pub(crate) mod faults;
pub(crate) mod panel;
pub(crate) mod serving;
pub(crate) mod wings;

use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Whose sources a stand-in follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Flavour {
    #[default]
    Pterodactyl,
    Pelican,
}

/// What a panel and the daemon of one of its nodes know of each other.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct NodeKey {
    pub(crate) uuid: Uuid,
    pub(crate) token_id: String,
    pub(crate) token: String,
}

impl NodeKey {
    /// Makes a key like a panel does: an ID of 16 characters and a token of 64.
    pub(crate) fn random() -> Self {
        let text = || hex::encode(rand::random::<[u8; 32]>());
        Self {
            uuid: Uuid::new_v4(),
            token_id: text()[..16].to_owned(),
            token: text(),
        }
    }
}

/// The settings file of Wings, with the keys that matter here.
///
/// `remote` is the panel's URL, `listen` where Wings itself answers.
pub(crate) fn wings_settings(
    key: &NodeKey,
    remote: &str,
    listen: std::net::SocketAddr,
    data: &Path,
    backups: &Path,
) -> String {
    let certificates = "/etc/letsencrypt/live/node.example.com";
    format!(
        "debug: false\napp_name: Pterodactyl\nuuid: {}\ntoken_id: {}\ntoken: {}\n\
         api:\n  host: {}\n  port: {}\n  ssl:\n    enabled: false\n\
         \x20   cert: {certificates}/fullchain.pem\n    key: {certificates}/privkey.pem\n\
         \x20 upload_limit: 100\n\
         system:\n  data: {}\n  backup_directory: {}\n  sftp:\n    bind_port: 2022\n\
         allowed_mounts: []\nremote: {remote}\n",
        key.uuid,
        key.token_id,
        key.token,
        listen.ip(),
        listen.port(),
        data.display(),
        backups.display(),
    )
}
