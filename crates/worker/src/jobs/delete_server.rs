//! Deletes a server's backups one by one: first the objects of a backup, then its row. So if the
//! job fails or is killed, every backup that still has objects also has its row.
//!
//! The server's row is deleted in the transaction that records the job's result. This module must
//! never touch the server's directory.

use std::sync::Arc;

use holdfast_db::servers;
use holdfast_domain::BackupId;
use holdfast_domain::job::{DeleteServerArgs, Phase, ServerBackupsAction};
use holdfast_storage::Disk;

use crate::context::Context;
use crate::disk_access;
use crate::lease::ActiveJob;
use crate::outcome::{JobError, JobSuccess};

/// How many backups one query reads.
const BACKUPS_PER_QUERY: u32 = 100;

pub(crate) async fn run(
    context: &Arc<Context>,
    job: &Arc<ActiveJob>,
) -> Result<JobSuccess, JobError> {
    job.set_phase(Phase::Deleting);
    let claim = &job.claim;
    let args: DeleteServerArgs = serde_json::from_value(claim.args.clone()).map_err(|error| {
        JobError::permanent("An unexpected error was encountered.", error.to_string())
    })?;
    match args.backups {
        ServerBackupsAction::Keep => {}
        ServerBackupsAction::Delete => loop {
            let backups =
                servers::list_some_backups(&context.database, claim.server, BACKUPS_PER_QUERY)
                    .await
                    .map_err(|error| JobError::database(&error))?;
            if backups.is_empty() {
                break;
            }
            for (backup, disk, node) in backups {
                job.check_stop()?;
                let disk = disk_access::disk(context, &disk, node.as_ref())?;
                delete(context, job, backup, disk).await?;
            }
        },
    }
    Ok(JobSuccess::ServerDeleted)
}

async fn delete(
    context: &Context,
    job: &ActiveJob,
    backup: BackupId,
    disk: &Disk,
) -> Result<(), JobError> {
    let claim = &job.claim;
    job.unless_stopped(async {
        let deleted = disk.delete_backup(claim.server, backup).await;
        deleted.map_err(|error| JobError::disk(&error))
    })
    .await?;
    let delete_row = async {
        let mut transaction = context.database.begin().await?;
        let is_claimed = servers::delete_backup(&mut transaction, claim, backup).await?;
        transaction.commit().await?;
        Ok::<bool, holdfast_db::Error>(is_claimed)
    };
    match delete_row.await {
        Ok(true) => Ok(()),
        Ok(false) => Err(JobError::Stopped),
        Err(error) => Err(JobError::database(&error)),
    }
}
