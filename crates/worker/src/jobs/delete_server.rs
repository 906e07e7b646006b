//! Removes what a server has on its disks, backup by backup: each object first, then its row, so
//! that what is left after a kill, or when the deletion fails for good, is still told of. The
//! server's row goes when the job is settled. The server's directory is never touched.

use std::sync::Arc;

use holdfast_db::servers;
use holdfast_domain::BackupId;
use holdfast_domain::job::{DeleteServerArgs, Phase, ServerBackupsAction};
use holdfast_storage::Disk;

use crate::context::Context;
use crate::disk_access;
use crate::lease::Work;
use crate::outcome::{Done, NotDone};

/// How many backups are looked up at once.
const BATCH: u32 = 100;

pub(crate) async fn run(context: &Arc<Context>, work: &Arc<Work>) -> Result<Done, NotDone> {
    work.enter(Phase::Deleting);
    let claim = &work.claim;
    let args: DeleteServerArgs = serde_json::from_value(claim.args.clone()).map_err(|error| {
        NotDone::terminal("An unexpected error was encountered.", error.to_string())
    })?;
    match args.backups {
        ServerBackupsAction::Keep => {}
        ServerBackupsAction::Delete => loop {
            let some = servers::list_some_backups(&context.database, claim.server, BATCH)
                .await
                .map_err(|error| NotDone::database(&error))?;
            if some.is_empty() {
                break;
            }
            for (backup, disk, node) in some {
                work.go_on()?;
                let disk = disk_access::disk(context, &disk, node.as_ref())?;
                delete(context, work, backup, disk).await?;
            }
        },
    }
    Ok(Done::ServerDeleted)
}

async fn delete(
    context: &Context,
    work: &Work,
    backup: BackupId,
    disk: &Disk,
) -> Result<(), NotDone> {
    let claim = &work.claim;
    work.unless_stopped(async {
        let deleted = disk.delete_backup(claim.server, backup).await;
        deleted.map_err(|error| NotDone::disk(&error))
    })
    .await?;
    let forget = async {
        let mut transaction = context.database.begin().await?;
        let ours = servers::delete_backup(&mut transaction, claim, backup).await?;
        transaction.commit().await?;
        Ok::<bool, holdfast_db::Error>(ours)
    };
    match forget.await {
        Ok(true) => Ok(()),
        Ok(false) => Err(NotDone::Stopped),
        Err(error) => Err(NotDone::database(&error)),
    }
}
