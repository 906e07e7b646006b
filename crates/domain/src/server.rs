//! A server: a directory that is backed up, and what its state allows.

use std::path::PathBuf;

use chrono::{DateTime, Utc};

use crate::id::{ServerId, UserId};
use crate::name::{DiskName, NodeName};
use crate::place::DirectorySetBy;
use crate::retention::KeepRules;

/// A server as the database holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its UUID; the first eight digits are its short identifier.
    pub id: ServerId,
    /// Who owns it.
    pub owner: UserId,
    /// What people call it.
    pub name: String,
    /// The absolute path of its directory on its node.
    pub directory: PathBuf,
    /// The node on which a worker sees that directory.
    pub node: NodeName,
    /// Who said so.
    pub placed_by: DirectorySetBy,
    /// The disk for its new backups; `None` takes the default disk.
    pub disk: Option<DiskName>,
    /// What the panel says it is doing.
    pub state: ServerState,
    /// Limits of its own; `None` takes the setting.
    pub limits: ServerLimits,
    /// When it was registered.
    pub created_at: DateTime<Utc>,
}

/// A server's own limits. Each `None` takes the setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerLimits {
    /// How many backups it may have; 0 means none at all.
    pub backups: Option<u32>,
    /// The greatest archive, in bytes.
    pub max_backup_bytes: Option<u64>,
    /// All archives together, in bytes; 0 means no quota.
    pub quota_bytes: Option<u64>,
    /// How long backups are kept, in days; 0 means for ever.
    pub retention_days: Option<u32>,
    /// Which backups are kept, in place of what the settings say.
    pub keep: Option<KeepRules>,
    /// Whether it may have one more backup at its limit, for which the oldest unlocked one goes afterwards.
    pub rotate: bool,
}

/// What the panel says a server is doing. That a restore of ours runs is not stored here: the job table knows,
/// and only it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerState {
    /// Nothing special.
    #[default]
    Normal,
    /// Being installed: its files are not its own yet.
    Installing,
    /// Suspended by its host.
    Suspended,
    /// Being restored by its panel, by other means than ours.
    Restoring,
}

impl ServerState {
    /// Every state there is.
    pub const ALL: [Self; 4] = [
        Self::Normal,
        Self::Installing,
        Self::Suspended,
        Self::Restoring,
    ];

    /// Returns the state's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Installing => "installing",
            Self::Suspended => "suspended",
            Self::Restoring => "restoring",
        }
    }

    /// Reads a state's name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }
}
