//! Servers: the directories that are backed up, with their limits and states.

use std::path::PathBuf;

use chrono::{DateTime, Utc};

use crate::id::{ServerId, UserId};
use crate::name::{DiskName, NodeName};
use crate::retention::KeepRules;
use crate::server_directory::DirectorySetBy;

/// A registered server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its ID. The first eight digits are the short identifier.
    pub id: ServerId,
    /// The user who owns it. `None` if a panel manages it.
    pub owner: Option<UserId>,
    /// Its display name.
    pub name: String,
    /// The absolute path of its directory on the node.
    pub directory: PathBuf,
    /// The node whose workers can access the directory.
    pub node: NodeName,
    /// Who set the directory.
    pub directory_set_by: DirectorySetBy,
    /// The disk for its new backups; `None` means the default disk.
    pub disk: Option<DiskName>,
    /// The state that the panel reports.
    pub state: ServerState,
    /// Its own limits.
    pub limits: ServerLimits,
    /// When it was registered.
    pub created_at: DateTime<Utc>,
    /// The panel's daemon through which it is managed. `None` if it was registered here.
    pub managed_by: Option<ServerManager>,
    /// Since when its panel no longer lists it on its node.
    pub absent_since: Option<DateTime<Utc>>,
}

/// A daemon of a panel that manages servers. Their users, permissions and limits are the panel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerManager {
    /// Wings, the daemon of Pterodactyl and Pelican.
    Wings,
}

impl ServerManager {
    /// Returns the daemon's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wings => "wings",
        }
    }

    /// Parses a daemon's name.
    pub fn parse(text: &str) -> Option<Self> {
        (text == Self::Wings.as_str()).then_some(Self::Wings)
    }
}

/// A server's own limits. Each `None` means the value of the setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerLimits {
    /// The maximum number of backups; 0 means that none may be created.
    pub backups: Option<u32>,
    /// The maximum size of an archive, in bytes.
    pub max_backup_bytes: Option<u64>,
    /// The quota for all archives, in bytes; 0 means no quota.
    pub quota_bytes: Option<u64>,
    /// The maximum age of a backup, in days; 0 means no limit.
    pub retention_days: Option<u32>,
    /// Keep rules that replace the configured ones.
    pub keep: Option<KeepRules>,
    /// Whether a server at its limit may get one more backup, for which the oldest unlocked one
    /// is deleted afterwards.
    pub rotate: bool,
    /// Whether it is excluded from the default schedule of all servers.
    pub no_default_schedule: bool,
}

/// The state of a server that its panel reports. A restore by Holdfast does not change it: only
/// the job table records that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerState {
    /// Ready for backups and restores.
    #[default]
    Normal,
    /// Being installed, so its files are incomplete.
    Installing,
    /// Suspended by the hosting provider.
    Suspended,
    /// Being restored by the panel itself, not by Holdfast.
    Restoring,
}

impl ServerState {
    /// Every state.
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

    /// Parses a state's name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }
}
