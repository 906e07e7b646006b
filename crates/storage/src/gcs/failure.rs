//! What a failure at Google means: for the caller, who may try again or not, and for whoever has to
//! mend it. URLs are left out of all texts: that of an upload's session opens it to anybody.

use std::error::Error as StdError;
use std::fmt;

use serde::Deserialize;

use super::GcsDisk;
use super::account::SigningFailed;
use crate::error::{Error, advice_on_tls};

/// The longest word of a server that is passed on, in characters.
const LONGEST: usize = 300;

/// Why a request did not succeed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server said no.
    Refused(Answer),
    /// The token server said no.
    NoToken(Answer),
    /// The connection came to nothing for its TLS, and what to do about it.
    Tls(&'static str, Box<dyn StdError + Send + Sync>),
    /// There was no answer, or none that makes sense.
    Broken(Box<dyn StdError + Send + Sync>),
}

/// What a server said. Its message never holds a secret: it has none of ours.
#[derive(Debug)]
pub(super) struct Answer {
    status: u16,
    reason: String,
    message: String,
}

/// The shapes of refusals: that of the storage API, and that of the token server.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    error: Said,
    error_description: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Said {
    Code(String),
    Whole {
        #[serde(default)]
        message: String,
        #[serde(default)]
        errors: Vec<Detail>,
    },
}

impl Default for Said {
    fn default() -> Self {
        Self::Code(String::new())
    }
}

#[derive(Deserialize)]
struct Detail {
    #[serde(default)]
    reason: String,
}

impl Answer {
    pub(super) fn read(status: u16, body: &[u8]) -> Self {
        let (reason, message) = match serde_json::from_slice(body).unwrap_or_default() {
            Body {
                error: Said::Code(code),
                error_description,
            } if code.is_empty() => {
                // Uploads are refused in plain text.
                let is_text = !body.starts_with(b"<") && error_description.is_empty();
                let text = if is_text {
                    String::from_utf8_lossy(body).into_owned()
                } else {
                    error_description
                };
                (code, text)
            }
            Body {
                error: Said::Code(code),
                error_description,
            } => (code, error_description),
            Body {
                error: Said::Whole { message, errors },
                ..
            } => {
                let reason = errors.into_iter().next().map(|detail| detail.reason);
                (reason.unwrap_or_default(), message)
            }
        };
        let short = |text: String| text.trim().chars().take(LONGEST).collect();
        Self {
            status,
            reason: short(reason),
            message: short(message),
        }
    }

    fn says(&self, words: &[&str]) -> bool {
        let message = self.message.to_lowercase();
        words.iter().any(|word| message.contains(word))
    }

    /// Says whether it is a matter of too much at once.
    fn is_about_pace(&self) -> bool {
        matches!(
            self.reason.as_str(),
            "rateLimitExceeded" | "userRateLimitExceeded" | "backendError" | "internalError"
        )
    }

    /// Says whether what arrived was not what was sent.
    fn is_about_checksum(&self) -> bool {
        self.status == 400 && self.says(&["crc32c"])
    }
}

impl fmt::Display for Answer {
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

impl StdError for Answer {}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(answer) | Self::NoToken(answer) => answer.fmt(formatter),
            Self::Tls(_, source) | Self::Broken(source) => {
                formatter.write_str(&holdfast_domain::error_chain::chain(&**source))
            }
        }
    }
}

impl From<SigningFailed> for Failure {
    fn from(error: SigningFailed) -> Self {
        Self::Broken(error.into())
    }
}

impl Failure {
    /// No answer came.
    pub(super) fn lost(error: reqwest::Error) -> Self {
        let advice = advice_on_tls(&error);
        let source = error.without_url().into();
        match advice {
            Some(advice) => Self::Tls(advice, source),
            None => Self::Broken(source),
        }
    }

    /// The same of the token server.
    pub(super) fn of_token(self) -> Self {
        match self {
            Self::Refused(answer) => Self::NoToken(answer),
            other => other,
        }
    }

    /// The server's status, if it was the storage that answered.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(answer) => Some(answer.status),
            Self::NoToken(_) | Self::Tls(..) | Self::Broken(_) => None,
        }
    }

    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Refused(answer) | Self::NoToken(answer) => {
                let is_passing = matches!(answer.status, 408 | 409 | 425 | 429 | 500 | 502..=599);
                is_passing || answer.is_about_pace() || answer.is_about_checksum()
            }
            Self::Tls(..) => false,
            Self::Broken(_) => true,
        }
    }
}

impl GcsDisk {
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

    /// Tells what a failed request means that was about an object.
    pub(super) fn failed(&self, object: impl ToString, failure: Failure) -> Error {
        match failure {
            Failure::Broken(source) => self.broken(object, source),
            Failure::Tls(advice, source) => self.misconfigured(advice.to_owned(), source),
            failure if failure.may_pass() => {
                let source = failure.to_string();
                self.broken(object, source)
            }
            Failure::NoToken(answer) => self.no_token(object.to_string(), answer),
            Failure::Refused(answer) => self.refused(object.to_string(), answer),
        }
    }

    /// Tells what a failed request means that was about the bucket: what is missing is that.
    pub(super) fn failed_on_bucket(&self, object: impl ToString, failure: Failure) -> Error {
        match failure {
            Failure::Refused(answer) if answer.status == 404 => self.no_bucket(answer),
            failure => self.failed(object, failure),
        }
    }

    fn account(&self) -> &str {
        let account = self.options.account.as_deref();
        account.map_or("nobody", |account| account.email())
    }

    fn no_token(&self, object: String, answer: Answer) -> Error {
        if answer.says(&[
            "reasonable timeframe",
            "iat and exp",
            "token used too early",
        ]) {
            let advice = "the clocks of this machine and of Google differ by too much: set this \
                          machine's clock, best by NTP";
            return self.misconfigured(advice.to_owned(), answer);
        }
        let account = self.account();
        let advice = format!(
            "the key of service account `{account}` was not taken: it may have been deleted or \
             disabled, or have expired; make another one and check service_account_file"
        );
        self.denied(object, advice, answer)
    }

    fn no_bucket(&self, answer: Answer) -> Error {
        let (bucket, at) = (&self.options.bucket, self.options.base());
        let advice = format!("there is no bucket `{bucket}` at {at}: check bucket and endpoint");
        self.misconfigured(advice, answer)
    }

    fn refused(&self, object: String, answer: Answer) -> Error {
        let (bucket, account) = (&self.options.bucket, self.account());
        match answer.status {
            404 if answer.says(&["bucket does not exist"]) => self.no_bucket(answer),
            404 | 410 => Error::NotFound { object },
            412 => Error::Exists {
                disk: self.name.to_string(),
                object,
            },
            413 => Error::Full {
                disk: self.name.to_string(),
                object,
            },
            401 => {
                let advice = format!(
                    "bucket `{bucket}` was not opened to {account}: check service_account_file"
                );
                self.denied(object, advice, answer)
            }
            403 if answer.says(&["billing", "account disabled", "delinquent"])
                || answer.reason == "accountDisabled" =>
            {
                let advice =
                    format!("the project of bucket `{bucket}` is not paid for: check its billing");
                self.denied(object, advice, answer)
            }
            403 if answer.reason == "retentionPolicyNotMet" || answer.says(&["retention"]) => {
                let advice = format!("the retention policy of bucket `{bucket}` keeps its objects");
                self.denied(object, advice, answer)
            }
            403 => {
                let advice = format!(
                    "{account} may not do this in bucket `{bucket}`: give the account the role Storage \
                     Object Admin (roles/storage.objectAdmin) there"
                );
                self.denied(object, advice, answer)
            }
            _ => {
                let advice = format!(
                    "the server of bucket `{bucket}` does not take such requests: check endpoint"
                );
                self.misconfigured(advice, answer)
            }
        }
    }

    fn denied(&self, object: String, advice: String, answer: Answer) -> Error {
        Error::Denied {
            disk: self.name.to_string(),
            object,
            advice,
            source: answer.into(),
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
