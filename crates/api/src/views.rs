//! The shapes of answers, and the only place that knows the two profiles.

pub(crate) mod application;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, HeaderValue, RETRY_AFTER};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use holdfast_domain::backup::Restore;
use holdfast_domain::{Backup, BackupState, JobState, Profile, Progress};

use crate::error::ApiError;

/// How long a client should wait when the service is away, in seconds.
const RETRY_AFTER_SECONDS: &str = "5";

/// A backup, wrapped as the reference wraps every object.
pub(crate) fn backup(backup: &Backup, profile: Profile) -> Value {
    let mut is_successful = Some(false);
    let mut completed_at = None;
    let mut failed_at = None;
    let mut sha256 = None;
    let mut bytes = 0;
    let mut notes = json!({ "count": 0, "first": [] });
    let mut error = None;
    let status = match &backup.state {
        BackupState::Creating => {
            is_successful = match profile {
                Profile::Documented => None,
                Profile::Pterodactyl => Some(false),
            };
            "creating"
        }
        BackupState::Completed(completed) => {
            is_successful = Some(true);
            completed_at = Some(completed.at);
            sha256 = Some(hex(&completed.sha256));
            bytes = completed.size_bytes;
            notes = json!({ "count": completed.notes.count, "first": completed.notes.first });
            "completed"
        }
        BackupState::Failed { at, error: why } => {
            failed_at = Some(*at);
            completed_at = match profile {
                Profile::Documented => None,
                Profile::Pterodactyl => Some(*at),
            };
            error = Some(why);
            "failed"
        }
    };
    json!({
        "object": "backup",
        "attributes": {
            "uuid": backup.id,
            "name": backup.name,
            "ignored_files": backup.ignored_files,
            "sha256_hash": sha256,
            "bytes": bytes,
            "created_at": date(backup.created_at),
            "completed_at": completed_at.map(date),
            "is_successful": is_successful,
            "is_locked": backup.is_locked,
            "checksum": sha256.as_ref().map(|hash| format!("sha256:{hash}")),
            "status": status,
            "failed_at": failed_at.map(date),
            "error": error,
            "is_scheduled": backup.is_scheduled,
            "progress": backup.progress.as_ref().map(progress),
            "restore": backup.restore.as_ref().map(restore),
            "notes": notes,
            "disk": backup.disk,
        }
    })
}

fn progress(progress: &Progress) -> Value {
    json!({
        "phase": progress.phase,
        "bytes_done": progress.bytes_done,
        "bytes_total": progress.bytes_total,
        "files_done": progress.files_done,
        "files_total": progress.files_total,
        "percent": progress.percent(),
    })
}

fn restore(restore: &Restore) -> Value {
    json!({
        "status": match restore.state {
            JobState::Available | JobState::Scheduled => "queued",
            JobState::Running => "running",
            JobState::Completed => "completed",
            JobState::Cancelled | JobState::Discarded => "failed",
        },
        "started_at": restore.started_at.map(date),
        "finished_at": restore.finished_at.map(date),
        "error": restore.error,
    })
}

/// A page of backups.
pub(crate) fn backup_list(
    backups: &[Backup],
    profile: Profile,
    pagination: Value,
    kept: u64,
) -> Value {
    let objects: Vec<Value> = backups.iter().map(|b| backup(b, profile)).collect();
    json!({
        "object": "list",
        "data": objects,
        "meta": { "pagination": pagination, "backup_count": kept },
    })
}

/// A link that needs no other credential.
pub(crate) fn signed_url(url: &str) -> Value {
    json!({ "object": "signed_url", "attributes": { "url": url } })
}

/// An object, as a whole answer.
pub(crate) fn ok(object: &Value) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(object)
}

/// An object that was made, as a whole answer.
pub(crate) fn created(object: &Value) -> HttpResponse {
    HttpResponse::Created()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(object)
}

/// What was asked for and will be done, as a whole answer.
pub(crate) fn accepted(object: &Value) -> HttpResponse {
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
    let code = code_in(profile, code);
    let entry = |detail: &str| json!({ "code": code, "status": status.as_str(), "detail": detail });
    let entries: Vec<Value> = match error {
        ApiError::Invalid(violations) => violations
            .iter()
            .map(|violation| {
                let mut entry = entry(&violation.detail);
                entry["meta"] = json!({ "source_field": violation.field, "rule": violation.rule });
                entry["source"] = json!({ "field": violation.field });
                entry
            })
            .collect(),
        _ => vec![entry(&error.detail())],
    };
    let mut response = HttpResponse::build(status).json(json!({ "errors": entries }));
    if matches!(error, ApiError::Unavailable | ApiError::DeleteFailed) {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
    }
    response
}

fn code_in(profile: Profile, code: &'static str) -> &'static str {
    match (profile, code) {
        (Profile::Pterodactyl, "BackupIsLockedException") => "BackupLockedException",
        (Profile::Pterodactyl, "ConflictingServerStateException") => "ServerStateConflictException",
        (Profile::Pterodactyl, "InsufficientPermissionsException") => "AccessDeniedHttpException",
        _ => code,
    }
}

fn date(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
