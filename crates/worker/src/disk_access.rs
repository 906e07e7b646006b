//! The disks that this node can reach: every shared disk, and its own local folders.
//!
//! A local disk of the same name is a different folder on each node. An archive that another node
//! wrote to its folder is out of reach here, and must not be taken for missing.

use holdfast_domain::{DiskName, NodeName};
use holdfast_storage::Disk;

use crate::context::Context;
use crate::outcome::{FailureReason, JobError};

/// Returns the disk `name` that holds an archive written by `node`.
///
/// # Errors
/// If the disk is unknown, or is a local folder of another node.
pub(crate) fn disk<'a>(
    context: &'a Context,
    name: &DiskName,
    node: Option<&NodeName>,
) -> Result<&'a Disk, JobError> {
    let disk = context
        .disks
        .get(name)
        .map_err(|error| JobError::disk(&error))?;
    match node {
        Some(node) if disk.is_node_local() && *node != context.options.node => {
            Err(JobError::permanent(
                format!("The archive is on node {node}, but the server has moved to another node."),
                format!(
                    "disk {name} of node {node} cannot be reached from node {}",
                    context.options.node
                ),
            )
            .with_reason(FailureReason::ArchiveMissing))
        }
        _ => Ok(disk),
    }
}
