//! The row of a backup as queries return it, and its conversion to [`Backup`].

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use holdfast_domain::backup::{
    ArchiveWork, BackupNotes, BackupSchedule, CompletedBackup, Restore, Verification,
    VerificationState,
};
use holdfast_domain::job::{JobProgress, Phase};
use holdfast_domain::schedule::ScheduleId;
use holdfast_domain::{Backup, BackupId, BackupState, DiskName, JobState, NodeName, ServerId};

use crate::error::Error;

pub(crate) struct BackupRow {
    /// The request that the row answers, from 1, if the query answers several.
    pub(crate) position: i64,
    pub(crate) id: Uuid,
    pub(crate) server_id: Uuid,
    pub(crate) name: String,
    pub(crate) ignored_files: Vec<String>,
    pub(crate) disk: String,
    pub(crate) node: Option<String>,
    pub(crate) state: String,
    pub(crate) is_locked: bool,
    pub(crate) is_scheduled: bool,
    pub(crate) is_full: bool,
    pub(crate) schedule_id: Option<i64>,
    pub(crate) schedule_name: Option<String>,
    pub(crate) size_bytes: i64,
    pub(crate) sha256: Option<Vec<u8>>,
    pub(crate) archive_attempt: Option<i32>,
    pub(crate) notes_count: i64,
    pub(crate) notes: Vec<String>,
    pub(crate) error: Option<String>,
    pub(crate) reused_from: Option<Uuid>,
    pub(crate) reused_bytes: Option<i64>,
    pub(crate) read_bytes: Option<i64>,
    pub(crate) stored_bytes: Option<i64>,
    pub(crate) unread_backups: Option<i32>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) completed_at: Option<DateTime<Utc>>,
    pub(crate) failed_at: Option<DateTime<Utc>>,
    pub(crate) verification: Option<String>,
    pub(crate) verification_started_at: Option<DateTime<Utc>>,
    pub(crate) verification_finished_at: Option<DateTime<Utc>>,
    pub(crate) verification_sentence: Option<String>,
    pub(crate) damaged_at: Option<DateTime<Utc>>,
    pub(crate) unfinished_state: Option<String>,
    pub(crate) unfinished_progress: Option<Value>,
    pub(crate) verify_state: Option<String>,
    pub(crate) verify_started_at: Option<DateTime<Utc>>,
    pub(crate) restore_state: Option<String>,
    pub(crate) restore_started_at: Option<DateTime<Utc>>,
    pub(crate) restore_finalized_at: Option<DateTime<Utc>>,
    pub(crate) restore_error: Option<String>,
    pub(crate) restore_notes_count: Option<i64>,
    pub(crate) restore_notes: Option<Vec<String>>,
}

impl TryFrom<BackupRow> for Backup {
    type Error = Error;

    fn try_from(row: BackupRow) -> Result<Self, Error> {
        let state = state(&row)?;
        let restore = restore(&row)?;
        let verification = verification(&row)?;
        let progress = row.unfinished_state.as_ref().map(|_| {
            // A queued job has no progress yet.
            row.unfinished_progress
                .and_then(|value| serde_json::from_value(value).ok())
                .unwrap_or(JobProgress::begin(Phase::Queued))
        });
        Ok(Self {
            id: BackupId(row.id),
            server: ServerId(row.server_id),
            name: row.name,
            ignored_files: row.ignored_files,
            disk: DiskName::parse(&row.disk)
                .map_err(|_| Error::unreadable("disk name", &row.disk))?,
            node: row
                .node
                .map(|node| {
                    NodeName::parse(&node).map_err(|_| Error::unreadable("node name", &node))
                })
                .transpose()?,
            state,
            is_locked: row.is_locked,
            is_scheduled: row.is_scheduled,
            is_full: row.is_full,
            schedule: row
                .schedule_id
                .zip(row.schedule_name)
                .map(|(id, name)| BackupSchedule {
                    id: ScheduleId(id),
                    name,
                }),
            created_at: row.created_at,
            progress,
            restore,
            verification,
            damaged_at: row.damaged_at,
        })
    }
}

fn state(row: &BackupRow) -> Result<BackupState, Error> {
    let unreadable = || Error::unreadable("backup state", &row.state);
    Ok(match row.state.as_str() {
        "creating" => BackupState::Creating,
        "completed" => BackupState::Completed(CompletedBackup {
            at: row.completed_at.ok_or_else(unreadable)?,
            sha256: row
                .sha256
                .as_deref()
                .and_then(|hash| hash.try_into().ok())
                .ok_or_else(unreadable)?,
            size_bytes: row.size_bytes.unsigned_abs(),
            attempt: row.archive_attempt.ok_or_else(unreadable)?.unsigned_abs(),
            notes: BackupNotes {
                count: row.notes_count.unsigned_abs(),
                first: row.notes.clone(),
            },
            work: work(row),
        }),
        "failed" => BackupState::Failed {
            at: row.failed_at.ok_or_else(unreadable)?,
            error: row.error.clone().unwrap_or_default(),
        },
        _ => return Err(unreadable()),
    })
}

/// The columns of an [`ArchiveWork`]. All are NULL if it is unknown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WorkColumns {
    pub(super) reused_from: Option<Uuid>,
    pub(super) reused_bytes: Option<i64>,
    pub(super) read_bytes: Option<i64>,
    pub(super) stored_bytes: Option<i64>,
    pub(super) unread_backups: Option<i32>,
}

impl WorkColumns {
    pub(super) fn of(work: Option<&ArchiveWork>) -> Self {
        let Some(work) = work else {
            return Self::default();
        };
        let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        Self {
            reused_from: work.reused_from.map(|backup| backup.0),
            reused_bytes: Some(bytes(work.reused_bytes)),
            read_bytes: Some(bytes(work.read_bytes)),
            stored_bytes: work.stored_bytes.map(bytes),
            unread_backups: Some(i32::try_from(work.unread_backups).unwrap_or(i32::MAX)),
        }
    }
}

fn work(row: &BackupRow) -> Option<ArchiveWork> {
    Some(ArchiveWork {
        reused_from: row.reused_from.map(BackupId),
        reused_bytes: row.reused_bytes?.unsigned_abs(),
        read_bytes: row.read_bytes?.unsigned_abs(),
        stored_bytes: row.stored_bytes.map(i64::unsigned_abs),
        unread_backups: row.unread_backups?.unsigned_abs(),
    })
}

fn restore(row: &BackupRow) -> Result<Option<Restore>, Error> {
    let Some(text) = &row.restore_state else {
        return Ok(None);
    };
    let state = JobState::parse(text).ok_or_else(|| Error::unreadable("job state", text))?;
    let failed = matches!(state, JobState::Discarded | JobState::Cancelled);
    Ok(Some(Restore {
        state,
        started_at: row.restore_started_at,
        finished_at: row.restore_finalized_at,
        error: row.restore_error.clone().filter(|_| failed),
        notes: BackupNotes {
            count: row.restore_notes_count.unwrap_or(0).unsigned_abs(),
            first: row.restore_notes.clone().unwrap_or_default(),
        },
    }))
}

/// A queued or running verification hides the result of the previous one.
fn verification(row: &BackupRow) -> Result<Option<Verification>, Error> {
    if let Some(text) = &row.verify_state {
        let job = JobState::parse(text).ok_or_else(|| Error::unreadable("job state", text))?;
        return Ok(Some(Verification {
            state: match job {
                JobState::Running => VerificationState::Running,
                _ => VerificationState::Queued,
            },
            started_at: row.verify_started_at,
            finished_at: None,
            message: None,
        }));
    }
    let Some(text) = &row.verification else {
        return Ok(None);
    };
    Ok(Some(Verification {
        state: VerificationState::parse(text)
            .ok_or_else(|| Error::unreadable("verification state", text))?,
        started_at: row.verification_started_at,
        finished_at: row.verification_finished_at,
        message: row.verification_sentence.clone(),
    }))
}
