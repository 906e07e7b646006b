//! Translates errors of Google Cloud Storage into [`Error`]: whether a retry may help, and what the
//! operator should check.
//!
//! Error messages must never contain a URL: anyone with the URL of an upload's session can use it.

use std::error::Error as StdError;
use std::fmt;

use serde::Deserialize;

use holdfast_domain::error_chain::chain;

use super::GcsDisk;
use super::account::SigningFailed;
use crate::error::{Error, Shortage, tls_advice};

/// The maximum length of a server's reason or message in an error, in characters.
const TEXT_MAX: usize = 300;

/// Why a request failed.
#[derive(Debug)]
pub(super) enum RequestError {
    /// The server sent an error response.
    Refused(ErrorResponse),
    /// The token server sent an error response.
    TokenRefused(ErrorResponse),
    /// The TLS handshake failed. Contains advice for the operator.
    Tls(&'static str, Box<dyn StdError + Send + Sync>),
    /// There was no response, or an invalid one.
    Connection(Box<dyn StdError + Send + Sync>),
}

/// An error response of a server. It contains no secret, since servers do not repeat credentials.
#[derive(Debug)]
pub(super) struct ErrorResponse {
    status: u16,
    reason: String,
    message: String,
}

/// The JSON of an error response, of the storage API or of the token server.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorJson {
    error: ErrorField,
    error_description: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ErrorField {
    /// Of the token server.
    Code(String),
    /// Of the storage API.
    Object {
        #[serde(default)]
        message: String,
        #[serde(default)]
        errors: Vec<ErrorDetail>,
    },
}

impl Default for ErrorField {
    fn default() -> Self {
        Self::Code(String::new())
    }
}

#[derive(Deserialize)]
struct ErrorDetail {
    #[serde(default)]
    reason: String,
}

impl ErrorResponse {
    pub(super) fn parse(status: u16, body: &[u8]) -> Self {
        let (reason, message) = match serde_json::from_slice(body).unwrap_or_default() {
            ErrorJson {
                error: ErrorField::Code(code),
                error_description,
            } if code.is_empty() => {
                // Uploads get errors in plain text.
                let is_text = !body.starts_with(b"<") && error_description.is_empty();
                let text = if is_text {
                    String::from_utf8_lossy(body).into_owned()
                } else {
                    error_description
                };
                (code, text)
            }
            ErrorJson {
                error: ErrorField::Code(code),
                error_description,
            } => (code, error_description),
            ErrorJson {
                error: ErrorField::Object { message, errors },
                ..
            } => {
                let reason = errors.into_iter().next().map(|detail| detail.reason);
                (reason.unwrap_or_default(), message)
            }
        };
        let shorten = |text: String| text.trim().chars().take(TEXT_MAX).collect();
        Self {
            status,
            reason: shorten(reason),
            message: shorten(message),
        }
    }

    /// Returns whether the message contains one of `phrases`, in any case.
    fn mentions(&self, phrases: &[&str]) -> bool {
        let message = self.message.to_lowercase();
        phrases.iter().any(|phrase| message.contains(phrase))
    }

    /// Returns whether the server is overloaded or limits the rate of requests.
    fn is_overload(&self) -> bool {
        matches!(
            self.reason.as_str(),
            "rateLimitExceeded" | "userRateLimitExceeded" | "backendError" | "internalError"
        )
    }

    /// Returns whether the checksum of the sent data did not match.
    fn is_checksum_mismatch(&self) -> bool {
        self.status == 400 && self.mentions(&["crc32c"])
    }
}

impl fmt::Display for ErrorResponse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the server answered {}", self.status)?;
        for part in [&self.reason, &self.message] {
            if !part.is_empty() {
                write!(formatter, ", {part}")?;
            }
        }
        Ok(())
    }
}

impl StdError for ErrorResponse {}

impl fmt::Display for RequestError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(response) | Self::TokenRefused(response) => response.fmt(formatter),
            Self::Tls(_, source) | Self::Connection(source) => {
                formatter.write_str(&chain(&**source))
            }
        }
    }
}

impl From<SigningFailed> for RequestError {
    fn from(error: SigningFailed) -> Self {
        Self::Connection(error.into())
    }
}

impl RequestError {
    /// Converts the error of a request that got no complete response.
    pub(super) fn from_transport(error: reqwest::Error) -> Self {
        let advice = tls_advice(&error);
        let source = error.without_url().into();
        match advice {
            Some(advice) => Self::Tls(advice, source),
            None => Self::Connection(source),
        }
    }

    /// Converts an error response into one of the token server.
    pub(super) fn into_token_error(self) -> Self {
        match self {
            Self::Refused(response) => Self::TokenRefused(response),
            other => other,
        }
    }

    /// Returns the status of the storage server's error response.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(response) => Some(response.status),
            Self::TokenRefused(_) | Self::Tls(..) | Self::Connection(_) => None,
        }
    }

    /// Returns whether a retry may succeed.
    pub(super) fn is_temporary(&self) -> bool {
        match self {
            Self::Refused(response) | Self::TokenRefused(response) => {
                matches!(response.status, 408 | 409 | 425 | 429 | 500 | 502..=599)
                    || response.is_overload()
                    || response.is_checksum_mismatch()
            }
            Self::Tls(..) => false,
            Self::Connection(_) => true,
        }
    }
}

impl GcsDisk {
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

    /// Translates the error of a request for an object.
    pub(super) fn error_from(&self, object: impl ToString, error: RequestError) -> Error {
        match error {
            RequestError::Connection(source) => self.unavailable(object, source),
            RequestError::Tls(advice, source) => self.misconfigured(advice.to_owned(), source),
            error if error.is_temporary() => {
                let source = error.to_string();
                self.unavailable(object, source)
            }
            RequestError::TokenRefused(response) => {
                self.error_from_token_response(object.to_string(), response)
            }
            RequestError::Refused(response) => {
                self.error_from_response(object.to_string(), response)
            }
        }
    }

    /// Translates the error of a request for which a status 404 means that the bucket is missing.
    pub(super) fn bucket_error_from(&self, object: impl ToString, error: RequestError) -> Error {
        match error {
            RequestError::Refused(response) if response.status == 404 => {
                self.bucket_missing(response)
            }
            error => self.error_from(object, error),
        }
    }

    fn error_from_response(&self, object: String, response: ErrorResponse) -> Error {
        let disk = self.name.to_string();
        match response.status {
            404 if response.mentions(&["bucket does not exist"]) => self.bucket_missing(response),
            404 | 410 => Error::NotFound { object },
            412 => Error::Exists { disk, object },
            413 => Error::Full {
                disk,
                object,
                shortage: Shortage::Space,
            },
            401 | 403 => {
                let advice = self.access_advice(&response);
                self.denied(object, advice, response)
            }
            _ => {
                let bucket = &self.options.bucket;
                let advice = format!(
                    "the server of bucket `{bucket}` does not support such requests: check endpoint"
                );
                self.misconfigured(advice, response)
            }
        }
    }

    /// Returns the advice for a response with the status 401 or 403.
    fn access_advice(&self, response: &ErrorResponse) -> String {
        let (bucket, account) = (&self.options.bucket, self.account_name());
        let is_unpaid = response.reason == "accountDisabled"
            || response.mentions(&["billing", "account disabled", "delinquent"]);
        let is_retained =
            response.reason == "retentionPolicyNotMet" || response.mentions(&["retention"]);
        if response.status == 401 {
            format!("bucket `{bucket}` refused {account}: check service_account_file")
        } else if is_unpaid {
            format!("billing is disabled for the project of bucket `{bucket}`: enable it")
        } else if is_retained {
            format!("the retention policy of bucket `{bucket}` does not allow this")
        } else {
            format!(
                "{account} may not do this in bucket `{bucket}`: give the account the role Storage \
                 Object Admin (roles/storage.objectAdmin) there"
            )
        }
    }

    fn error_from_token_response(&self, object: String, response: ErrorResponse) -> Error {
        let is_clock_skew = response.mentions(&[
            "reasonable timeframe",
            "iat and exp",
            "token used too early",
        ]);
        if is_clock_skew {
            let advice = "the clocks of this machine and of Google differ by too much: set this \
                          machine's clock, for example with NTP";
            return self.misconfigured(advice.to_owned(), response);
        }
        let account = self.account_name();
        let advice = format!(
            "the key of service account `{account}` was refused: it may be deleted, disabled or \
             expired; create another one and check service_account_file"
        );
        self.denied(object, advice, response)
    }

    fn bucket_missing(&self, response: ErrorResponse) -> Error {
        let (bucket, server) = (&self.options.bucket, self.options.base_url());
        let advice =
            format!("there is no bucket `{bucket}` at {server}: check bucket and endpoint");
        self.misconfigured(advice, response)
    }

    fn account_name(&self) -> &str {
        let account = self.options.account.as_deref();
        account.map_or("unauthenticated requests", |account| account.email())
    }

    fn denied(&self, object: String, advice: String, response: ErrorResponse) -> Error {
        Error::Denied {
            disk: self.name.to_string(),
            object,
            advice,
            source: response.into(),
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
