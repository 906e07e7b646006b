//! What a panel says about a caller and a server, for callers with the panel's own credentials.

use crate::access::{Action, ServerAccess};
use crate::id::ServerId;

/// A server of a panel, as the panel shows it to one caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PanelServer {
    /// The server's UUID.
    pub id: ServerId,
    /// The caller's access to it.
    pub access: ServerAccess,
    /// Why the server cannot be used, if it cannot.
    pub conflict: Option<PanelConflict>,
    /// How many backups the panel allows the server. 0: none.
    pub backup_limit: u32,
}

/// A state of a server, or of its node, in which a panel refuses requests about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PanelConflict {
    /// The server is suspended.
    Suspended,
    /// The server's node is under maintenance.
    NodeMaintenance,
    /// The installation of the server runs or failed.
    NotInstalled,
    /// The panel is restoring a backup of the server.
    Restoring,
    /// The server is being moved to another node.
    Transferring,
    /// The server has another status. A panel then refuses only restores.
    OtherStatus,
}

impl PanelServer {
    /// Checks that the state of the server allows `action`, as the panel does for its own backups.
    ///
    /// # Errors
    /// The state that does not.
    pub fn check_state(&self, action: Action) -> Result<(), PanelConflict> {
        match self.conflict {
            Some(PanelConflict::OtherStatus) if action != Action::Restore => Ok(()),
            Some(conflict) => Err(conflict),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn every_state_refuses_everything_but_an_unknown_one_only_restores() {
        let server = |conflict| PanelServer {
            id: ServerId(Uuid::nil()),
            access: ServerAccess::Owner,
            conflict,
            backup_limit: 1,
        };
        for action in Action::ALL {
            assert_eq!(server(None).check_state(action), Ok(()));
            for conflict in [
                PanelConflict::Suspended,
                PanelConflict::NodeMaintenance,
                PanelConflict::NotInstalled,
                PanelConflict::Restoring,
                PanelConflict::Transferring,
            ] {
                assert_eq!(server(Some(conflict)).check_state(action), Err(conflict));
            }
            let other = server(Some(PanelConflict::OtherStatus)).check_state(action);
            assert_eq!(other.is_err(), action == Action::Restore, "{action:?}");
        }
    }
}
