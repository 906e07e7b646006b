//! The endpoints that clients of a panel request before they request backups: the account and its
//! servers.
//!
//! Libraries validate a key with them, and read the servers' UUIDs from them. Fields for which
//! Holdfast has no value are empty.

mod account;
mod server;
mod servers;
mod summary;

pub(crate) use account::*;
pub(crate) use server::*;
pub(crate) use servers::*;
