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
    /// It has had too many backups lately.
    Throttled(Throttle),
    /// It has as many backups as it may have.
    TooMany,
}

/// How many backups a server may ask for in a span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// How many; 0 means that nothing is throttled.
    pub count: u32,
    /// In how many seconds.
    pub seconds: u32,
}

/// What a server may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// How many backups at once; 0 means none at all.
    pub backups: u32,
    /// How many in a span of time.
    pub throttle: Throttle,
}

/// What a server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// What its panel says it is doing.
    pub state: ServerState,
    /// The backup or restore of it that waits or runs.
    pub unfinished: Option<JobKind>,
    /// Its backups that count: creating and completed ones; failed ones do not.
    pub kept: u64,
    /// The backups it was asked for within the throttle's span: creating and completed ones count,
    /// deleted ones too, failed ones not.
    pub recent: u64,
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

/// Checks that a server may get one more backup.
///
/// # Errors
/// [`CreateRefused`]: the server's state first, then the throttle, then the limit.
pub fn check_create(load: &Load, allowance: &Allowance) -> Result<(), CreateRefused> {
    check_idle(load.state, load.unfinished).map_err(CreateRefused::Busy)?;
    let throttle = allowance.throttle;
    if throttle.count > 0 && load.recent >= u64::from(throttle.count) {
        return Err(CreateRefused::Throttled(throttle));
    }
    if load.kept >= u64::from(allowance.backups) {
        return Err(CreateRefused::TooMany);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn creation_is_refused_by_state_then_job_then_throttle_then_limit() {
        use CreateRefused::{Busy, Throttled, TooMany};
        let normal = ServerState::Normal;
        let off = Throttle {
            count: 0,
            seconds: 600,
        };
        let two = Throttle {
            count: 2,
            seconds: 600,
        };
        for (state, unfinished, recent, throttle, kept, backups, expected) in [
            (normal, None, 0, off, 0, 10, Ok(())),
            (normal, None, 0, off, 9, 10, Ok(())),
            (normal, None, 0, off, 10, 10, Err(TooMany)),
            (normal, None, 0, off, 11, 10, Err(TooMany)),
            (normal, None, 0, off, 0, 0, Err(TooMany)),
            (normal, None, 99, off, 0, 1, Ok(())),
            (normal, None, 1, two, 0, 1, Ok(())),
            (normal, None, 2, two, 0, 1, Err(Throttled(two))),
            (normal, None, 3, two, 1, 1, Err(Throttled(two))),
            (normal, Some(JobKind::DeleteBackup), 0, off, 0, 1, Ok(())),
            (
                normal,
                Some(JobKind::CreateBackup),
                9,
                two,
                10,
                10,
                Err(Busy(ServerBusy::BackingUp)),
            ),
            (
                normal,
                Some(JobKind::RestoreBackup),
                0,
                off,
                0,
                10,
                Err(Busy(ServerBusy::Restoring)),
            ),
            (
                ServerState::Installing,
                Some(JobKind::CreateBackup),
                0,
                off,
                0,
                0,
                Err(Busy(ServerBusy::Installing)),
            ),
            (
                ServerState::Suspended,
                None,
                0,
                off,
                0,
                10,
                Err(Busy(ServerBusy::Suspended)),
            ),
        ] {
            let load = Load {
                state,
                unfinished,
                kept,
                recent,
            };
            let found = check_create(&load, &Allowance { backups, throttle });
            assert_eq!(found, expected, "{load:?} {throttle:?} {backups}");
        }
    }
}
