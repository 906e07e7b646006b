//! The endpoints below `/api/client/servers/{server}/backups`, as built.

mod create;
mod delete;
mod download;
mod list;
mod lock;
mod restore;
mod show;
