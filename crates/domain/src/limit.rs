//! Whether a server may take one more job, and one more backup.

use crate::job::JobKind;
use crate::server::ServerState;

/// Why a server can't be backed up or restored now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerBusy {
    /// Its panel says that it is being installed.
    Installing,
    /// Its panel says that it is suspended.
    Suspended,
    /// A backup of it runs or waits.
    BackingUp,
    /// A restore of it runs or waits.
    Restoring,
}

/// Why a backup can't be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateRefused {
    /// The server is busy.
    Busy(ServerBusy),
    /// It has as many backups as it may have.
    TooMany,
}

/// Checks that a server in `state`, with `unfinished` in the job table, can take a job that touches
/// its files.
///
/// # Errors
/// [`ServerBusy`], the panel's word first.
pub fn check_idle(state: ServerState, unfinished: Option<JobKind>) -> Result<(), ServerBusy> {
    match state {
        ServerState::Installing => return Err(ServerBusy::Installing),
        ServerState::Suspended => return Err(ServerBusy::Suspended),
        ServerState::Normal => {}
    }
    match unfinished {
        Some(JobKind::CreateBackup) => Err(ServerBusy::BackingUp),
        Some(JobKind::RestoreBackup) => Err(ServerBusy::Restoring),
        // A deletion touches archives, never the server's files.
        Some(JobKind::DeleteBackup | JobKind::DeleteServer) | None => Ok(()),
    }
}

/// Checks that nothing touches a server's files, so that it can be deleted or moved, whatever its
/// panel says.
///
/// # Errors
/// [`ServerBusy`].
pub fn check_untouched(unfinished: Option<JobKind>) -> Result<(), ServerBusy> {
    check_idle(ServerState::Normal, unfinished)
}

/// Checks that a server may get one more backup: it is idle, and `kept` (creating and completed
/// ones; failed ones do not count) is below `limit`. A limit of 0 means no backups at all.
///
/// # Errors
/// [`CreateRefused`], the server's state first.
pub fn check_create(
    state: ServerState,
    unfinished: Option<JobKind>,
    kept: u64,
    limit: u32,
) -> Result<(), CreateRefused> {
    check_idle(state, unfinished).map_err(CreateRefused::Busy)?;
    if kept >= u64::from(limit) {
        return Err(CreateRefused::TooMany);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn creation_is_refused_by_state_then_job_then_limit() {
        use CreateRefused::{Busy, TooMany};
        let normal = ServerState::Normal;
        for (state, unfinished, kept, limit, expected) in [
            (normal, None, 0, 10, Ok(())),
            (normal, None, 9, 10, Ok(())),
            (normal, None, 10, 10, Err(TooMany)),
            (normal, None, 11, 10, Err(TooMany)),
            (normal, None, 0, 0, Err(TooMany)),
            (normal, Some(JobKind::DeleteBackup), 0, 1, Ok(())),
            (
                normal,
                Some(JobKind::CreateBackup),
                10,
                10,
                Err(Busy(ServerBusy::BackingUp)),
            ),
            (
                normal,
                Some(JobKind::RestoreBackup),
                0,
                10,
                Err(Busy(ServerBusy::Restoring)),
            ),
            (
                ServerState::Installing,
                Some(JobKind::CreateBackup),
                0,
                0,
                Err(Busy(ServerBusy::Installing)),
            ),
            (
                ServerState::Suspended,
                None,
                0,
                10,
                Err(Busy(ServerBusy::Suspended)),
            ),
        ] {
            assert_eq!(
                check_create(state, unfinished, kept, limit),
                expected,
                "{state:?} {unfinished:?} {kept}/{limit}"
            );
        }
    }
}
