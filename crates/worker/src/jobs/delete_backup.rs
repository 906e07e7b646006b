//! Removes everything that a backup has on its disk. The row goes when the job
//! is settled, in the same transaction.

use std::sync::Arc;

use holdfast_db::backups;
use holdfast_domain::job::Phase;

use crate::context::Context;
use crate::disk_access;
use crate::lease::Work;
use crate::outcome::{Done, NotDone};

pub(crate) async fn run(context: &Arc<Context>, work: &Arc<Work>) -> Result<Done, NotDone> {
    work.enter(Phase::Deleting);
    let claim = &work.claim;
    let backup = backups::find(&context.database, claim.server, claim.backup)
        .await
        .map_err(|error| NotDone::database(&error))?;
    let Some(backup) = backup else {
        return Ok(Done::Nothing);
    };
    let disk = disk_access::disk(context, &backup.disk, backup.node.as_ref())?;
    work.unless_stopped(async {
        let deleted = disk.delete_backup(claim.server, claim.backup).await;
        deleted.map_err(|error| NotDone::disk(&error))
    })
    .await?;
    Ok(Done::Deleted)
}
