//! Which disks this node can reach: any of a store, and its own folders.
//!
//! Disks of one name may be folders on several nodes. What one node has made there is not on the other's, and must
//! not be taken for missing.

use holdfast_domain::{DiskName, NodeName};
use holdfast_storage::Disk;

use crate::context::Context;
use crate::outcome::{NotDone, Reason};

/// Returns the disk that holds what `node` has made.
pub(crate) fn disk<'a>(
    context: &'a Context,
    name: &DiskName,
    node: Option<&NodeName>,
) -> Result<&'a Disk, NotDone> {
    let disk = context
        .disks
        .get(name)
        .map_err(|error| NotDone::disk(&error))?;
    match node {
        Some(node) if disk.is_of_one_node() && *node != context.options.node => {
            Err(NotDone::terminal(
                format!("The archive lies on node {node}, where the server no longer is."),
                format!(
                    "disk {name} of node {node} is out of reach on node {}",
                    context.options.node
                ),
            )
            .because(Reason::ArchiveMissing))
        }
        _ => Ok(disk),
    }
}
