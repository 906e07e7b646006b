//! Permissions: which caller may take which action on a server's backups.

use std::collections::BTreeSet;

/// A permission of the reference document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// List and view backups.
    Read,
    /// Create backups.
    Create,
    /// Download archives.
    Download,
    /// Delete, lock, unlock and rename backups, and cancel running ones.
    Delete,
    /// Restore backups.
    Restore,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Self; 5] = [
        Self::Read,
        Self::Create,
        Self::Download,
        Self::Delete,
        Self::Restore,
    ];

    /// Returns the permission's name for clients and the database, such as `backup.read`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "backup.read",
            Self::Create => "backup.create",
            Self::Download => "backup.download",
            Self::Delete => "backup.delete",
            Self::Restore => "backup.restore",
        }
    }

    /// Parses a permission's name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.as_str() == text)
    }
}

/// An action that a caller can request. Each needs one permission.
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
    /// Rename a backup.
    Rename,
    /// Cancel a queued or running backup.
    Cancel,
    /// Read an archive back and compare its hash with the recorded one.
    Verify,
}

impl Action {
    /// Every action.
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
            // Like a download, a verification reads the whole archive and changes nothing.
            Self::Download | Self::Verify => Permission::Download,
            Self::Delete | Self::Lock | Self::Rename | Self::Cancel => Permission::Delete,
            Self::Restore => Permission::Restore,
        }
    }
}

/// A caller's relation to one server.
///
/// A caller without any relation has no `ServerAccess`. For that caller, the server does not exist.
///
/// ```
/// use std::collections::BTreeSet;
///
/// use holdfast_domain::access::Action;
/// use holdfast_domain::{Permission, ServerAccess};
///
/// let subuser = ServerAccess::Subuser(BTreeSet::from([Permission::Download]));
/// assert!(subuser.may(Action::Verify));
/// assert!(!subuser.may(Action::Delete));
/// assert!(ServerAccess::Owner.may(Action::Delete));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerAccess {
    /// The server's owner.
    Owner,
    /// An administrator.
    Admin,
    /// A subuser with exactly these permissions.
    Subuser(BTreeSet<Permission>),
}

impl ServerAccess {
    /// Returns whether the caller may take `action`.
    pub fn may(&self, action: Action) -> bool {
        self.has(action.needs())
    }

    /// Returns whether the caller has `permission`.
    pub fn has(&self, permission: Permission) -> bool {
        match self {
            Self::Owner | Self::Admin => true,
            Self::Subuser(permissions) => permissions.contains(&permission),
        }
    }
}
