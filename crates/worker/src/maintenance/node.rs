//! The tasks of a node's leader: local disks and their permissions, and the leftovers of restores.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use holdfast_domain::error_chain::chain;

use super::runs::run_if_due;
use super::{service, staging};
use crate::context::Context;

pub(super) async fn run_due(
    context: Arc<Context>,
    is_new: bool,
    may_sweep: bool,
    stop: CancellationToken,
) {
    // The previous leader may have been killed, so a new one runs the task at once.
    let every = match is_new {
        true => Duration::ZERO,
        false => context.options.maintenance.interval,
    };
    if is_new {
        repair_permissions(&context, &stop).await;
    }
    let node = context.options.node.to_string();
    let sweep = staging::sweep(&context, &stop);
    run_if_due(&context, "staging", &node, every, sweep).await;
    for (_, disk) in context.disks.iter() {
        if disk.is_node_local() {
            service::sweep_disk(&context, disk, is_new, may_sweep, &stop).await;
        }
    }
}

/// Sets the permissions of files that an earlier version, or an operator, has left on local disks.
async fn repair_permissions(context: &Context, stop: &CancellationToken) {
    for (disk, files) in context.disks.iter() {
        let repaired = files.repair_permissions(|| stop.is_cancelled());
        if let Err(error) = repaired.await {
            tracing::warn!(
                %disk,
                error = chain(&error),
                "the permissions of a disk's files could not be checked; the next start tries again"
            );
        }
    }
}
