//! Why a request of a panel to its node is refused: status, code and text. The texts are those of
//! Wings, where it has the same error.

use actix_web::http::StatusCode;

/// Why a request of a panel to its node is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeRefused {
    /// It has no token.
    TokenMissing,
    /// It has another token than the node's.
    WrongToken,
    /// The node does not have the backup.
    BackupUnknown,
    /// It contradicts what is registered here. The text says how.
    Conflict(&'static str),
}

impl NodeRefused {
    pub(super) fn status_and_code(self) -> (StatusCode, &'static str) {
        match self {
            Self::TokenMissing => (StatusCode::UNAUTHORIZED, "InvalidCredentialsException"),
            Self::WrongToken => (StatusCode::FORBIDDEN, "AccessDeniedHttpException"),
            Self::BackupUnknown => (StatusCode::NOT_FOUND, "NotFoundHttpException"),
            Self::Conflict(_) => (StatusCode::CONFLICT, "ConflictHttpException"),
        }
    }

    pub(super) fn detail(self) -> &'static str {
        match self {
            Self::TokenMissing => {
                "The required authorization heads were not present in the request."
            }
            Self::WrongToken => "You are not authorized to access this endpoint.",
            Self::BackupUnknown => "The requested backup was not found on this server.",
            Self::Conflict(text) => text,
        }
    }
}
