//! A backup, its states, and the operations that each state allows.

use chrono::{DateTime, Utc};

use crate::id::{BackupId, ServerId};
use crate::job::{JobProgress, JobState};
use crate::name::{DiskName, NodeName};
use crate::schedule::ScheduleId;

/// A backup, with the state of its jobs.
#[derive(Clone, Debug, PartialEq)]
pub struct Backup {
    /// Its ID.
    pub id: BackupId,
    /// The server whose files it holds.
    pub server: ServerId,
    /// Its display name.
    pub name: String,
    /// The ignore patterns that were applied.
    pub ignored_files: Vec<String>,
    /// The disk that holds its archive. It never changes.
    pub disk: DiskName,
    /// The node that created it. A local disk's archives exist on this node only.
    /// `None` for backups from before nodes were recorded.
    pub node: Option<NodeName>,
    /// Its state.
    pub state: BackupState,
    /// Whether it is locked against deletion.
    pub is_locked: bool,
    /// Whether a schedule created it.
    pub is_scheduled: bool,
    /// Whether the request asked for a full backup, which reads and packs every file.
    pub is_full: bool,
    /// That schedule, unless it was deleted.
    pub schedule: Option<BackupSchedule>,
    /// When it was requested.
    pub created_at: DateTime<Utc>,
    /// The progress of its unfinished job, if it has one.
    pub progress: Option<JobProgress>,
    /// Its latest restore.
    pub restore: Option<Restore>,
    /// Its latest verification.
    pub verification: Option<Verification>,
    /// When its archive was first found damaged or missing. A passed verification clears this;
    /// an inconclusive one does not.
    pub damaged_at: Option<DateTime<Utc>>,
}

/// The schedule that created a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupSchedule {
    /// Its ID.
    pub id: ScheduleId,
    /// Its name.
    pub name: String,
}

/// The state of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupState {
    /// Queued, or being archived.
    Creating,
    /// The archive is complete and durable, and its hash is recorded.
    Completed(CompletedBackup),
    /// It ended without an archive.
    Failed {
        /// When it failed.
        at: DateTime<Utc>,
        /// The reason, as a sentence for the server's owner.
        error: String,
    },
}

/// The archive of a completed backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompletedBackup {
    /// When the archive became complete and durable.
    pub at: DateTime<Utc>,
    /// SHA-256 of the archive.
    pub sha256: [u8; 32],
    /// Size of the archive, in bytes.
    pub size_bytes: u64,
    /// The attempt that wrote it; part of its storage key.
    pub attempt: u32,
    /// Files that were skipped or that changed while they were read.
    pub notes: BackupNotes,
    /// What was read, reused and stored for it. `None` for a backup of an earlier version.
    pub work: Option<ArchiveWork>,
}

/// What was read, reused and stored for an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchiveWork {
    /// The backup whose archive was reused. It may be deleted since. `None` for a full backup.
    pub reused_from: Option<BackupId>,
    /// How many bytes of the archive come from that one.
    pub reused_bytes: u64,
    /// How many bytes of server files were read.
    pub read_bytes: u64,
    /// By how many bytes the disk grew. `None` if that is unknown.
    pub stored_bytes: Option<u64>,
    /// How many backups in a row, with this one, took files over without reading them. 0 if this
    /// one has read every file.
    pub unread_backups: u32,
}

impl ArchiveWork {
    /// Returns whether the next backup has to read every file again. `unread_backups` is the value
    /// of the backup before it. One in `reread_every` backups does, or none if that is 0.
    ///
    /// ```
    /// use holdfast_domain::backup::ArchiveWork;
    ///
    /// assert!(!ArchiveWork::is_reread_due(Some(12), 14));
    /// assert!(ArchiveWork::is_reread_due(Some(13), 14));
    /// assert!(!ArchiveWork::is_reread_due(Some(13), 0));
    /// ```
    pub fn is_reread_due(unread_backups: Option<u32>, reread_every: u32) -> bool {
        let next = unread_backups.map_or(u32::MAX, |count| count.saturating_add(1));
        reread_every > 0 && next >= reread_every
    }
}

/// Files that a backup or restore did not take as they were. All are counted; only the first
/// hundred are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupNotes {
    /// The number of notes.
    pub count: u64,
    /// The first hundred notes, each with a path and what happened to it.
    pub first: Vec<String>,
}

/// The latest restore of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restore {
    /// The state of its job.
    pub state: JobState,
    /// When a worker first started it.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// The reason of a failure, as a sentence for the server's owner.
    pub error: Option<String>,
    /// Files that were not restored as they are in the archive, and old files that were kept.
    pub notes: BackupNotes,
}

/// The latest verification of a backup: the archive is read from its disk, and its hash compared
/// with the recorded one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// Its state or result.
    pub state: VerificationState,
    /// When a worker first started it.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// A sentence for the server's owner: why it failed or was inconclusive, or what is wrong
    /// beside an intact archive, such as a missing index.
    pub message: Option<String>,
}

/// The state of a verification. The last three are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerificationState {
    /// Waiting for a worker.
    Queued,
    /// A worker is reading the archive.
    Running,
    /// The archive is intact.
    Passed,
    /// The archive is damaged or missing.
    Failed,
    /// The disk could not be read, so the archive's condition is unknown.
    Inconclusive,
}

impl VerificationState {
    /// Every state.
    pub const ALL: [Self; 5] = [
        Self::Queued,
        Self::Running,
        Self::Passed,
        Self::Failed,
        Self::Inconclusive,
    ];

    /// Returns the state's name for clients and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Inconclusive => "inconclusive",
        }
    }

    /// Parses a state's name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }
}

/// An operation that needs a completed backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupOperation {
    /// Downloading the archive.
    Download,
    /// Restoring the archive.
    Restore,
    /// Locking the backup.
    Lock,
    /// Unlocking the backup.
    Unlock,
    /// Verifying the archive.
    Verify,
}

/// Why a [`BackupOperation`] is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotCompleted {
    /// The backup is still being created.
    Creating(BackupOperation),
    /// The backup failed.
    Failed(BackupOperation),
}

/// Why a deletion is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteRefused {
    /// The backup is still being created.
    Creating,
    /// The backup is locked.
    Locked,
    /// The backup is being restored.
    Restoring,
}

/// Returns the failure message of a backup that user `by` cancelled.
pub fn cancelled_message(by: &str) -> String {
    format!("This backup was cancelled by {by}.")
}

impl Backup {
    /// Returns whether a restore of it is queued or running.
    pub fn is_being_restored(&self) -> bool {
        self.restore
            .as_ref()
            .is_some_and(|restore| !restore.state.is_final())
    }

    /// Returns whether a verification of it is queued or running.
    pub fn is_being_verified(&self) -> bool {
        self.verification.as_ref().is_some_and(|verification| {
            matches!(
                verification.state,
                VerificationState::Queued | VerificationState::Running
            )
        })
    }

    /// Returns the completed archive that `operation` needs.
    ///
    /// # Errors
    /// [`NotCompleted`] if the backup is still being created or has failed.
    pub fn check_completed(
        &self,
        operation: BackupOperation,
    ) -> Result<&CompletedBackup, NotCompleted> {
        match &self.state {
            BackupState::Completed(completed) => Ok(completed),
            BackupState::Creating => Err(NotCompleted::Creating(operation)),
            BackupState::Failed { .. } => Err(NotCompleted::Failed(operation)),
        }
    }

    /// Checks that the backup may be deleted. A failed one always may: it has no archive that its
    /// lock could protect.
    ///
    /// # Errors
    /// [`DeleteRefused`] with the reason.
    pub fn check_delete(&self) -> Result<(), DeleteRefused> {
        match &self.state {
            BackupState::Creating => Err(DeleteRefused::Creating),
            BackupState::Completed(_) if self.is_locked => Err(DeleteRefused::Locked),
            BackupState::Completed(_) if self.is_being_restored() => Err(DeleteRefused::Restoring),
            BackupState::Completed(_) | BackupState::Failed { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;
    use uuid::Uuid;

    fn backup(state: &BackupState, is_locked: bool, restore: Option<JobState>) -> Backup {
        Backup {
            id: BackupId(Uuid::nil()),
            server: ServerId(Uuid::nil()),
            name: "b".into(),
            ignored_files: Vec::new(),
            disk: DiskName::parse("local").expect("a name"),
            node: None,
            state: state.clone(),
            is_locked,
            is_scheduled: false,
            is_full: false,
            schedule: None,
            created_at: Utc.timestamp_opt(0, 0).single().expect("a time"),
            progress: None,
            restore: restore.map(|state| Restore {
                state,
                started_at: None,
                finished_at: None,
                error: None,
                notes: BackupNotes::default(),
            }),
            verification: None,
            damaged_at: None,
        }
    }

    #[test]
    fn deletion_and_operations_depend_on_the_state() {
        let at = Utc.timestamp_opt(0, 0).single().expect("a time");
        let creating = BackupState::Creating;
        let failed = BackupState::Failed {
            at,
            error: "x".into(),
        };
        let completed = BackupState::Completed(CompletedBackup {
            at,
            sha256: [0; 32],
            size_bytes: 1,
            attempt: 1,
            notes: BackupNotes::default(),
            work: None,
        });
        for (state, locked, restore, delete) in [
            (&creating, false, None, Err(DeleteRefused::Creating)),
            (&creating, true, None, Err(DeleteRefused::Creating)),
            (&failed, false, None, Ok(())),
            (&failed, true, None, Ok(())),
            (&completed, false, None, Ok(())),
            (&completed, true, None, Err(DeleteRefused::Locked)),
            (
                &completed,
                true,
                Some(JobState::Running),
                Err(DeleteRefused::Locked),
            ),
            (
                &completed,
                false,
                Some(JobState::Running),
                Err(DeleteRefused::Restoring),
            ),
            (
                &completed,
                false,
                Some(JobState::Available),
                Err(DeleteRefused::Restoring),
            ),
            (&completed, false, Some(JobState::Completed), Ok(())),
            (&completed, false, Some(JobState::Discarded), Ok(())),
        ] {
            let backup = backup(state, locked, restore);
            assert_eq!(
                backup.check_delete(),
                delete,
                "{state:?} locked {locked} restore {restore:?}"
            );
            for operation in [
                BackupOperation::Download,
                BackupOperation::Restore,
                BackupOperation::Lock,
                BackupOperation::Unlock,
                BackupOperation::Verify,
            ] {
                let expected = match state {
                    BackupState::Creating => Err(NotCompleted::Creating(operation)),
                    BackupState::Failed { .. } => Err(NotCompleted::Failed(operation)),
                    BackupState::Completed(completed) => Ok(completed),
                };
                assert_eq!(backup.check_completed(operation), expected);
            }
        }
    }
}
