//! Which disks hold archives, according to the database.

use std::collections::BTreeSet;

use holdfast_domain::{DiskName, NodeName};

use crate::error::Error;
use crate::pool::Database;

/// Returns which of these local disks of a node hold archives of completed backups.
///
/// # Errors
/// If the database can't be read.
pub async fn disks_in_use(
    database: &Database,
    node: &NodeName,
    disks: impl Iterator<Item = &DiskName>,
) -> Result<BTreeSet<DiskName>, Error> {
    let mut in_use = BTreeSet::new();
    for disk in disks {
        // Backups without a node may be on any node. Two conditions, each of which an index
        // answers.
        let is_in_use = sqlx::query_scalar!(
            r#"SELECT EXISTS (
                   SELECT 1 FROM backups WHERE disk = $1 AND node = $2 AND state = 'completed'
               ) OR EXISTS (
                   SELECT 1 FROM backups WHERE disk = $1 AND node IS NULL AND state = 'completed'
               ) AS "is_in_use!""#,
            disk.as_str(),
            node.as_str(),
        )
        .fetch_one(database.pool())
        .await?;
        if is_in_use {
            in_use.insert(disk.clone());
        }
    }
    Ok(in_use)
}
