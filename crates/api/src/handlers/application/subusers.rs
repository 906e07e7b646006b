//! The endpoints under `/api/application/servers/{server}/subusers`.

mod list;
mod remove;
mod set;

pub(crate) use list::*;
pub(crate) use remove::*;
pub(crate) use set::*;
