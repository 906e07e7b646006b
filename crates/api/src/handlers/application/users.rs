//! The endpoints under `/api/application/users`.

mod change;
mod create;
mod delete;
mod list;
mod show;

pub(crate) use change::*;
pub(crate) use create::*;
pub(crate) use delete::*;
pub(crate) use list::*;
pub(crate) use show::*;

use crate::error::ApiError;
use crate::input::Violation;

/// What a database's refusal to store a user means.
fn refused(error: holdfast_db::Error) -> ApiError {
    match error {
        holdfast_db::Error::Conflict { .. } => {
            Violation::alone("email", "unique", "The email has already been taken.")
        }
        other => other.into(),
    }
}
