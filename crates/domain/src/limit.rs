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
    /// There is no room for one more: on its disk, or in its quota.
    NoSpace,
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
    /// Whether at `backups` one more may come, for which the oldest unlocked one goes afterwards.
    pub rotate: bool,
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
    /// Those of them that may go to make room for another: completed, not locked, and nothing works with them.
    pub rotatable: u64,
    /// The size of its archives together, in bytes.
    pub archived_bytes: u64,
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
        ServerState::Restoring => return Err(ServerBusy::Restoring),
        ServerState::Normal => {}
    }
    match unfinished {
        Some(JobKind::CreateBackup) => Err(ServerBusy::BackingUp),
        Some(JobKind::RestoreBackup) => Err(ServerBusy::Restoring),
        // These touch archives, never the server's files.
        Some(JobKind::DeleteBackup | JobKind::DeleteServer | JobKind::VerifyBackup) | None => {
            Ok(())
        }
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
    let limit = u64::from(allowance.backups);
    // One beyond the limit and never two: while one waits to go, none may come.
    let may_rotate = allowance.rotate && limit > 0 && load.kept == limit && load.rotatable > 0;
    if load.kept >= limit && !may_rotate {
        return Err(CreateRefused::TooMany);
    }
    Ok(())
}

/// What room there is for a backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// Bytes that its disk has free; `None` where nobody knows.
    pub free_bytes: Option<u64>,
    /// Bytes of that disk which are never used.
    pub reserve_bytes: u64,
    /// Bytes that backups which are being made are expected to take.
    pub promised_bytes: u64,
    /// What all archives of the server may take together, in bytes; 0 means that there is no quota.
    pub quota_bytes: u64,
    /// What they take.
    pub archived_bytes: u64,
}

/// Checks that there is room for a backup that is expected to take `expected_bytes`: no archive is empty, so
/// one of which nothing is known needs some room as well.
///
/// # Errors
/// [`CreateRefused::NoSpace`].
pub fn check_space(expected_bytes: u64, space: &Space) -> Result<(), CreateRefused> {
    let needed = expected_bytes.max(1);
    let taken = space.reserve_bytes.saturating_add(space.promised_bytes);
    if let Some(free) = space.free_bytes
        && taken.checked_add(needed).is_none_or(|all| all > free)
    {
        return Err(CreateRefused::NoSpace);
    }
    if space.quota_bytes > 0 && space.archived_bytes.saturating_add(needed) > space.quota_bytes {
        return Err(CreateRefused::NoSpace);
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
            (
                ServerState::Restoring,
                None,
                0,
                off,
                0,
                10,
                Err(Busy(ServerBusy::Restoring)),
            ),
        ] {
            let load = Load {
                state,
                unfinished,
                kept,
                rotatable: kept,
                archived_bytes: 0,
                recent,
            };
            let allowance = Allowance {
                backups,
                throttle,
                rotate: false,
            };
            let found = check_create(&load, &allowance);
            assert_eq!(found, expected, "{load:?} {throttle:?} {backups}");
        }
    }

    #[test]
    fn with_rotation_one_more_may_come_if_another_can_go_and_never_two() {
        use CreateRefused::TooMany;
        for (kept, rotatable, backups, expected) in [
            (2, 0, 3, Ok(())),
            (3, 1, 3, Ok(())),
            (3, 0, 3, Err(TooMany)),
            (4, 4, 3, Err(TooMany)),
            (1, 1, 1, Ok(())),
            (0, 0, 0, Err(TooMany)),
        ] {
            let load = Load {
                state: ServerState::Normal,
                unfinished: None,
                kept,
                rotatable,
                archived_bytes: 0,
                recent: 0,
            };
            let allowance = Allowance {
                backups,
                throttle: Throttle {
                    count: 0,
                    seconds: 600,
                },
                rotate: true,
            };
            let found = check_create(&load, &allowance);
            assert_eq!(found, expected, "{load:?} {backups}");
        }
    }

    #[test]
    fn space_is_refused_at_the_byte_that_is_too_many() {
        let disk = |free_bytes| Space {
            free_bytes: Some(free_bytes),
            reserve_bytes: 100,
            promised_bytes: 30,
            ..Space::default()
        };
        let quota = |archived_bytes| Space {
            quota_bytes: 1000,
            archived_bytes,
            ..Space::default()
        };
        let fits = |expected, space| check_space(expected, &space).is_ok();
        for (expected, free, answer) in [
            (20, 149, false),
            (20, 150, true),
            (20, 151, true),
            (0, 130, false),
            (0, 131, true),
            (u64::MAX, u64::MAX, false),
        ] {
            assert_eq!(fits(expected, disk(free)), answer, "{expected} in {free}");
        }
        for (expected, archived, answer) in [
            (400, 599, true),
            (400, 600, true),
            (400, 601, false),
            (0, 999, true),
            (0, 1000, false),
            (1, u64::MAX, false),
        ] {
            assert_eq!(
                fits(expected, quota(archived)),
                answer,
                "{expected} after {archived}"
            );
        }
        let nothing_known = Space {
            promised_bytes: u64::MAX,
            ..Space::default()
        };
        assert!(fits(u64::MAX, nothing_known));
    }
}
