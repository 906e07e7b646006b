//! Limits: whether a server may get another job or another backup.

use crate::estimate::ExpectedSpace;
use crate::job::JobKind;
use crate::server::ServerState;

/// Why a server can't be backed up or restored at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerBusy {
    /// The panel reports that it is being installed.
    Installing,
    /// The panel reports that it is suspended.
    Suspended,
    /// A backup of it is queued or running.
    BackingUp,
    /// A restore of it is queued or running, here or in the panel.
    Restoring,
}

/// Why a backup can't be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateRefused {
    /// The server is busy.
    Busy(ServerBusy),
    /// Too many of its backups were requested within the throttle's period.
    Throttled(Throttle),
    /// It has reached its limit of backups.
    TooMany,
    /// Its disk or its quota has no space for another backup.
    NoSpace,
}

/// The number of backups that may be requested for a server within a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// The number of backups; 0 means no limit.
    pub count: u32,
    /// The period, in seconds.
    pub seconds: u32,
}

/// The limits that apply when a backup is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreateLimits {
    /// The maximum number of backups; 0 means that none may be created.
    pub backups: u32,
    /// The maximum number within a period.
    pub throttle: Throttle,
    /// Whether a server at its limit may get one more backup, for which the oldest unlocked one
    /// is deleted afterwards.
    pub rotate: bool,
}

/// The current jobs and backups of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLoad {
    /// The state that the panel reports.
    pub state: ServerState,
    /// The kind of its queued or running backup or restore.
    pub unfinished: Option<JobKind>,
    /// The number of its backups that are completed or being created.
    pub backups: u64,
    /// How many of them rotation may delete: completed, unlocked, and without an unfinished job.
    pub rotatable: u64,
    /// The total size of its archives, in bytes.
    pub archived_bytes: u64,
    /// The number of its backups that were requested within the throttle's period. Deleted backups
    /// count, failed ones and those of schedules do not.
    pub recent_backups: u64,
}

/// Checks that a server can get a job that reads or writes its files. `unfinished` is the kind of
/// its queued or running job.
///
/// # Errors
/// [`ServerBusy`]: the panel's state first, then the job.
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
        // These jobs use archives, never the server's files.
        Some(
            JobKind::DeleteBackup
            | JobKind::DeleteServer
            | JobKind::VerifyBackup
            | JobKind::RunTask,
        )
        | None => Ok(()),
    }
}

/// Checks that no job reads or writes a server's files, so that the server can be deleted or moved.
/// The panel's state does not matter.
///
/// # Errors
/// [`ServerBusy`] with the job that uses them.
pub fn check_no_file_job(unfinished: Option<JobKind>) -> Result<(), ServerBusy> {
    check_idle(ServerState::Normal, unfinished)
}

/// Checks that a server may get another backup.
///
/// ```
/// use holdfast_domain::ServerState;
/// use holdfast_domain::limit::{CreateLimits, CreateRefused, ServerLoad, Throttle, check_create};
///
/// let limits = CreateLimits {
///     backups: 3,
///     throttle: Throttle { count: 0, seconds: 600 },
///     rotate: false,
/// };
/// let load = ServerLoad {
///     state: ServerState::Normal,
///     unfinished: None,
///     backups: 3,
///     rotatable: 3,
///     archived_bytes: 1024,
///     recent_backups: 1,
/// };
/// assert_eq!(check_create(&load, &limits), Err(CreateRefused::TooMany));
/// ```
///
/// # Errors
/// [`CreateRefused`]: the server's state first, then the throttle, then the limit.
pub fn check_create(load: &ServerLoad, limits: &CreateLimits) -> Result<(), CreateRefused> {
    check_idle(load.state, load.unfinished).map_err(CreateRefused::Busy)?;
    let throttle = limits.throttle;
    if throttle.count > 0 && load.recent_backups >= u64::from(throttle.count) {
        return Err(CreateRefused::Throttled(throttle));
    }
    let limit = u64::from(limits.backups);
    // At most one backup above the limit: the oldest must be deleted before the next one is
    // created.
    let may_rotate = limits.rotate && limit > 0 && load.backups == limit && load.rotatable > 0;
    if load.backups >= limit && !may_rotate {
        return Err(CreateRefused::TooMany);
    }
    Ok(())
}

/// The space that a backup can use, on its disk and in its quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StorageBudget {
    /// Free bytes on the disk; `None` if the disk can't report it.
    pub free_bytes: Option<u64>,
    /// Bytes of the disk that must stay free.
    pub reserve_bytes: u64,
    /// Expected bytes of the backups that are being created on the disk.
    pub pending_bytes: u64,
    /// The server's quota for all its archives, in bytes; 0 means no quota.
    pub quota_bytes: u64,
    /// The total size of the server's archives, in bytes.
    pub archived_bytes: u64,
}

/// Checks that disk and quota have space for a backup. An unknown size (0) counts as one byte,
/// since no archive is empty.
///
/// # Errors
/// [`CreateRefused::NoSpace`].
pub fn check_space(expected: ExpectedSpace, budget: &StorageBudget) -> Result<(), CreateRefused> {
    let stored = expected.stored_bytes.max(1);
    let reserved = budget.reserve_bytes.saturating_add(budget.pending_bytes);
    if let Some(free) = budget.free_bytes
        && reserved
            .checked_add(stored)
            .is_none_or(|total| total > free)
    {
        return Err(CreateRefused::NoSpace);
    }
    let archived = expected.archive_bytes.max(1);
    if budget.quota_bytes > 0 && budget.archived_bytes.saturating_add(archived) > budget.quota_bytes
    {
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
        for (state, unfinished, recent, throttle, count, backups, expected) in [
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
            let load = ServerLoad {
                state,
                unfinished,
                backups: count,
                rotatable: count,
                archived_bytes: 0,
                recent_backups: recent,
            };
            let limits = CreateLimits {
                backups,
                throttle,
                rotate: false,
            };
            let found = check_create(&load, &limits);
            assert_eq!(found, expected, "{load:?} {throttle:?} {backups}");
        }
    }

    #[test]
    fn rotation_allows_one_backup_above_the_limit_if_another_can_be_deleted() {
        use CreateRefused::TooMany;
        for (count, rotatable, backups, expected) in [
            (2, 0, 3, Ok(())),
            (3, 1, 3, Ok(())),
            (3, 0, 3, Err(TooMany)),
            (4, 4, 3, Err(TooMany)),
            (1, 1, 1, Ok(())),
            (0, 0, 0, Err(TooMany)),
        ] {
            let load = ServerLoad {
                state: ServerState::Normal,
                unfinished: None,
                backups: count,
                rotatable,
                archived_bytes: 0,
                recent_backups: 0,
            };
            let limits = CreateLimits {
                backups,
                throttle: Throttle {
                    count: 0,
                    seconds: 600,
                },
                rotate: true,
            };
            let found = check_create(&load, &limits);
            assert_eq!(found, expected, "{load:?} {backups}");
        }
    }

    #[test]
    fn a_backup_is_refused_from_the_first_byte_without_space() {
        let disk = |free_bytes| StorageBudget {
            free_bytes: Some(free_bytes),
            reserve_bytes: 100,
            pending_bytes: 30,
            ..StorageBudget::default()
        };
        let quota = |archived_bytes| StorageBudget {
            quota_bytes: 1000,
            archived_bytes,
            ..StorageBudget::default()
        };
        let fits = |bytes, budget| {
            let expected = ExpectedSpace {
                archive_bytes: bytes,
                stored_bytes: bytes,
            };
            check_space(expected, &budget).is_ok()
        };
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
        let nothing_known = StorageBudget {
            pending_bytes: u64::MAX,
            ..StorageBudget::default()
        };
        assert!(fits(u64::MAX, nothing_known));
        // The disk counts what is written, the quota what the archive is.
        let shared = ExpectedSpace {
            archive_bytes: 400,
            stored_bytes: 20,
        };
        assert_eq!(check_space(shared, &disk(150)), Ok(()));
        assert_eq!(
            check_space(shared, &quota(601)),
            Err(CreateRefused::NoSpace)
        );
    }
}
