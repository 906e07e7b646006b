//! The shapes of answers: the objects of the client API in both profiles.
//!
//! This module is the only place that knows how the profiles differ. It never reads the database.

pub(crate) mod application;
pub(crate) mod errors;
pub(crate) mod files;
pub(crate) mod objects;
pub(crate) mod panel;
pub(crate) mod schedules;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, ContentType};
use chrono::{DateTime, Datelike, Timelike, Utc};
use serde::Serialize;
use serde_json::json;

use holdfast_db::activity::ActivityEntry;
use holdfast_db::backups::BackupPage;
use holdfast_domain::backup::{BackupNotes, Restore, Verification, VerificationState};
use holdfast_domain::{Backup, BackupState, JobProgress, JobState, Profile};

use self::objects::{
    ActivityActor, ActivityAttributes, ActivityList, ActivityObject, BackupAttributes,
    BackupListMeta, BackupObject, BackupScheduleView, ListMeta, NotesView, Pagination,
    ProgressView, RestoreStatus, RestoreView, SignedUrl, SignedUrlAttributes, Status,
    VerificationStatus, VerificationView,
};
use crate::error::ApiError;
use crate::list_cache::CachedList;

/// Returns the object of a backup.
pub(crate) fn backup(backup: &Backup, profile: Profile) -> BackupObject {
    let mut attributes = BackupAttributes {
        uuid: backup.id.0,
        name: backup.name.clone(),
        ignored_files: backup.ignored_files.clone(),
        sha256_hash: None,
        bytes: 0,
        created_at: date(backup.created_at),
        completed_at: None,
        is_successful: Some(false),
        is_locked: backup.is_locked,
        checksum: None,
        status: Status::Creating,
        failed_at: None,
        error: None,
        is_scheduled: backup.is_scheduled,
        schedule: backup.schedule.as_ref().map(|schedule| BackupScheduleView {
            id: schedule.id.0,
            name: schedule.name.clone(),
        }),
        progress: backup.progress.as_ref().map(progress),
        restore: backup.restore.as_ref().map(restore),
        verification: backup.verification.as_ref().map(verification),
        is_damaged: backup.damaged_at.is_some(),
        notes: notes(&BackupNotes::default()),
        disk: backup.disk.to_string(),
        reused_from: None,
        reused_bytes: None,
        read_bytes: None,
        stored_bytes: None,
    };
    match &backup.state {
        BackupState::Creating => {
            attributes.is_successful = match profile {
                Profile::Documented => None,
                Profile::Pterodactyl => Some(false),
            };
        }
        BackupState::Completed(completed) => {
            let hash = hex::encode(completed.sha256);
            attributes.status = Status::Completed;
            attributes.is_successful = Some(true);
            attributes.completed_at = Some(date(completed.at));
            attributes.checksum = Some(format!("sha256:{hash}"));
            attributes.sha256_hash = Some(hash);
            attributes.bytes = completed.size_bytes;
            attributes.notes = notes(&completed.notes);
            if let Some(work) = &completed.work {
                attributes.reused_from = work.reused_from.map(|backup| backup.0);
                attributes.reused_bytes = Some(work.reused_bytes);
                attributes.read_bytes = Some(work.read_bytes);
                attributes.stored_bytes = work.stored_bytes;
            }
        }
        BackupState::Failed { at, error } => {
            attributes.status = Status::Failed;
            attributes.failed_at = Some(date(*at));
            attributes.completed_at = match profile {
                Profile::Documented => None,
                Profile::Pterodactyl => Some(date(*at)),
            };
            attributes.error = Some(error.clone());
        }
    }
    BackupObject {
        object: "backup",
        attributes,
    }
}

/// Returns the progress of a job.
pub(crate) fn progress(progress: &JobProgress) -> ProgressView {
    ProgressView {
        phase: progress.phase,
        bytes_done: progress.bytes_done,
        bytes_total: progress.bytes_total,
        files_done: progress.files_done,
        files_total: progress.files_total,
        percent: progress.percent(),
        slowed: progress.slowed,
    }
}

fn restore(restore: &Restore) -> RestoreView {
    RestoreView {
        status: match restore.state {
            JobState::Available | JobState::Scheduled => RestoreStatus::Queued,
            JobState::Running => RestoreStatus::Running,
            JobState::Completed => RestoreStatus::Completed,
            JobState::Cancelled | JobState::Discarded => RestoreStatus::Failed,
        },
        started_at: restore.started_at.map(date),
        finished_at: restore.finished_at.map(date),
        error: restore.error.clone(),
        notes: notes(&restore.notes),
    }
}

fn verification(verification: &Verification) -> VerificationView {
    let sentence = verification.message.clone();
    let (status, error, note) = match verification.state {
        VerificationState::Queued => (VerificationStatus::Queued, None, None),
        VerificationState::Running => (VerificationStatus::Running, None, None),
        VerificationState::Passed => (VerificationStatus::Passed, None, sentence),
        VerificationState::Failed => (VerificationStatus::Failed, sentence, None),
        VerificationState::Inconclusive => (VerificationStatus::Inconclusive, sentence, None),
    };
    VerificationView {
        status,
        started_at: verification.started_at.map(date),
        finished_at: verification.finished_at.map(date),
        error,
        note,
    }
}

fn notes(notes: &BackupNotes) -> NotesView {
    NotesView {
        count: notes.count,
        first: notes.first.clone(),
    }
}

/// Serializes the backups of a page for the list cache.
///
/// # Errors
/// [`ApiError::Internal`] if they cannot be serialized, which would be a defect.
pub(crate) fn cached_list(page: &BackupPage, profile: Profile) -> Result<CachedList, ApiError> {
    let data: Vec<BackupObject> = page.backups.iter().map(|b| backup(b, profile)).collect();
    let backups = serde_json::to_vec(&data).map_err(|_| ApiError::Internal)?;
    let count = page.backups.len();
    Ok(CachedList::new(
        &backups,
        count,
        page.total,
        page.backup_count,
    ))
}

/// Returns a page of backups: a [`BackupList`](objects::BackupList), assembled from cached JSON.
///
/// # Errors
/// [`ApiError::Internal`] if it cannot be serialized, which would be a defect.
pub(crate) fn backup_list(
    list: &CachedList,
    pagination: Pagination,
) -> Result<HttpResponse, ApiError> {
    let meta = BackupListMeta {
        pagination,
        backup_count: list.backup_count,
    };
    let meta = serde_json::to_vec(&meta).map_err(|_| ApiError::Internal)?;
    let mut answer = Vec::with_capacity(list.length() + meta.len() + 64);
    answer.extend_from_slice(br#"{"object":"list","data":"#);
    list.write_to(&mut answer).ok_or(ApiError::Internal)?;
    answer.extend_from_slice(br#","meta":"#);
    answer.extend_from_slice(&meta);
    answer.push(b'}');
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(ContentType::json())
        .body(answer))
}

/// Returns a page of the audit log.
pub(crate) fn activity_list(entries: Vec<ActivityEntry>, pagination: Pagination) -> ActivityList {
    let data = entries
        .into_iter()
        .map(|entry| {
            let mut properties = entry.properties;
            // An entry about a schedule has its own name.
            if let Some(backup) = entry.backup {
                properties["uuid"] = json!(backup);
                properties["name"] = json!(entry.backup_name);
            }
            let email = entry.actor_email;
            ActivityObject {
                object: "activity_log",
                attributes: ActivityAttributes {
                    id: entry.id.to_string(),
                    event: entry.event,
                    is_api: entry.key.is_some(),
                    ip: entry.address,
                    description: None,
                    properties,
                    has_additional_metadata: false,
                    timestamp: date(entry.at),
                    // A caller whose access the panel decides has a name, and no UUID here.
                    actor: (entry.actor.is_some() || email.is_some()).then_some(ActivityActor {
                        uuid: entry.actor,
                        email,
                    }),
                    key: entry.key,
                },
            }
        })
        .collect();
    ActivityList {
        object: "list",
        data,
        meta: ListMeta { pagination },
    }
}

/// Returns the object of a download link.
pub(crate) fn signed_url(url: String) -> SignedUrl {
    SignedUrl {
        object: "signed_url",
        attributes: SignedUrlAttributes { url },
    }
}

/// Answers 200 with an object.
pub(crate) fn ok(object: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(object)
}

/// Answers 201 with the object that was created.
pub(crate) fn created(object: &impl Serialize) -> HttpResponse {
    HttpResponse::Created()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(object)
}

/// Answers 202 with the object that a worker will process.
pub(crate) fn accepted(object: &impl Serialize) -> HttpResponse {
    HttpResponse::Accepted()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(object)
}

/// Answers a request that locked or unlocked a backup.
pub(crate) fn lock_changed(changed: &Backup, profile: Profile) -> HttpResponse {
    match profile {
        Profile::Documented => HttpResponse::NoContent().finish(),
        Profile::Pterodactyl => ok(&backup(changed, profile)),
    }
}

/// Answers a request for a restore that was accepted.
pub(crate) fn restore_accepted(profile: Profile) -> HttpResponse {
    match profile {
        Profile::Documented => HttpResponse::Accepted().finish(),
        Profile::Pterodactyl => HttpResponse::NoContent().finish(),
    }
}

/// Returns whether the field `truncate` of a restore is required.
pub(crate) fn restore_requires_truncate(profile: Profile) -> bool {
    profile == Profile::Pterodactyl
}

/// Formats a time as the reference document does: RFC 3339 in UTC, without fractions of a second.
///
/// A list contains two times per backup, and chrono's own formatting would take longer than the
/// rest of the object.
fn date(time: DateTime<Utc>) -> String {
    let (date, time) = (time.date_naive(), time.time());
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}+00:00",
        date.year(),
        date.month(),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

#[cfg(test)]
mod tests {
    use actix_web::body::MessageBody as _;
    use uuid::Uuid;

    use holdfast_domain::{BackupId, DiskName, ServerId};

    use super::objects::{BackupList, Links};
    use super::*;

    #[test]
    fn an_assembled_list_equals_a_serialized_backup_list() {
        let new = |number: u128| Backup {
            id: BackupId(Uuid::from_u128(number)),
            server: ServerId(Uuid::nil()),
            name: format!("\"{number}\" – ü"),
            ignored_files: vec!["*.log".into(); 20],
            disk: DiskName::parse("local").expect("a name"),
            node: None,
            state: BackupState::Creating,
            is_locked: false,
            is_scheduled: false,
            is_full: false,
            schedule: None,
            created_at: DateTime::UNIX_EPOCH,
            progress: None,
            restore: None,
            verification: None,
            damaged_at: None,
        };
        for (count, profile) in [(0, Profile::Documented), (3, Profile::Pterodactyl)] {
            let page = BackupPage {
                backups: (0..count).map(new).collect(),
                total: 9,
                backup_count: 7,
            };
            let pagination = || Pagination {
                total: page.total,
                count: page.backups.len(),
                per_page: 3,
                current_page: 1,
                total_pages: 3,
                links: Links {
                    previous: None,
                    next: Some("http://localhost/?page=2".into()),
                },
            };
            let list = cached_list(&page, profile).expect("a list");
            assert_eq!(list.count, page.backups.len());
            let answer = backup_list(&list, pagination()).expect("an answer");
            let whole = BackupList {
                object: "list",
                data: page.backups.iter().map(|b| backup(b, profile)).collect(),
                meta: BackupListMeta {
                    pagination: pagination(),
                    backup_count: 7,
                },
            };
            let body = answer.into_body().try_into_bytes().expect("a body");
            assert_eq!(body, serde_json::to_vec(&whole).expect("JSON"));
        }
    }
}
