//! A backup, its three states, and what each state allows.

use chrono::{DateTime, Utc};

use crate::id::{BackupId, ServerId};
use crate::job::{JobProgress, JobState};
use crate::name::{DiskName, NodeName};

/// A backup as the database holds it, with what its jobs are doing.
#[derive(Clone, Debug, PartialEq)]
pub struct Backup {
    /// Its UUID.
    pub id: BackupId,
    /// Whose files it holds.
    pub server: ServerId,
    /// What people call it.
    pub name: String,
    /// The patterns that were applied.
    pub ignored_files: Vec<String>,
    /// The disk that holds its archive, for ever.
    pub disk: DiskName,
    /// The node that made it, whose disk that is where it is a folder; `None` for those made before nodes were
    /// written down.
    pub node: Option<NodeName>,
    /// Where it stands.
    pub state: BackupState,
    /// Whether it is kept from deletion.
    pub is_locked: bool,
    /// Whether a schedule made it.
    pub is_scheduled: bool,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// What an unfinished job is doing with it.
    pub progress: Option<JobProgress>,
    /// Its latest restore.
    pub restore: Option<Restore>,
    /// Its latest verification.
    pub verification: Option<Verification>,
    /// Since when its archive is known to be bad: damaged, or missing. A verification that passes takes that
    /// away, one that comes to no verdict does not.
    pub damaged_at: Option<DateTime<Utc>>,
}

/// Where a backup stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupState {
    /// Waiting or being archived.
    Creating,
    /// Whole, durable and known by its hash.
    Completed(Completed),
    /// Ended without an archive.
    Failed {
        /// When it ended.
        at: DateTime<Utc>,
        /// Why, as a sentence for its owner.
        error: String,
    },
}

/// What is known of a completed backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completed {
    /// When it was whole and durable.
    pub at: DateTime<Utc>,
    /// SHA-256 of the archive.
    pub sha256: [u8; 32],
    /// Size of the archive, in bytes.
    pub size_bytes: u64,
    /// Which attempt wrote it; a part of its storage key.
    pub attempt: u32,
    /// What could not be archived as it was.
    pub notes: BackupNotes,
}

/// What was skipped or changed while it was read: counted in full, listed up to a bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupNotes {
    /// How many there were.
    pub count: u64,
    /// The first hundred, each naming a path and what happened.
    pub first: Vec<String>,
}

/// The latest restore of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restore {
    /// Where its job stands.
    pub state: JobState,
    /// When a worker first took it up.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// Why it failed, as a sentence for the server's owner.
    pub error: Option<String>,
}

/// The latest verification of a backup: its archive read back from its disk, and compared with what was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// Where it stands, or how it ended.
    pub state: VerificationState,
    /// When a worker first took it up.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// What there is to say, as a sentence: why it failed, or came to no verdict; or what is not as it was beside
    /// an archive that is whole.
    pub sentence: Option<String>,
}

/// Where a verification stands. The last three are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerificationState {
    /// Waits for a worker.
    Queued,
    /// Is being read.
    Running,
    /// The archive is what was stored.
    Passed,
    /// It is damaged, or missing.
    Failed,
    /// Its disk could not be read: nobody knows.
    Inconclusive,
}

impl VerificationState {
    /// Every state there is.
    pub const ALL: [Self; 5] = [
        Self::Queued,
        Self::Running,
        Self::Passed,
        Self::Failed,
        Self::Inconclusive,
    ];

    /// Returns the state's name, in the database and for clients.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Inconclusive => "inconclusive",
        }
    }

    /// Reads a state's name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }
}

/// What an operation on a completed backup is called in a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Downloading.
    Download,
    /// Restoring.
    Restore,
    /// Locking.
    Lock,
    /// Unlocking.
    Unlock,
    /// Verifying.
    Verify,
}

/// Why an operation that needs a completed backup is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotCompleted {
    /// It is still being created.
    Creating(Purpose),
    /// It failed.
    Failed(Purpose),
}

/// Why a deletion is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteRefused {
    /// It is still being created.
    Creating,
    /// It is locked.
    Locked,
    /// It is being restored.
    Restoring,
}

/// Says, for its owner, why a backup that was called off has failed.
pub fn cancelled_sentence(by: &str) -> String {
    format!("This backup was cancelled by {by}.")
}

impl Backup {
    /// Says whether its latest restore has not ended.
    pub fn is_being_restored(&self) -> bool {
        self.restore
            .as_ref()
            .is_some_and(|restore| !restore.state.is_final())
    }

    /// Says whether a verification of it waits or runs.
    pub fn is_being_verified(&self) -> bool {
        self.verification.as_ref().is_some_and(|verification| {
            matches!(
                verification.state,
                VerificationState::Queued | VerificationState::Running
            )
        })
    }

    /// Returns what is known of the archive, which `purpose` needs.
    ///
    /// # Errors
    /// [`NotCompleted`] while it is created, or when it failed.
    pub fn check_completed(&self, purpose: Purpose) -> Result<&Completed, NotCompleted> {
        match &self.state {
            BackupState::Completed(completed) => Ok(completed),
            BackupState::Creating => Err(NotCompleted::Creating(purpose)),
            BackupState::Failed { .. } => Err(NotCompleted::Failed(purpose)),
        }
    }

    /// Checks that it may be deleted. A failed one always may: a lock protects an archive, and it
    /// has none.
    ///
    /// # Errors
    /// [`DeleteRefused`].
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
            created_at: Utc.timestamp_opt(0, 0).single().expect("a time"),
            progress: None,
            restore: restore.map(|state| Restore {
                state,
                started_at: None,
                finished_at: None,
                error: None,
            }),
            verification: None,
            damaged_at: None,
        }
    }

    #[test]
    fn what_each_state_allows() {
        let at = Utc.timestamp_opt(0, 0).single().expect("a time");
        let creating = BackupState::Creating;
        let failed = BackupState::Failed {
            at,
            error: "x".into(),
        };
        let completed = BackupState::Completed(Completed {
            at,
            sha256: [0; 32],
            size_bytes: 1,
            attempt: 1,
            notes: BackupNotes::default(),
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
            for purpose in [
                Purpose::Download,
                Purpose::Restore,
                Purpose::Lock,
                Purpose::Unlock,
                Purpose::Verify,
            ] {
                let expected = match state {
                    BackupState::Creating => Err(NotCompleted::Creating(purpose)),
                    BackupState::Failed { .. } => Err(NotCompleted::Failed(purpose)),
                    BackupState::Completed(completed) => Ok(completed),
                };
                assert_eq!(backup.check_completed(purpose), expected);
            }
        }
    }
}
