//! What clients of a panel look at before they come to backups: who they are, and which servers they have. Libraries
//! check a key by these, and make of a server what has backups. What Holdfast doesn't know of a server is empty.

mod account;
mod server;
mod servers;

use std::collections::BTreeSet;

use holdfast_domain::{Server, ServerId};

use crate::auth::Caller;
use crate::state::ApiState;
use crate::views::panel::Told;

pub(crate) use account::*;
pub(crate) use server::*;
pub(crate) use servers::*;

/// What the caller is told of a server, when those of `restoring` are being restored.
fn told<'a>(
    caller: &Caller,
    server: &'a Server,
    restoring: &BTreeSet<ServerId>,
    state: &ApiState,
) -> Told<'a> {
    let backups = server.limits.backups;
    Told {
        server,
        is_owner: server.owner == caller.user,
        is_restoring: restoring.contains(&server.id),
        backups: backups.unwrap_or(state.options.backups_per_server),
    }
}
