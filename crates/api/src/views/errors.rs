//! The shape of error answers: the body, the profile's error codes, and the headers `Allow` and
//! `Retry-After`.
//!
//! Every failure leaves the service in this one format.

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, HeaderValue, RETRY_AFTER};
use actix_web::{HttpResponse, ResponseError};
use serde_json::{Map, Value, json};

use holdfast_domain::Profile;
use holdfast_domain::limit::CreateRefused;

use super::objects::{ErrorEntry, Errors};
use crate::error::{ApiError, PanelRefused};

/// How long a client should wait while the service is unavailable, in seconds.
const RETRY_AFTER_SECONDS: u32 = 5;

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status_and_code().0
    }

    fn error_response(&self) -> HttpResponse {
        error_response(self, Profile::default())
    }
}

/// Marks the routes and requests whose errors have the form of Wings: `{"error":"…"}`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodeErrors;

/// Returns the answer to a request that failed with `error`.
pub(crate) fn error_response(error: &ApiError, profile: Profile) -> HttpResponse {
    let (status, code) = error.status_and_code();
    let entry = |detail: &str, meta, source| ErrorEntry {
        code: code_in_profile(profile, code),
        status: status.as_str().to_owned(),
        detail: detail.to_owned(),
        meta,
        source,
    };
    let errors: Vec<ErrorEntry> = match error {
        ApiError::Invalid(violations) => violations
            .iter()
            .map(|violation| {
                let meta = json!({ "source_field": violation.field, "rule": violation.rule });
                let source = json!({ "field": violation.field });
                entry(&violation.detail, object(meta), object(source))
            })
            .collect(),
        _ => vec![entry(&error.detail(), None, None)],
    };
    let mut response = HttpResponse::build(status).json(Errors { errors });
    let headers = response.headers_mut();
    if let ApiError::MethodNotAllowed { allow, .. } = error {
        headers.insert(ALLOW, HeaderValue::from_static(allow));
    }
    if let Some(seconds) = retry_after_seconds(error) {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Returns the answer to a request of a panel to its node that failed with `error`, in the form of
/// Wings.
pub(crate) fn node_error_response(error: &ApiError) -> HttpResponse {
    let (status, _) = error.status_and_code();
    let text = match error {
        ApiError::Invalid(violations) => {
            let details: Vec<&str> = violations.iter().map(|v| v.detail.as_str()).collect();
            details.join(" ")
        }
        _ => error.detail(),
    };
    let mut response = HttpResponse::build(status).json(json!({ "error": text }));
    if let Some(seconds) = retry_after_seconds(error) {
        let headers = response.headers_mut();
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn retry_after_seconds(error: &ApiError) -> Option<u32> {
    match error {
        ApiError::Unavailable
        | ApiError::DeleteFailed
        | ApiError::TooManyStreams
        | ApiError::Panel(PanelRefused::Unavailable) => Some(RETRY_AFTER_SECONDS),
        ApiError::TooManyRequests {
            retry_after_seconds,
        } => Some(*retry_after_seconds),
        // The exact time depends on earlier backups; the whole time span is always long enough.
        ApiError::Create(CreateRefused::Throttled(throttle)) => Some(throttle.seconds),
        _ => None,
    }
}

fn object(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(fields) => Some(fields),
        _ => None,
    }
}

fn code_in_profile(profile: Profile, code: &'static str) -> &'static str {
    match (profile, code) {
        (Profile::Pterodactyl, "BackupIsLockedException") => "BackupLockedException",
        (Profile::Pterodactyl, "ConflictingServerStateException") => "ServerStateConflictException",
        (Profile::Pterodactyl, "InsufficientPermissionsException") => "AccessDeniedHttpException",
        _ => code,
    }
}
