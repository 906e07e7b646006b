//! The endpoints below `/api/client/servers/{server}/backups`.

mod cached_list;
mod cancel;
mod contents;
mod create;
mod delete;
mod download;
mod full;
mod list;
mod lock;
mod patterns;
mod ranges;
mod rename;
mod restore;
mod restore_paths;
mod show;
mod verify;
