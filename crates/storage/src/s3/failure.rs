//! Translates errors of S3 servers into [`Error`]: whether a retry may help, and what the operator
//! should check.
//!
//! Servers use different codes for the same problem. This file knows those of AWS, Ceph, Garage,
//! `MinIO` and s3s.

use std::error::Error as StdError;
use std::fmt;
use std::sync::atomic::Ordering;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use holdfast_domain::error_chain::chain;

use super::S3Disk;
use crate::error::{Error, Shortage, tls_advice};
use crate::key::StorageKey;

/// The maximum length of a server's code or message in an error, in characters.
const TEXT_MAX: usize = 300;

/// A problem that an error response reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Problem {
    ObjectMissing,
    ObjectExists,
    StorageFull,
    /// A retry may help.
    Temporary,
    /// The disk's configuration is wrong.
    Config(ConfigProblem),
    /// The credentials are wrong, or do not allow the request.
    Access(AccessProblem),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ConfigProblem {
    BucketMissing,
    ClockSkew,
    WrongRegion,
    UnsupportedRequest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AccessProblem {
    UnknownAccessKey,
    WrongSignature,
    ExpiredCredentials,
    MissingPermission,
}

/// Error codes, HTTP statuses and the problem that they mean. The first row with the code or the
/// status decides.
const PROBLEMS: [(&[&str], &[u16], Problem); 12] = [
    (
        &["NoSuchBucket"],
        &[],
        Problem::Config(ConfigProblem::BucketMissing),
    ),
    (
        &[
            "InsufficientCapacity",
            "InsufficientStorage",
            "QuotaExceeded",
            "StorageFull",
            "XMinioAdminBucketQuotaExceeded",
            "XMinioStorageFull",
        ],
        &[507],
        Problem::StorageFull,
    ),
    (&["PreconditionFailed"], &[412], Problem::ObjectExists),
    (
        &["RequestTimeTooSkewed"],
        &[],
        Problem::Config(ConfigProblem::ClockSkew),
    ),
    (
        &[
            "AuthorizationHeaderMalformed",
            "IllegalLocationConstraintException",
            "InvalidRegion",
            "PermanentRedirect",
            "TemporaryRedirect",
        ],
        &[301, 307],
        Problem::Config(ConfigProblem::WrongRegion),
    ),
    (
        &["InvalidAccessKey", "InvalidAccessKeyId", "NotSignedUp"],
        &[],
        Problem::Access(AccessProblem::UnknownAccessKey),
    ),
    (
        &["SignatureDoesNotMatch"],
        &[],
        Problem::Access(AccessProblem::WrongSignature),
    ),
    (
        &[
            "ExpiredToken",
            "ExpiredTokenException",
            "InvalidToken",
            "RequestExpired",
            "TokenRefreshRequired",
        ],
        &[],
        Problem::Access(AccessProblem::ExpiredCredentials),
    ),
    // These codes are temporary, even with a status of the next rows: a slow connection, and a part
    // that the server has lost.
    (&["InvalidPart", "RequestTimeout"], &[], Problem::Temporary),
    (
        &[],
        &[401, 403],
        Problem::Access(AccessProblem::MissingPermission),
    ),
    (&[], &[404], Problem::ObjectMissing),
    (
        &["ConditionalRequestConflict", "OperationAborted", "SlowDown"],
        &[408, 409, 425, 429],
        Problem::Temporary,
    ),
];

/// An error response of a server. It contains no secret, since servers do not repeat credentials.
#[derive(Debug)]
struct ErrorResponse {
    status: u16,
    code: String,
    message: String,
    /// The bucket's region, if the server tells it.
    region: Option<String>,
}

impl fmt::Display for ErrorResponse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the server answered {}", self.status)?;
        for part in [&self.code, &self.message] {
            if !part.is_empty() {
                write!(formatter, ", {part}")?;
            }
        }
        Ok(())
    }
}

impl StdError for ErrorResponse {}

impl ErrorResponse {
    /// Returns the response of a failed request, or `None` if there was none.
    fn from_sdk<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Option<Self> {
        let response = error.raw_response()?;
        let meta = error.as_service_error().map(ProvideErrorMetadata::meta);
        let shorten = |text: Option<&str>| -> String {
            text.unwrap_or_default().chars().take(TEXT_MAX).collect()
        };
        Some(Self {
            status: response.status().as_u16(),
            code: shorten(meta.and_then(|meta| meta.code())),
            message: shorten(meta.and_then(|meta| meta.message())),
            region: response
                .headers()
                .get("x-amz-bucket-region")
                .map(str::to_owned),
        })
    }

    fn problem(&self) -> Problem {
        let known = PROBLEMS.iter().find(|(codes, statuses, _)| {
            codes.contains(&self.code.as_str()) || statuses.contains(&self.status)
        });
        match known {
            Some((_, _, problem)) => *problem,
            None if (400..500).contains(&self.status) => {
                Problem::Config(ConfigProblem::UnsupportedRequest)
            }
            None => Problem::Temporary,
        }
    }
}

/// Returns whether the server does not support the request or one of its headers.
pub(super) fn is_not_implemented<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    let response = ErrorResponse::from_sdk(error);
    response.is_some_and(|response| {
        matches!(response.status, 405 | 501)
            || matches!(
                response.code.as_str(),
                "NotImplemented" | "MethodNotAllowed"
            )
    })
}

impl S3Disk {
    /// Translates the error of a request for `object`.
    pub(super) fn error_from<E>(&self, object: impl ToString, error: SdkError<E>) -> Error
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        match ErrorResponse::from_sdk(&error) {
            Some(response) => self.error_from_response(object.to_string(), response),
            None if is_about_credentials(&error) => self.denied(
                object.to_string(),
                "no credentials were found: set its access_key_id and secret_access_key, or give \
                 the process AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the machine a role"
                    .to_owned(),
                error,
            ),
            None => match tls_advice(&error) {
                Some(advice) => self.misconfigured(advice.to_owned(), error),
                None => self.unavailable(object, error),
            },
        }
    }

    /// Translates the error of a copy of `from` into a part of `object`. If the server refuses such
    /// requests, the disk copies nothing from then on.
    pub(super) fn copy_error<E>(
        &self,
        object: StorageKey,
        from: StorageKey,
        error: SdkError<E>,
    ) -> Error
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        let is_unknown = is_not_implemented(&error);
        let Some(response) = ErrorResponse::from_sdk(&error) else {
            return self.copy_failed(from, error);
        };
        match response.problem() {
            // Without the copy, more bytes would be written.
            Problem::StorageFull => self.error_from_response(object.to_string(), response),
            // The condition of a copy is about its source.
            Problem::ObjectMissing | Problem::ObjectExists => self.copy_source_bad(from, response),
            Problem::Config(_) | Problem::Access(_) => self.copy_refused(from, response),
            Problem::Temporary if is_unknown => self.copy_refused(from, response),
            Problem::Temporary => self.copy_failed(from, response),
        }
    }

    pub(super) fn copy_failed(
        &self,
        from: StorageKey,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Error {
        Error::CopyFailed {
            disk: self.name.to_string(),
            object: from.to_string(),
            is_object_bad: false,
            source: source.into(),
        }
    }

    /// Returns the error of an object to copy from that is missing, or other than expected.
    pub(super) fn copy_source_bad(
        &self,
        from: StorageKey,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Error {
        Error::CopyFailed {
            disk: self.name.to_string(),
            object: from.to_string(),
            is_object_bad: true,
            source: source.into(),
        }
    }

    /// Returns the error of a server that will not copy the next time either.
    pub(super) fn copy_refused(
        &self,
        from: StorageKey,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Error {
        self.supports_copies.store(false, Ordering::Relaxed);
        self.copy_failed(from, source)
    }

    fn error_from_response(&self, object: String, response: ErrorResponse) -> Error {
        let disk = self.name.to_string();
        match response.problem() {
            Problem::ObjectMissing => Error::NotFound { object },
            Problem::ObjectExists => Error::Exists { disk, object },
            Problem::StorageFull => Error::Full {
                disk,
                object,
                shortage: Shortage::Space,
            },
            Problem::Temporary => self.unavailable(object, response),
            Problem::Config(problem) => {
                self.misconfigured(self.config_advice(problem, &response), response)
            }
            Problem::Access(problem) => self.denied(object, self.access_advice(problem), response),
        }
    }

    fn config_advice(&self, problem: ConfigProblem, response: &ErrorResponse) -> String {
        let bucket = &self.options.bucket;
        let region = &self.options.region;
        match (problem, &response.region) {
            (ConfigProblem::BucketMissing, _) => {
                let server = self.options.endpoint.as_deref().unwrap_or("AWS");
                format!("there is no bucket `{bucket}` at {server}: check bucket and endpoint")
            }
            (ConfigProblem::ClockSkew, _) => {
                "the clocks of this machine and of the server differ by too much: set this \
                 machine's clock, for example with NTP"
                    .to_owned()
            }
            (ConfigProblem::WrongRegion, Some(actual)) if actual != region => format!(
                "bucket `{bucket}` lies in region `{actual}`, not in `{region}`: set its region"
            ),
            (ConfigProblem::WrongRegion, _) => format!(
                "bucket `{bucket}` is not served in region `{region}`: check region and endpoint"
            ),
            (ConfigProblem::UnsupportedRequest, _) => format!(
                "the server of bucket `{bucket}` does not support such requests: check endpoint, \
                 path_style, sse and checksums"
            ),
        }
    }

    fn access_advice(&self, problem: AccessProblem) -> String {
        let bucket = &self.options.bucket;
        match problem {
            AccessProblem::UnknownAccessKey => {
                format!("the server of bucket `{bucket}` does not know its access_key_id")
            }
            AccessProblem::WrongSignature => format!(
                "the signature for bucket `{bucket}` is wrong: check its secret_access_key and \
                 region"
            ),
            AccessProblem::ExpiredCredentials => {
                format!("the credentials for bucket `{bucket}` have expired: renew them")
            }
            AccessProblem::MissingPermission => format!(
                "its credentials do not allow this in bucket `{bucket}`: they may be disabled or \
                 lack permissions (list the bucket, its multipart uploads and their parts; get, \
                 put and delete objects; abort multipart uploads)"
            ),
        }
    }

    /// Returns a temporary error.
    pub(super) fn unavailable(
        &self,
        object: impl ToString,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Error {
        Error::Unavailable {
            disk: self.name.to_string(),
            object: object.to_string(),
            source: source.into(),
        }
    }

    fn denied(
        &self,
        object: String,
        advice: String,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Error {
        Error::Denied {
            disk: self.name.to_string(),
            object,
            advice,
            source: source.into(),
        }
    }

    fn misconfigured(
        &self,
        advice: String,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Error {
        Error::Misconfigured {
            disk: self.name.to_string(),
            advice,
            source: source.into(),
        }
    }
}

fn is_about_credentials(error: &(dyn StdError + 'static)) -> bool {
    chain(error).contains("credential")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_row_with_the_code_or_the_status_decides() {
        for (status, code, expected) in [
            (
                404,
                "NoSuchBucket",
                Problem::Config(ConfigProblem::BucketMissing),
            ),
            (404, "NoSuchKey", Problem::ObjectMissing),
            (403, "QuotaExceeded", Problem::StorageFull),
            (507, "", Problem::StorageFull),
            (403, "RequestTimeout", Problem::Temporary),
            (400, "InvalidPart", Problem::Temporary),
            (
                403,
                "SlowDown",
                Problem::Access(AccessProblem::MissingPermission),
            ),
            (503, "SlowDown", Problem::Temporary),
            (500, "InternalError", Problem::Temporary),
            (200, "InternalError", Problem::Temporary),
            (
                400,
                "ExpiredToken",
                Problem::Access(AccessProblem::ExpiredCredentials),
            ),
            (
                400,
                "EntityTooLarge",
                Problem::Config(ConfigProblem::UnsupportedRequest),
            ),
        ] {
            let response = ErrorResponse {
                status,
                code: code.to_owned(),
                message: String::new(),
                region: None,
            };
            assert_eq!(response.problem(), expected, "{status} {code}");
        }
    }
}
