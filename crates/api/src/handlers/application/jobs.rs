//! The endpoints under `/api/application/jobs`.

mod cancel;
mod list;
mod show;

pub(crate) use cancel::*;
pub(crate) use list::*;
pub(crate) use show::*;
