//! The endpoints under `/api/application/servers`.

mod change;
mod create;
mod delete;
mod fields;
mod list;
mod show;
mod state;

pub(crate) use change::*;
pub(crate) use create::*;
pub(crate) use delete::*;
#[cfg(fuzzing)]
pub(crate) use fields::ServerFields;
pub(crate) use list::*;
pub(crate) use show::*;
pub(crate) use state::*;
