//! The shapes of answers, and the only place that knows the two profiles.

pub(crate) mod application;
mod files;
pub(crate) mod objects;
pub(crate) mod panel;

use actix_web::HttpResponse;
use actix_web::http::header::{ALLOW, CACHE_CONTROL, ContentType, HeaderValue, RETRY_AFTER};
use chrono::{DateTime, Datelike, Timelike, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};

use holdfast_db::activity::ActivityEntry;
use holdfast_db::backups::BackupPage;
use holdfast_domain::backup::{BackupNotes, Restore, Verification, VerificationState};
use holdfast_domain::limit::CreateRefused;
use holdfast_domain::{Backup, BackupState, JobProgress, JobState, Profile};

use self::objects::{
    ActivityActor, ActivityAttributes, ActivityList, ActivityObject, BackupAttributes,
    BackupListMeta, BackupObject, ErrorEntry, Errors, ListMeta, NotesView, Pagination,
    ProgressView, RestoreStatus, RestoreView, SignedUrl, SignedUrlAttributes, Status,
    VerificationStatus, VerificationView,
};
use crate::error::ApiError;
use crate::list_cache::Listed;

pub(crate) use self::files::file_list;

/// How long a client should wait when the service is away, in seconds.
const RETRY_AFTER_SECONDS: u32 = 5;

/// A backup, wrapped as the reference wraps every object.
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
        progress: backup.progress.as_ref().map(progress),
        restore: backup.restore.as_ref().map(restore),
        verification: backup.verification.as_ref().map(verification),
        is_damaged: backup.damaged_at.is_some(),
        notes: notes(&BackupNotes::default()),
        disk: backup.disk.to_string(),
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

pub(crate) fn progress(progress: &JobProgress) -> ProgressView {
    ProgressView {
        phase: progress.phase,
        bytes_done: progress.bytes_done,
        bytes_total: progress.bytes_total,
        files_done: progress.files_done,
        files_total: progress.files_total,
        percent: progress.percent(),
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

/// The backups of a page, as they are kept to be answered again.
///
/// # Errors
/// [`ApiError::Internal`] when they can't be written, which would be a defect.
pub(crate) fn listed(page: &BackupPage, profile: Profile) -> Result<Listed, ApiError> {
    let data: Vec<BackupObject> = page.backups.iter().map(|b| backup(b, profile)).collect();
    let backups = serde_json::to_vec(&data).map_err(|_| ApiError::Internal)?;
    let count = page.backups.len();
    Ok(Listed::new(&backups, count, page.total, page.kept))
}

/// A page of backups: a [`BackupList`], put together from what was written before.
///
/// # Errors
/// [`ApiError::Internal`] when it can't be written, which would be a defect.
pub(crate) fn backup_list(
    listed: &Listed,
    pagination: Pagination,
) -> Result<HttpResponse, ApiError> {
    let meta = BackupListMeta {
        pagination,
        backup_count: listed.kept,
    };
    let meta = serde_json::to_vec(&meta).map_err(|_| ApiError::Internal)?;
    let mut answer = Vec::with_capacity(listed.length() + meta.len() + 64);
    answer.extend_from_slice(br#"{"object":"list","data":"#);
    listed.write_to(&mut answer).ok_or(ApiError::Internal)?;
    answer.extend_from_slice(br#","meta":"#);
    answer.extend_from_slice(&meta);
    answer.push(b'}');
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(ContentType::json())
        .body(answer))
}

/// A page of the audit log.
pub(crate) fn activity_list(entries: Vec<ActivityEntry>, pagination: Pagination) -> ActivityList {
    let data = entries
        .into_iter()
        .map(|entry| {
            let mut properties = entry.properties;
            properties["uuid"] = json!(entry.backup);
            properties["name"] = json!(entry.backup_name);
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
                    actor: entry.actor.map(|uuid| ActivityActor { uuid, email }),
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

/// A link that needs no other credential.
pub(crate) fn signed_url(url: String) -> SignedUrl {
    SignedUrl {
        object: "signed_url",
        attributes: SignedUrlAttributes { url },
    }
}

/// An object, as a whole answer.
pub(crate) fn ok(object: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(object)
}

/// An object that was made, as a whole answer.
pub(crate) fn created(object: &impl Serialize) -> HttpResponse {
    HttpResponse::Created()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(object)
}

/// What was asked for and will be done, as a whole answer.
pub(crate) fn accepted(object: &impl Serialize) -> HttpResponse {
    HttpResponse::Accepted()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(object)
}

/// The answer to a lock or unlock.
pub(crate) fn lock_changed(changed: &Backup, profile: Profile) -> HttpResponse {
    match profile {
        Profile::Documented => HttpResponse::NoContent().finish(),
        Profile::Pterodactyl => ok(&backup(changed, profile)),
    }
}

/// The answer to a restore that was accepted.
pub(crate) fn restore_accepted(profile: Profile) -> HttpResponse {
    match profile {
        Profile::Documented => HttpResponse::Accepted().finish(),
        Profile::Pterodactyl => HttpResponse::NoContent().finish(),
    }
}

/// Says whether a restore must say what becomes of existing files.
pub(crate) fn restore_requires_truncate(profile: Profile) -> bool {
    profile == Profile::Pterodactyl
}

/// A refusal or failure, in the one format there is.
pub(crate) fn error(error: &ApiError, profile: Profile) -> HttpResponse {
    let (status, code) = error.status_and_code();
    let entry = |detail: &str, meta: Option<Value>, source: Option<Value>| ErrorEntry {
        code: code_in(profile, code),
        status: status.as_str().to_owned(),
        detail: detail.to_owned(),
        meta: meta.and_then(fields),
        source: source.and_then(fields),
    };
    let errors: Vec<ErrorEntry> = match error {
        ApiError::Invalid(violations) => violations
            .iter()
            .map(|violation| {
                let meta = json!({ "source_field": violation.field, "rule": violation.rule });
                let source = json!({ "field": violation.field });
                entry(&violation.detail, Some(meta), Some(source))
            })
            .collect(),
        _ => vec![entry(&error.detail(), None, None)],
    };
    let mut response = HttpResponse::build(status).json(Errors { errors });
    if let ApiError::MethodNotAllowed { allow, .. } = error {
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static(allow));
    }
    let retry_after_seconds = match error {
        ApiError::Unavailable | ApiError::DeleteFailed | ApiError::TooManyStreams => {
            Some(RETRY_AFTER_SECONDS)
        }
        ApiError::TooManyRequests {
            retry_after_seconds,
        } => Some(*retry_after_seconds),
        // When a place becomes free depends on what was asked for; the whole span is always enough.
        ApiError::Create(CreateRefused::Throttled(throttle)) => Some(throttle.seconds),
        _ => None,
    };
    if let Some(seconds) = retry_after_seconds {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn fields(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(fields) => Some(fields),
        _ => None,
    }
}

fn code_in(profile: Profile, code: &'static str) -> &'static str {
    match (profile, code) {
        (Profile::Pterodactyl, "BackupIsLockedException") => "BackupLockedException",
        (Profile::Pterodactyl, "ConflictingServerStateException") => "ServerStateConflictException",
        (Profile::Pterodactyl, "InsufficientPermissionsException") => "AccessDeniedHttpException",
        _ => code,
    }
}

/// A time as the reference writes it, without fractions. A list has two for each backup: chrono's own
/// formatting takes longer than the rest of the object.
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
    use super::objects::{BackupList, Links};
    use super::*;
    use actix_web::body::MessageBody as _;
    use holdfast_domain::{BackupId, DiskName, ServerId};
    use uuid::Uuid;

    #[test]
    fn a_list_is_put_together_in_the_shape_of_the_document() {
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
                kept: 7,
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
            let listed = listed(&page, profile).expect("it can be written");
            assert_eq!(listed.count, page.backups.len());
            let answer = backup_list(&listed, pagination()).expect("it can be written");
            let whole = BackupList {
                object: "list",
                data: page.backups.iter().map(|b| backup(b, profile)).collect(),
                meta: BackupListMeta {
                    pagination: pagination(),
                    backup_count: 7,
                },
            };
            let body = answer.into_body().try_into_bytes().expect("it is there");
            assert_eq!(body, serde_json::to_vec(&whole).expect("it can be written"));
        }
    }
}
