//! The endpoints under `/api/client/servers/{server}/backups`.

mod cancel;
mod contents;
mod create;
mod delete;
mod download;
mod events;
mod list;
mod lock;
mod rename;
mod restore;
mod show;
mod verify;

pub(crate) use cancel::*;
pub(crate) use contents::*;
pub(crate) use create::*;
pub(crate) use delete::*;
pub(crate) use download::*;
pub(crate) use events::*;
pub(crate) use list::*;
pub(crate) use lock::*;
pub(crate) use rename::*;
pub(crate) use restore::*;
pub(crate) use show::*;
pub(crate) use verify::*;
