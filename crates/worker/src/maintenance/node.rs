//! What is due on this node: the folders that are disks, and what restores have left.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::runs::run_if_due;
use super::{service, staging};
use crate::context::Context;

pub(super) async fn run_due(
    context: Arc<Context>,
    is_new: bool,
    may_sweep: bool,
    stop: CancellationToken,
) {
    // Whoever begins here follows somebody who may have been killed.
    let every = match is_new {
        true => Duration::ZERO,
        false => context.options.keeping.interval,
    };
    let node = context.options.node.to_string();
    let left = staging::sweep(&context, &stop);
    run_if_due(&context, "staging", &node, every, left).await;
    for (_, disk) in context.disks.iter() {
        if disk.is_of_one_node() {
            service::sweep_disk(&context, disk, is_new, may_sweep, &stop).await;
        }
    }
}
