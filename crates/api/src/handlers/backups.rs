//! The endpoints under `/api/client/servers/{server}/backups`.

mod cancel;
mod create;
mod delete;
mod download;
mod list;
mod lock;
mod rename;
mod restore;
mod show;

pub(crate) use cancel::cancel;
pub(crate) use create::create;
pub(crate) use delete::delete;
pub(crate) use download::download;
pub(crate) use list::list;
pub(crate) use lock::{lock, unlock};
pub(crate) use rename::rename;
pub(crate) use restore::restore;
pub(crate) use show::show;
