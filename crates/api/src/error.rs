//! The errors of the API, and the only mapping from errors to HTTP: status, code and text.
//!
//! The matches have no `_` arm, so that a new error does not compile until it is mapped here.
//! `views::errors` builds the answer.

mod node;
mod panel;
mod schedules;
mod words;

use std::net::IpAddr;

use actix_web::http::StatusCode;

use holdfast_domain::backup::{DeleteRefused, NotCompleted};
use holdfast_domain::error_chain::chain;
use holdfast_domain::key::KeyKind;
use holdfast_domain::limit::{CreateRefused, ServerBusy, Throttle};

pub(crate) use self::node::NodeRefused;
pub(crate) use self::panel::PanelRefused;
pub(crate) use self::schedules::ScheduleRefused;
use self::words::{busy_reason, participle};
use crate::violation::Violation;

/// The reason why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.detail())]
pub(crate) enum ApiError {
    /// There is no such path, server or backup, or the caller has no access to it.
    NotFound,
    /// The path does not support this method.
    MethodNotAllowed { method: String, allow: &'static str },
    /// The key is missing or invalid.
    InvalidCredentials,
    /// The request of a panel to its node is refused.
    Node(NodeRefused),
    /// The caller has exceeded the rate limit of this minute.
    TooManyRequests { retry_after_seconds: u32 },
    /// The key or this process has reached its limit of open streams.
    TooManyStreams,
    /// The key's list of allowed addresses does not contain the caller's address.
    AddressNotAllowed { address: Option<IpAddr> },
    /// The caller's address is in none of the networks that may read the metrics.
    MetricsNotAllowed { address: Option<IpAddr> },
    /// A client key was used on the application API, or an application key on the client API.
    WrongKeyKind { needed: KeyKind },
    /// The caller lacks a permission.
    Forbidden,
    /// The body is neither a JSON object nor a form.
    Malformed,
    /// Another part of the request is invalid.
    BadRequest,
    /// The settings do not list the host that the request names.
    HostNotAllowed,
    /// The body did not arrive in time.
    BodyTimeout,
    /// The body is larger than the setting allows.
    BodyTooLarge,
    /// Fields of the request are invalid.
    Invalid(Vec<Violation>),
    /// The operation needs a completed backup.
    NotCompleted(NotCompleted),
    /// The backup cannot be created.
    Create(CreateRefused),
    /// The restore cannot start.
    Restore(ServerBusy),
    /// The backup cannot be deleted.
    Delete(DeleteRefused),
    /// The backup cannot be cancelled because it has already ended.
    BackupEnded,
    /// The schedule or its task cannot be created, changed or run.
    Schedule(ScheduleRefused),
    /// The panel, or its state, refuses a request with the panel's credentials.
    Panel(PanelRefused),
    /// The server cannot be deleted.
    DeleteServer(ServerBusy),
    /// The server's node or directory cannot be changed.
    MoveServer(ServerBusy),
    /// The user owns servers.
    OwnsServers,
    /// The user is the only administrator.
    LastAdmin,
    /// A worker is running the job.
    JobRunning,
    /// The job has ended.
    JobEnded,
    /// The archive could not be removed. The backup is unchanged.
    DeleteFailed,
    /// The disk can be reached, but the archive is not on it.
    ArchiveMissing,
    /// The disk can be reached, but the archive's index is missing or damaged.
    IndexMissing,
    /// The archive is damaged.
    ArchiveDamaged,
    /// The archive is on the local disk of another node.
    OnAnotherNode,
    /// The path is not a folder in the backup.
    NotAFolder,
    /// The path is not a file in the backup.
    NotAFile,
    /// The download link has expired or was modified, or its key was revoked.
    InvalidDownload,
    /// The requested range is outside the file.
    RangeNotSatisfiable,
    /// The condition of an `If-…` header is not met.
    PreconditionFailed,
    /// The database or a disk cannot be reached. The same request may succeed later.
    Unavailable,
    /// A defect in the service. The cause is logged, and not sent to the client.
    Internal,
}

impl ApiError {
    /// Returns an error for a single violation, such as one that only the database can detect.
    pub(crate) fn violation(field: &str, rule: &'static str, detail: impl Into<String>) -> Self {
        Self::Invalid(vec![Violation::new(field, rule, detail)])
    }

    /// Returns the HTTP status and the error code of the reference document.
    pub(crate) fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NotFound | Self::ArchiveMissing | Self::IndexMissing => {
                (StatusCode::NOT_FOUND, "NotFoundHttpException")
            }
            Self::MethodNotAllowed { .. } => (
                StatusCode::METHOD_NOT_ALLOWED,
                "MethodNotAllowedHttpException",
            ),
            Self::InvalidCredentials => (StatusCode::UNAUTHORIZED, "InvalidCredentialsException"),
            Self::AddressNotAllowed { .. }
            | Self::MetricsNotAllowed { .. }
            | Self::WrongKeyKind { .. } => (StatusCode::FORBIDDEN, "AccessDeniedHttpException"),
            Self::TooManyRequests { .. }
            | Self::TooManyStreams
            | Self::Create(CreateRefused::Throttled(_)) => (
                StatusCode::TOO_MANY_REQUESTS,
                "TooManyRequestsHttpException",
            ),
            Self::Forbidden => (StatusCode::FORBIDDEN, "InsufficientPermissionsException"),
            Self::Malformed
            | Self::BadRequest
            | Self::HostNotAllowed
            | Self::NotAFolder
            | Self::NotAFile => (StatusCode::BAD_REQUEST, "BadRequestHttpException"),
            Self::BodyTimeout => (StatusCode::REQUEST_TIMEOUT, "RequestTimeoutHttpException"),
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLargeException"),
            Self::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "ValidationException"),
            Self::NotCompleted(NotCompleted::Creating(_)) => {
                (StatusCode::BAD_REQUEST, "BackupNotCompletedException")
            }
            Self::NotCompleted(NotCompleted::Failed(_)) => {
                (StatusCode::BAD_REQUEST, "BackupFailedException")
            }
            Self::Create(CreateRefused::TooMany) => {
                (StatusCode::BAD_REQUEST, "TooManyBackupsException")
            }
            Self::Create(CreateRefused::NoSpace) => (
                StatusCode::INSUFFICIENT_STORAGE,
                "InsufficientStorageException",
            ),
            Self::Create(CreateRefused::Busy(_))
            | Self::Restore(_)
            | Self::BackupEnded
            | Self::DeleteServer(_)
            | Self::MoveServer(_)
            | Self::Delete(DeleteRefused::Creating | DeleteRefused::Restoring) => {
                (StatusCode::CONFLICT, "ConflictingServerStateException")
            }
            Self::Delete(DeleteRefused::Locked) => {
                (StatusCode::BAD_REQUEST, "BackupIsLockedException")
            }
            Self::OwnsServers
            | Self::LastAdmin
            | Self::JobRunning
            | Self::JobEnded
            | Self::OnAnotherNode => (StatusCode::CONFLICT, "ConflictHttpException"),
            Self::Schedule(refused) => refused.status_and_code(),
            Self::Node(refused) => refused.status_and_code(),
            Self::Panel(refused) => refused.status_and_code(),
            Self::DeleteFailed | Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailableHttpException",
            ),
            Self::InvalidDownload => (StatusCode::FORBIDDEN, "InvalidDownloadTokenException"),
            Self::RangeNotSatisfiable => (
                StatusCode::RANGE_NOT_SATISFIABLE,
                "RangeNotSatisfiableHttpException",
            ),
            Self::PreconditionFailed => (
                StatusCode::PRECONDITION_FAILED,
                "PreconditionFailedHttpException",
            ),
            Self::ArchiveDamaged | Self::Internal => {
                (StatusCode::INTERNAL_SERVER_ERROR, "HttpException")
            }
        }
    }

    /// Returns the text for the user.
    pub(crate) fn detail(&self) -> String {
        match self {
            Self::NotFound => "The requested resource could not be found.".into(),
            Self::MethodNotAllowed { method, .. } => {
                format!("The {method} method is not supported for this route.")
            }
            Self::InvalidCredentials => "The credentials provided were invalid.".into(),
            Self::AddressNotAllowed { address } => {
                let address =
                    address.map_or_else(|| "unknown".to_owned(), |address| address.to_string());
                format!(
                    "This IP address ({address}) does not have permission to access the API using \
                     these credentials."
                )
            }
            Self::MetricsNotAllowed { address } => {
                let address = address.map_or_else(
                    || "behind an unknown proxy".to_owned(),
                    |address| address.to_string(),
                );
                format!("This IP address ({address}) may not see the metrics of this service.")
            }
            Self::WrongKeyKind { needed } => {
                let (used, needed) = match needed {
                    KeyKind::Client => ("an application", "a client"),
                    KeyKind::Application => ("a client", "an application"),
                };
                format!(
                    "You are attempting to use {used} API key on an endpoint that requires \
                     {needed} API key."
                )
            }
            Self::Forbidden => "This action requires additional permissions.".into(),
            Self::Malformed => {
                "The JSON data passed in the request appears to be malformed.".into()
            }
            Self::BadRequest => "The request could not be understood.".into(),
            Self::HostNotAllowed => {
                "The service does not answer to the host of this request.".into()
            }
            Self::BodyTimeout => "The request took too long to arrive.".into(),
            Self::BodyTooLarge => "The request body is too large.".into(),
            Self::Invalid(_) => "The given data was invalid.".into(),
            Self::NotCompleted(NotCompleted::Creating(purpose)) => {
                format!(
                    "This backup has not completed yet and cannot be {}.",
                    participle(*purpose)
                )
            }
            Self::NotCompleted(NotCompleted::Failed(purpose)) => {
                format!("This backup failed and cannot be {}.", participle(*purpose))
            }
            Self::TooManyRequests { .. } => "Too many requests, please slow down.".into(),
            Self::TooManyStreams => {
                "Too many event streams are open, please close one first.".into()
            }
            Self::Create(CreateRefused::Throttled(Throttle { count, seconds })) => {
                format!(
                    "Only {count} backups may be generated within a {seconds} second span of time."
                )
            }
            Self::Create(CreateRefused::TooMany) => {
                "This server has reached its backup limit.".into()
            }
            Self::Create(CreateRefused::NoSpace) => {
                "Not enough storage space available for backup.".into()
            }
            Self::Create(CreateRefused::Busy(busy)) => {
                let why = match busy {
                    ServerBusy::Installing => "server is installing",
                    ServerBusy::Suspended => "server is suspended",
                    ServerBusy::BackingUp => "another backup is in progress",
                    ServerBusy::Restoring => "a restore is in progress",
                };
                format!("Cannot create backup while {why}.")
            }
            Self::Restore(busy) => {
                let why = match busy {
                    ServerBusy::Installing => "server is installing",
                    ServerBusy::Suspended => "server is suspended",
                    ServerBusy::BackingUp => "another backup is in progress",
                    ServerBusy::Restoring => "another restore is in progress",
                };
                format!("Cannot restore backup while {why}.")
            }
            Self::Delete(DeleteRefused::Creating) => {
                "Cannot delete backup while it is being created.".into()
            }
            Self::Delete(DeleteRefused::Restoring) => {
                "Cannot delete backup while it is being restored.".into()
            }
            Self::Delete(DeleteRefused::Locked) => {
                "This backup is locked and cannot be deleted.".into()
            }
            Self::BackupEnded => "Cannot cancel a backup that has already ended.".into(),
            Self::Schedule(refused) => refused.detail(),
            Self::Node(refused) => refused.detail().into(),
            Self::Panel(refused) => refused.detail(),
            Self::DeleteFailed => {
                "The storage of this backup could not be reached. The backup has been kept; \
                 please try again later."
                    .into()
            }
            Self::ArchiveMissing => {
                "The archive of this backup is missing from its storage.".into()
            }
            Self::IndexMissing => {
                "The index of this backup is missing from its storage, or damaged. The backup can \
                 still be downloaded as a whole."
                    .into()
            }
            Self::ArchiveDamaged => "The archive of this backup is damaged.".into(),
            Self::OnAnotherNode => {
                "This backup is stored on another node, from where it can only be downloaded as a \
                 whole."
                    .into()
            }
            Self::NotAFolder => "The requested path is not a folder of this backup.".into(),
            Self::NotAFile => "The requested path is not a file of this backup.".into(),
            Self::InvalidDownload => "This download link is invalid or has expired.".into(),
            Self::RangeNotSatisfiable => "The requested range lies outside of the file.".into(),
            Self::PreconditionFailed => "A precondition of the request does not hold.".into(),
            Self::Unavailable => {
                "The service is not available right now. Please try again in a few seconds.".into()
            }
            Self::DeleteServer(busy) => {
                format!("Cannot delete server while {}.", busy_reason(*busy))
            }
            Self::MoveServer(busy) => format!(
                "Cannot change the server's node or directory while {}.",
                busy_reason(*busy)
            ),
            Self::LastAdmin => {
                "This user is the only administrator, and cannot be demoted or deleted. Make \
                 another user an administrator first."
                    .into()
            }
            Self::OwnsServers => {
                "This user owns servers and cannot be deleted. Delete the servers first, or give \
                 them to another owner."
                    .into()
            }
            Self::JobRunning => "This job is being worked on and cannot be cancelled.".into(),
            Self::JobEnded => "This job has ended and cannot be cancelled.".into(),
            Self::Internal => {
                "An unexpected error was encountered while processing this request.".into()
            }
        }
    }
}

impl From<holdfast_db::Error> for ApiError {
    fn from(error: holdfast_db::Error) -> Self {
        if let holdfast_db::Error::Missing { constraint } = &error {
            // Another request deleted the object after this one had loaded it.
            tracing::debug!(constraint, "the object of a request was deleted meanwhile");
            Self::NotFound
        } else if error.is_temporary() {
            tracing::warn!(error = chain(&error), "the database is unavailable");
            Self::Unavailable
        } else {
            tracing::error!(error = chain(&error), "a database query failed");
            Self::Internal
        }
    }
}

impl From<holdfast_storage::Error> for ApiError {
    fn from(error: holdfast_storage::Error) -> Self {
        tracing::error!(error = chain(&error), "cannot read an archive");
        match error {
            // The disk was reached, so a retry would not help.
            holdfast_storage::Error::NotFound { .. } => Self::ArchiveMissing,
            _ => Self::Unavailable,
        }
    }
}
