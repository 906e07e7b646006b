//! What clients of a panel look at before they come to backups: who they are, and which servers they have. Libraries
//! check a key by these, and make of a server what has backups. What Holdfast doesn't know of a server is empty.

mod account;
mod server;
mod servers;

pub(crate) use account::*;
pub(crate) use server::*;
pub(crate) use servers::*;
