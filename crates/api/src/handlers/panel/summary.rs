//! What the two endpoints about servers have in common.

use std::collections::BTreeSet;

use holdfast_domain::{Server, ServerId};

use crate::auth::Caller;
use crate::state::ApiState;
use crate::views::panel::ServerSummary;

/// Returns the summary of a server. `restoring` contains the servers with an unfinished restore.
pub(super) fn summarize<'a>(
    caller: &Caller,
    server: &'a Server,
    restoring: &BTreeSet<ServerId>,
    state: &ApiState,
) -> ServerSummary<'a> {
    let own = server.limits.backups;
    let own = own.unwrap_or(state.options.backups_per_server);
    ServerSummary {
        server,
        is_owner: caller.owns(server),
        is_restoring: restoring.contains(&server.id),
        backup_limit: caller.backup_limit().unwrap_or(own),
    }
}
