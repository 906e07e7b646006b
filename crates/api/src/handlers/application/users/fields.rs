//! What the endpoints that create and change users have in common.

use crate::error::ApiError;

/// Maps an error of saving a user: a used email address is a violation.
pub(super) fn map_save_error(error: holdfast_db::Error) -> ApiError {
    match error {
        holdfast_db::Error::Conflict { .. } => {
            ApiError::violation("email", "unique", "The email has already been taken.")
        }
        other => other.into(),
    }
}
