//! The endpoints below `/api/client/servers/{server}/backups`.

mod cancel;
mod contents;
mod create;
mod delete;
mod download;
mod list;
mod lock;
mod polled;
mod ranges;
mod rename;
mod restore;
mod show;
mod verify;
