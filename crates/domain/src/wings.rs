//! What Holdfast knows of Wings, the daemon of Pterodactyl and Pelican, on a node.

use std::fmt;
use std::path::PathBuf;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::id::ServerId;

/// The secret of a node. The panel sends it to the node, the node sends it to the panel, and it
/// signs the panel's download links. It must never be logged.
#[derive(Clone)]
pub struct WingsToken(String);

impl WingsToken {
    /// Wraps a secret.
    pub fn new(secret: String) -> Self {
        Self(secret)
    }

    /// Returns whether `candidate` is this secret. The time does not depend on where they differ.
    pub fn matches(&self, candidate: &str) -> bool {
        // Hashes have one length, whatever the length of the texts.
        let hash = |text: &str| Sha256::digest(text.as_bytes());
        hash(&self.0).ct_eq(&hash(candidate)).into()
    }

    /// Returns the secret.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for WingsToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WingsToken(…)")
    }
}

/// A node of a panel, as the settings file of its Wings describes it.
///
/// ```
/// use holdfast_domain::ServerId;
/// use holdfast_domain::wings::{WingsNode, WingsToken};
/// use uuid::Uuid;
///
/// let node = WingsNode {
///     uuid: Uuid::nil(),
///     token_id: "aaaabbbbccccdddd".into(),
///     token: WingsToken::new("secret".into()),
///     panel_url: "https://panel.example.com".into(),
///     wings_url: "http://127.0.0.1:8080".into(),
///     data: "/var/lib/pterodactyl/volumes".into(),
/// };
/// let directory = node.server_directory(ServerId(Uuid::nil()));
/// assert!(directory.ends_with("00000000-0000-0000-0000-000000000000"));
/// assert!(!format!("{node:?}").contains("secret"));
/// ```
#[derive(Clone, Debug)]
pub struct WingsNode {
    /// The node's UUID.
    pub uuid: Uuid,
    /// The public part of the node's credentials.
    pub token_id: String,
    /// The secret part.
    pub token: WingsToken,
    /// The panel's URL, without a slash at the end.
    pub panel_url: String,
    /// The URL at which Wings answers on this node, without a slash at the end.
    pub wings_url: String,
    /// The folder with the servers' directories.
    pub data: PathBuf,
}

impl WingsNode {
    /// Returns the directory of a server.
    pub fn server_directory(&self, server: ServerId) -> PathBuf {
        self.data.join(server.to_string())
    }
}
