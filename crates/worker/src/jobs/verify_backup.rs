//! Verifies that a backup's archive is still what was stored. Changes nothing on the disk.

use std::sync::Arc;

use holdfast_db::backups;
use holdfast_domain::BackupState;
use holdfast_domain::job::Phase;
use holdfast_storage::ArchiveKey;

use crate::context::Context;
use crate::lease::ActiveJob;
use crate::outcome::{JobError, JobSuccess};
use crate::verify_archive::{ArchiveCheck, VerifyError};
use crate::{background, disk_access};

pub(crate) async fn run(
    context: &Arc<Context>,
    job: &Arc<ActiveJob>,
) -> Result<JobSuccess, JobError> {
    job.set_phase(Phase::Verifying);
    let claim = &job.claim;
    let backup = backups::find(&context.database, claim.server, claim.backup)
        .await
        .map_err(|error| JobError::database(&error))?;
    let Some(backup) = backup else {
        return Ok(JobSuccess::NothingToDo);
    };
    let BackupState::Completed(completed) = &backup.state else {
        return Ok(JobSuccess::NothingToDo);
    };
    let disk = disk_access::disk(context, &backup.disk, backup.node.as_ref())?;
    let check = ArchiveCheck {
        disk,
        key: ArchiveKey {
            server: claim.server,
            backup: claim.backup,
            attempt: completed.attempt,
        },
        completed,
        control: &job.control,
        stop: job.stop_token(),
        read_limit_bytes_per_second: context.options.read_limit_bytes_per_second,
        priority: context.options.priority,
    };
    let _background = background::begin(context, job);
    match check.run().await {
        Ok(verdict) => Ok(JobSuccess::Verified(verdict)),
        Err(VerifyError::Stopped) => Err(JobError::Stopped),
        Err(VerifyError::Disk(error)) => Err(JobError::disk(&error)),
        Err(VerifyError::Engine(detail)) => Err(JobError::retryable(
            "An unexpected error was encountered.",
            detail,
        )),
    }
}
