//! What a job is: its kinds, states, arguments and progress. The API puts jobs
//! into the table, workers take them out; they meet only here and in `db::jobs`.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobKind {
    /// Archives a server's directory to a disk.
    CreateBackup,
    /// Puts an archive's contents back into the server's directory.
    RestoreBackup,
    /// Removes an archive from its disk, then the backup's row.
    DeleteBackup,
    /// Removes a server, and its archives or only what is known of them.
    DeleteServer,
    /// Reads an archive back and compares it with what was stored.
    VerifyBackup,
}

impl JobKind {
    /// Every kind there is.
    pub const ALL: [Self; 5] = [
        Self::CreateBackup,
        Self::RestoreBackup,
        Self::DeleteBackup,
        Self::DeleteServer,
        Self::VerifyBackup,
    ];

    /// Returns the kind's name in the job table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CreateBackup => "create_backup",
            Self::RestoreBackup => "restore_backup",
            Self::DeleteBackup => "delete_backup",
            Self::DeleteServer => "delete_server",
            Self::VerifyBackup => "verify_backup",
        }
    }

    /// Reads a kind's name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.as_str() == text)
    }

    /// Returns how urgent a job of this kind is: lower numbers are taken up first.
    pub fn priority(self) -> i16 {
        match self {
            Self::CreateBackup | Self::RestoreBackup | Self::DeleteBackup | Self::DeleteServer => 0,
            Self::VerifyBackup => LEAST_SPARE,
        }
    }
}

/// The priority from which on jobs are those of [`WorkerSlot::Spare`].
const LEAST_SPARE: i16 = 100;
/// The priority of a verification that the schedule wants: after those that people ask for.
pub const PRIORITY_OF_SCHEDULED_VERIFICATION: i16 = LEAST_SPARE + 10;

/// Which of a worker's hands take a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerSlot {
    /// What somebody waits for.
    Main,
    /// What can wait. It has a hand of its own, so that however much there is of it, it keeps nothing else from
    /// running.
    Spare,
}

impl WorkerSlot {
    /// Returns the priorities of the lane's jobs.
    pub fn priorities(self) -> RangeInclusive<i16> {
        match self {
            Self::Main => i16::MIN..=LEAST_SPARE - 1,
            Self::Spare => LEAST_SPARE..=i16::MAX,
        }
    }
}

/// Where a job stands. The last three are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Waits for a worker.
    Available,
    /// Waits for its time.
    Scheduled,
    /// A worker holds its lease.
    Running,
    /// Done.
    Completed,
    /// Called off.
    Cancelled,
    /// Failed for good.
    Discarded,
}

impl JobState {
    /// Every state there is.
    pub const ALL: [Self; 6] = [
        Self::Available,
        Self::Scheduled,
        Self::Running,
        Self::Completed,
        Self::Cancelled,
        Self::Discarded,
    ];

    /// Returns the state's name in the job table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Discarded => "discarded",
        }
    }

    /// Reads a state's name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }

    /// Says whether nothing more will happen to the job.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled | Self::Discarded)
    }
}

/// The arguments of a restore, kept as JSON in the job's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreArgs {
    /// Whether everything that was there is removed first.
    pub truncate: bool,
}

/// What becomes of a server's archives when the server is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackupsFate {
    /// They are removed from their disks.
    Delete,
    /// They stay on their disks, but the service forgets them.
    Keep,
}

impl BackupsFate {
    /// Every fate there is.
    pub const ALL: [Self; 2] = [Self::Delete, Self::Keep];

    /// Returns its name, as in the job's row.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Keep => "keep",
        }
    }

    /// Reads a name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|f| f.as_str() == text)
    }
}

/// The arguments of a server's deletion, kept as JSON in the job's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteServerArgs {
    /// What becomes of its archives.
    pub backups: BackupsFate,
}

/// What a running job is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Waits for a worker.
    Queued,
    /// Counts files and bytes.
    Scanning,
    /// Reads, compresses and stores.
    Archiving,
    /// Makes the stored archive durable and visible.
    Uploading,
    /// Reads the archive and checks its SHA-256.
    Verifying,
    /// Unpacks and swaps.
    Restoring,
    /// Removes the archive.
    Deleting,
}

/// How far a job is. Totals are 0 while they are not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobProgress {
    /// What it is busy with.
    pub phase: Phase,
    /// Bytes of the source dealt with.
    pub bytes_done: u64,
    /// Bytes of the source in all.
    pub bytes_total: u64,
    /// Files dealt with.
    pub files_done: u64,
    /// Files in all.
    pub files_total: u64,
}

impl JobProgress {
    /// A job at the beginning of `phase`.
    pub fn begin(phase: Phase) -> Self {
        Self {
            phase,
            bytes_done: 0,
            bytes_total: 0,
            files_done: 0,
            files_total: 0,
        }
    }

    /// Returns the share done in per cent, 0.0 to 100.0, with one decimal; by bytes, or by files
    /// where there are no bytes.
    pub fn percent(&self) -> f64 {
        let (done, total) = if self.bytes_total > 0 {
            (self.bytes_done, self.bytes_total)
        } else {
            (self.files_done, self.files_total)
        };
        if total == 0 {
            return 0.0;
        }
        // A file that grows while it is read must not show 101 %.
        let tenths = u128::from(done.min(total)) * 1000 / u128::from(total);
        f64::from(u32::try_from(tenths).unwrap_or(1000)) / 10.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_goes_by_bytes_then_files_and_never_beyond_100() {
        let at = |bytes_done, bytes_total, files_done, files_total| {
            JobProgress {
                phase: Phase::Archiving,
                bytes_done,
                bytes_total,
                files_done,
                files_total,
            }
            .percent()
        };
        for (found, expected) in [
            (at(0, 0, 0, 0), 0.0),
            (at(1, 3, 0, 1), 33.3),
            (at(5, 4, 0, 1), 100.0),
            (at(0, 0, 1, 2), 50.0),
            (at(u64::MAX, u64::MAX, 0, 0), 100.0),
        ] {
            assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
        }
    }

    #[test]
    fn only_verifications_wait_in_the_spare_lane() {
        for kind in JobKind::ALL {
            let spare = WorkerSlot::Spare.priorities().contains(&kind.priority());
            assert_eq!(spare, kind == JobKind::VerifyBackup);
            assert_ne!(
                spare,
                WorkerSlot::Main.priorities().contains(&kind.priority())
            );
        }
        assert!(
            WorkerSlot::Spare
                .priorities()
                .contains(&PRIORITY_OF_SCHEDULED_VERIFICATION)
        );
    }

    #[test]
    fn names_are_read_back_as_written() {
        for kind in JobKind::ALL {
            assert_eq!(JobKind::parse(kind.as_str()), Some(kind));
        }
        for state in JobState::ALL {
            assert_eq!(JobState::parse(state.as_str()), Some(state));
        }
    }
}
