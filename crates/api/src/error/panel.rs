//! Why a request with the panel's credentials is refused: status, code and text, as panels have
//! them.

use actix_web::http::StatusCode;

use holdfast_domain::panel::PanelConflict;

/// Why a request with the panel's credentials is refused, where no other error says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PanelRefused {
    /// The panel has answered with 403, and this text.
    Forbidden { detail: String },
    /// The account needs a second factor first.
    TwoFactorRequired,
    /// The state of the server does not allow it.
    Conflict(PanelConflict),
    /// A request with cookies lacks the proof that a page of the panel has sent it.
    CsrfMismatch,
    /// The panel has not answered.
    Unavailable,
}

impl PanelRefused {
    pub(super) fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Forbidden { .. } => (StatusCode::FORBIDDEN, "AccessDeniedHttpException"),
            Self::TwoFactorRequired => (StatusCode::BAD_REQUEST, "TwoFactorAuthRequiredException"),
            Self::Conflict(_) => (StatusCode::CONFLICT, "ConflictingServerStateException"),
            Self::CsrfMismatch => (StatusCode::FORBIDDEN, "TokenMismatchException"),
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailableHttpException",
            ),
        }
    }

    pub(super) fn detail(&self) -> String {
        match self {
            Self::Forbidden { detail } if !detail.is_empty() => detail.clone(),
            Self::Forbidden { .. } => "The panel has refused these credentials.".into(),
            Self::TwoFactorRequired => {
                "Two-factor authentication is required on this account in order to access this \
                 endpoint."
                    .into()
            }
            Self::Conflict(PanelConflict::Suspended) => {
                "This server is currently suspended and the functionality requested is unavailable."
                    .into()
            }
            Self::Conflict(PanelConflict::NodeMaintenance) => {
                "The node of this server is currently under maintenance and the functionality \
                 requested is unavailable."
                    .into()
            }
            Self::Conflict(PanelConflict::NotInstalled) => {
                "This server has not yet completed its installation process, please try again \
                 later."
                    .into()
            }
            Self::Conflict(PanelConflict::Restoring) => {
                "This server is currently restoring from a backup, please try again later.".into()
            }
            Self::Conflict(PanelConflict::Transferring) => {
                "This server is currently being transferred to a new machine, please try again \
                 later."
                    .into()
            }
            Self::Conflict(PanelConflict::OtherStatus) => {
                "This server is not currently in a state that allows for a backup to be restored."
                    .into()
            }
            Self::CsrfMismatch => "CSRF token mismatch.".into(),
            Self::Unavailable => {
                "The panel that checks these credentials is not available right now. Please try \
                 again in a few seconds."
                    .into()
            }
        }
    }
}
