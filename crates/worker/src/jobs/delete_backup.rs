//! Deletes a backup's objects from its disk. Its row is deleted later, in the transaction that
//! records the job's result.

use std::sync::Arc;

use holdfast_db::backups;
use holdfast_domain::job::Phase;

use crate::context::Context;
use crate::disk_access;
use crate::lease::ActiveJob;
use crate::outcome::{JobError, JobSuccess};

pub(crate) async fn run(
    context: &Arc<Context>,
    job: &Arc<ActiveJob>,
) -> Result<JobSuccess, JobError> {
    job.set_phase(Phase::Deleting);
    let claim = &job.claim;
    let backup = backups::find(&context.database, claim.server, claim.backup)
        .await
        .map_err(|error| JobError::database(&error))?;
    let Some(backup) = backup else {
        return Ok(JobSuccess::NothingToDo);
    };
    let disk = disk_access::disk(context, &backup.disk, backup.node.as_ref())?;
    job.unless_stopped(async {
        let deleted = disk.delete_backup(claim.server, claim.backup).await;
        deleted.map_err(|error| JobError::disk(&error))
    })
    .await?;
    Ok(JobSuccess::Deleted)
}
