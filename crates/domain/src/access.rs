//! Who may do what with a server's backups.

use std::collections::BTreeSet;

/// One permission of the reference document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// View the list and the details.
    Read,
    /// Create backups.
    Create,
    /// Download archives.
    Download,
    /// Delete, lock, unlock and rename.
    Delete,
    /// Restore.
    Restore,
}

impl Permission {
    /// Every permission there is.
    pub const ALL: [Self; 5] = [
        Self::Read,
        Self::Create,
        Self::Download,
        Self::Delete,
        Self::Restore,
    ];

    /// Returns the name by which clients and the database know it, such as `backup.read`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "backup.read",
            Self::Create => "backup.create",
            Self::Download => "backup.download",
            Self::Delete => "backup.delete",
            Self::Restore => "backup.restore",
        }
    }

    /// Reads a permission's name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.as_str() == text)
    }
}

/// What somebody can ask for. Each needs one permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// List a server's backups.
    List,
    /// View one backup.
    View,
    /// Create a backup.
    Create,
    /// Get a download link.
    Download,
    /// Delete a backup.
    Delete,
    /// Restore a backup.
    Restore,
    /// Lock or unlock a backup.
    Lock,
    /// Give a backup another name.
    Rename,
    /// Call off a backup that is being created.
    Cancel,
    /// Have an archive read back and compared with what was stored.
    Verify,
}

impl Action {
    /// Every action there is.
    pub const ALL: [Self; 10] = [
        Self::List,
        Self::View,
        Self::Create,
        Self::Download,
        Self::Delete,
        Self::Restore,
        Self::Lock,
        Self::Rename,
        Self::Cancel,
        Self::Verify,
    ];

    /// Returns the permission that the action needs.
    pub fn needs(self) -> Permission {
        match self {
            Self::List | Self::View => Permission::Read,
            Self::Create => Permission::Create,
            // A verification reads all of an archive, as a download does, and changes no more.
            Self::Download | Self::Verify => Permission::Download,
            Self::Delete | Self::Lock | Self::Rename | Self::Cancel => Permission::Delete,
            Self::Restore => Permission::Restore,
        }
    }
}

/// What a caller is to one server. A caller who is nothing to it has no standing:
/// to that caller the server does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerAccess {
    /// Owns the server.
    Owner,
    /// Is an administrator.
    Admin,
    /// Was given exactly these permissions.
    Subuser(BTreeSet<Permission>),
}

impl ServerAccess {
    /// Says whether a caller with this standing may take `action`.
    pub fn may(&self, action: Action) -> bool {
        self.has(action.needs())
    }

    /// Says whether a caller with this standing has `permission`.
    pub fn has(&self, permission: Permission) -> bool {
        match self {
            Self::Owner | Self::Admin => true,
            Self::Subuser(permissions) => permissions.contains(&permission),
        }
    }
}
