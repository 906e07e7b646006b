//! What a worker does for the panel of its node: tells it how backups and restores ended, and keeps
//! the list of its servers.

pub(crate) mod callbacks;
mod client;
mod health;
pub(crate) mod servers;
