//! Reads an archive back and says whether it is still what was stored. Nothing on the disk is changed.

use std::sync::Arc;

use holdfast_db::backups;
use holdfast_domain::BackupState;
use holdfast_domain::job::Phase;
use holdfast_storage::ArchiveKey;

use crate::context::Context;
use crate::disk_access;
use crate::lease::Work;
use crate::outcome::{Done, NotDone};
use crate::verify_archive::{ArchiveCheck, VerifyError};

pub(crate) async fn run(context: &Arc<Context>, work: &Arc<Work>) -> Result<Done, NotDone> {
    work.enter(Phase::Verifying);
    let claim = &work.claim;
    let backup = backups::find(&context.database, claim.server, claim.backup)
        .await
        .map_err(|error| NotDone::database(&error))?;
    let Some(backup) = backup else {
        return Ok(Done::Nothing);
    };
    let BackupState::Completed(completed) = &backup.state else {
        return Ok(Done::Nothing);
    };
    let disk = disk_access::disk(context, &backup.disk, backup.node.as_ref())?;
    let examination = ArchiveCheck {
        disk,
        key: ArchiveKey {
            server: claim.server,
            backup: claim.backup,
            attempt: completed.attempt,
        },
        completed,
        control: &work.control,
        stop: work.stop_sign(),
        read_limit_bytes_per_second: context.options.read_limit_bytes_per_second,
    };
    match examination.run().await {
        Ok(verdict) => Ok(Done::Verified(verdict)),
        Err(VerifyError::Stopped) => Err(NotDone::Stopped),
        Err(VerifyError::Disk(error)) => Err(NotDone::disk(&error)),
        Err(VerifyError::Engine(detail)) => Err(NotDone::retry(
            "An unexpected error was encountered.",
            detail,
        )),
    }
}
