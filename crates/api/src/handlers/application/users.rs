//! The endpoints under `/api/application/users`.

mod change;
mod create;
mod delete;
mod fields;
mod list;
mod show;

pub(crate) use change::*;
pub(crate) use create::*;
pub(crate) use delete::*;
pub(crate) use list::*;
pub(crate) use show::*;
