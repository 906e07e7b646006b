//! What a server's refusal means: for the caller, who may try again or not, and for whoever has to
//! mend it. Servers differ in their codes for the same thing; those of AWS, Ceph, Garage, `MinIO` and
//! s3s are known here.

use std::error::Error as StdError;
use std::fmt;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use holdfast_domain::error_chain::chain;

use super::S3Disk;
use crate::error::{Error, advice_on_tls};

/// The longest word of a server that is passed on, in characters.
const LONGEST: usize = 300;

/// What a server said. Its message never holds a secret: it has none of ours.
#[derive(Debug)]
struct Answer {
    status: u16,
    code: String,
    message: String,
    /// Where the bucket is, when the server says so.
    region: Option<String>,
}

impl fmt::Display for Answer {
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

impl StdError for Answer {}

impl Answer {
    fn of<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Option<Self> {
        let response = error.raw_response()?;
        let meta = error.as_service_error().map(ProvideErrorMetadata::meta);
        let text = |text: Option<&str>| -> String {
            text.unwrap_or_default().chars().take(LONGEST).collect()
        };
        Some(Self {
            status: response.status().as_u16(),
            code: text(meta.and_then(|meta| meta.code())),
            message: text(meta.and_then(|meta| meta.message())),
            region: response
                .headers()
                .get("x-amz-bucket-region")
                .map(str::to_owned),
        })
    }
}

/// Says whether the server does not know the call, or one of its headers.
pub(super) fn is_not_implemented<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    let answer = Answer::of(error);
    answer.is_some_and(|answer| {
        matches!(answer.status, 405 | 501)
            || matches!(answer.code.as_str(), "NotImplemented" | "MethodNotAllowed")
    })
}

impl S3Disk {
    /// Tells what a failed request means.
    pub(super) fn failed<E>(&self, object: impl ToString, error: SdkError<E>) -> Error
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        match Answer::of(&error) {
            Some(answer) => self.refused(object.to_string(), answer),
            None if is_about_credentials(&error) => self.denied(
                object.to_string(),
                "no credentials were found: set its access_key_id and secret_access_key, or give the \
                 process AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the machine a role",
                error,
            ),
            None => match advice_on_tls(&error) {
                Some(advice) => self.misconfigured(advice.to_owned(), error),
                None => self.broken(object, error),
            },
        }
    }

    /// A failure that may pass.
    pub(super) fn broken(
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
        advice: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Error {
        Error::Denied {
            disk: self.name.to_string(),
            object,
            advice: advice.into(),
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

    fn refused(&self, object: String, answer: Answer) -> Error {
        let disk = self.name.to_string();
        let bucket = &self.options.bucket;
        match (answer.code.as_str(), answer.status) {
            ("NoSuchBucket", _) => {
                let at = self.options.endpoint.as_deref().unwrap_or("AWS");
                let advice = format!("there is no bucket `{bucket}` at {at}: check bucket and endpoint");
                self.misconfigured(advice, answer)
            }
            (
                "QuotaExceeded"
                | "InsufficientStorage"
                | "InsufficientCapacity"
                | "XMinioStorageFull"
                | "XMinioAdminBucketQuotaExceeded"
                | "StorageFull",
                _,
            )
            | (_, 507) => Error::Full { disk, object },
            ("PreconditionFailed", _) | (_, 412) => Error::Exists { disk, object },
            ("RequestTimeTooSkewed", _) => self.misconfigured(
                "the clocks of this machine and of the server differ by too much: set this \
                 machine's clock, best by NTP"
                    .to_owned(),
                answer,
            ),
            (
                "PermanentRedirect"
                | "TemporaryRedirect"
                | "AuthorizationHeaderMalformed"
                | "IllegalLocationConstraintException"
                | "InvalidRegion",
                _,
            )
            | (_, 301 | 307) => {
                let ours = &self.options.region;
                let advice = match &answer.region {
                    Some(region) if region != ours => format!(
                        "bucket `{bucket}` lies in region `{region}`, not in `{ours}`: set its region"
                    ),
                    _ => format!(
                        "bucket `{bucket}` is not served in region `{ours}`: check region and endpoint"
                    ),
                };
                self.misconfigured(advice, answer)
            }
            ("InvalidAccessKeyId" | "InvalidAccessKey" | "NotSignedUp", _) => self.denied(
                object,
                format!("the server of bucket `{bucket}` does not know its access_key_id"),
                answer,
            ),
            ("SignatureDoesNotMatch", _) => self.denied(
                object,
                format!(
                    "the signature for bucket `{bucket}` is wrong: check its secret_access_key, and \
                     its region"
                ),
                answer,
            ),
            (
                "ExpiredToken" | "ExpiredTokenException" | "InvalidToken" | "TokenRefreshRequired"
                | "RequestExpired",
                _,
            ) => self.denied(
                object,
                format!("the credentials for bucket `{bucket}` have expired: renew them"),
                answer,
            ),
            (code, 401 | 403) if code != "RequestTimeout" => self.denied(
                object,
                format!(
                    "its credentials may not do this in bucket `{bucket}`: they have to be in force, \
                     and may need more permissions (list the bucket and its multipart uploads; get, \
                     put and delete objects; abort multipart uploads)"
                ),
                answer,
            ),
            (_, 404) => Error::NotFound { object },
            ("RequestTimeout" | "SlowDown" | "OperationAborted" | "ConditionalRequestConflict", _)
            | (_, 408 | 409 | 425 | 429 | 500..) => self.broken(object, answer),
            (_, 400..) => {
                let advice = format!(
                    "the server of bucket `{bucket}` does not take such requests: check endpoint, \
                     path_style, sse and checksums"
                );
                self.misconfigured(advice, answer)
            }
            _ => self.broken(object, answer),
        }
    }
}

fn is_about_credentials(error: &(dyn StdError + 'static)) -> bool {
    chain(error).contains("credential")
}
