//! The endpoints under `/api/application/keys`.

mod create;
mod list;
mod revoke;

pub(crate) use create::*;
pub(crate) use list::*;
pub(crate) use revoke::*;
