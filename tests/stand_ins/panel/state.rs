//! What the panel knows: its tables.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::client_api::ClientApiState;
use crate::stand_ins::NodeKey;

/// The panel's tables.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct PanelState {
    pub(crate) nodes: Vec<PanelNode>,
    pub(crate) servers: BTreeMap<Uuid, PanelServer>,
    pub(crate) backups: BTreeMap<Uuid, PanelBackup>,
    pub(crate) callbacks: Vec<Callback>,
    pub(crate) client_api: ClientApiState,
}

/// A node, as the panel knows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PanelNode {
    pub(crate) key: NodeKey,
    /// Where it is reached, without a slash at the end.
    pub(crate) url: String,
}

/// A server of the panel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PanelServer {
    pub(crate) uuid: Uuid,
    /// The number of its node.
    pub(crate) node: usize,
    pub(crate) name: String,
    pub(crate) suspended: bool,
    /// `restoring_backup`, `installing`, or `None` for a server that can be used.
    pub(crate) status: Option<String>,
    /// In MiB; 0: no limit.
    pub(crate) disk_mb: u64,
    pub(crate) created_at: DateTime<Utc>,
}

/// A backup of the panel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PanelBackup {
    pub(crate) uuid: Uuid,
    pub(crate) server: Uuid,
    /// `wings` or `s3`.
    pub(crate) disk: String,
    pub(crate) ignored: Vec<String>,
    pub(crate) is_successful: bool,
    pub(crate) is_locked: bool,
    /// For example `sha256:…`.
    pub(crate) checksum: Option<String>,
    pub(crate) bytes: u64,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) completed_at: Option<DateTime<Utc>>,
}

/// A callback of a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Callback {
    pub(crate) backup: Uuid,
    /// Whether it is about a restore.
    pub(crate) is_restore: bool,
    pub(crate) body: Value,
    /// The status of the panel's answer.
    pub(crate) status: u16,
    pub(crate) at: DateTime<Utc>,
}

impl PanelNode {
    pub(crate) fn new(key: NodeKey) -> Self {
        Self {
            key,
            // A port at which nothing answers, until the node's URL is known.
            url: "http://127.0.0.1:9".to_owned(),
        }
    }
}

impl PanelState {
    /// Reads the state of an earlier process, or begins with one node.
    pub(super) fn load(file: Option<&Path>, node: NodeKey) -> Self {
        if let Some(text) = file.and_then(|file| fs_err::read_to_string(file).ok()) {
            return serde_json::from_str(&text).unwrap();
        }
        Self {
            nodes: vec![PanelNode::new(node)],
            ..Self::default()
        }
    }

    /// A process that is killed meanwhile leaves the earlier file or this one.
    pub(super) fn save(&self, file: Option<&Path>) {
        let Some(file) = file else { return };
        let beside = file.with_extension("new");
        fs_err::write(&beside, serde_json::to_vec(self).unwrap()).unwrap();
        fs_err::rename(&beside, file).unwrap();
    }

    pub(super) fn add_server(&mut self, uuid: Uuid, node: usize) -> Uuid {
        let server = PanelServer {
            uuid,
            node,
            name: format!("Server {}", self.servers.len() + 1),
            suspended: false,
            status: None,
            disk_mb: 10_240,
            created_at: Utc::now(),
        };
        self.servers.insert(uuid, server);
        uuid
    }

    pub(super) fn forget_server(&mut self, server: Uuid) {
        self.servers.remove(&server);
        self.backups.retain(|_, backup| backup.server != server);
    }

    pub(super) fn backups_of(&self, server: Uuid) -> Vec<PanelBackup> {
        let all = self.backups.values();
        let mut found: Vec<PanelBackup> = all
            .filter(|backup| backup.server == server)
            .cloned()
            .collect();
        found.sort_by_key(|backup| backup.created_at);
        found
    }

    /// The number of the node with this `token_id.token`.
    pub(super) fn node_with(&self, token_id: &str, token: &str) -> Option<usize> {
        let is_it = |node: &PanelNode| node.key.token_id == token_id && node.key.token == token;
        self.nodes.iter().position(is_it)
    }
}
