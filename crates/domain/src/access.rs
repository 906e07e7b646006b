//! Permissions: which caller may take which action on a server's backups and schedules.

use std::collections::BTreeSet;

/// A permission. Those for backups are in the reference document, and panels have all of them.
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
    /// List and view schedules.
    ReadSchedules,
    /// Create schedules.
    CreateSchedules,
    /// Change and run schedules, and change their tasks.
    UpdateSchedules,
    /// Delete schedules.
    DeleteSchedules,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Self; 9] = [
        Self::Read,
        Self::Create,
        Self::Download,
        Self::Delete,
        Self::Restore,
        Self::ReadSchedules,
        Self::CreateSchedules,
        Self::UpdateSchedules,
        Self::DeleteSchedules,
    ];

    /// Returns the permission's name for clients and the database, such as `backup.read`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "backup.read",
            Self::Create => "backup.create",
            Self::Download => "backup.download",
            Self::Delete => "backup.delete",
            Self::Restore => "backup.restore",
            Self::ReadSchedules => "schedule.read",
            Self::CreateSchedules => "schedule.create",
            Self::UpdateSchedules => "schedule.update",
            Self::DeleteSchedules => "schedule.delete",
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
    /// List a server's schedules, or view one.
    ViewSchedule,
    /// Create a schedule.
    CreateSchedule,
    /// Change a schedule or its tasks.
    ChangeSchedule,
    /// Run a schedule at once.
    RunSchedule,
    /// Delete a schedule.
    DeleteSchedule,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 15] = [
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
        Self::ViewSchedule,
        Self::CreateSchedule,
        Self::ChangeSchedule,
        Self::RunSchedule,
        Self::DeleteSchedule,
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
            Self::ViewSchedule => Permission::ReadSchedules,
            Self::CreateSchedule => Permission::CreateSchedules,
            Self::ChangeSchedule | Self::RunSchedule => Permission::UpdateSchedules,
            Self::DeleteSchedule => Permission::DeleteSchedules,
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
