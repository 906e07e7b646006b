//! Puts an archive's contents back: verified, unpacked beside the server's
//! directory, and only then swapped. Whatever fails before the swap, the
//! server's files are as they were.

use std::sync::Arc;

use holdfast_archive::{Expected, RestoreOptions};
use holdfast_db::jobs::{self, HeartbeatReply};
use holdfast_db::{backups, servers};
use holdfast_domain::backup::BackupOperation;
use holdfast_domain::job::{Phase, RestoreArgs};
use holdfast_domain::{BackupState, ServerRef};
use holdfast_storage::{ArchiveKey, StorageKey};

use crate::context::Context;
use holdfast_domain::error_chain::chain;

use crate::disk_access;
use crate::fetch;
use crate::lease::Work;
use crate::outcome::{Done, NotDone, Reason};
use crate::power::Halt;
use crate::server_directory;

pub(crate) async fn run(context: &Arc<Context>, work: &Arc<Work>) -> Result<Done, NotDone> {
    work.enter(Phase::Verifying);
    let claim = &work.claim;
    let args: RestoreArgs = serde_json::from_value(claim.args.clone()).map_err(|error| {
        NotDone::terminal("An unexpected error was encountered.", error.to_string())
    })?;
    let server = servers::find(&context.database, &ServerRef::Id(claim.server))
        .await
        .map_err(|error| NotDone::database(&error))?;
    let backup = backups::find(&context.database, claim.server, claim.backup)
        .await
        .map_err(|error| NotDone::database(&error))?;
    let (Some(server), Some(backup)) = (server, backup) else {
        return Err(NotDone::terminal(
            "The backup is gone.",
            format!("backup {} is gone", claim.backup),
        )
        .because(Reason::ArchiveMissing));
    };
    let completed = match &backup.state {
        BackupState::Completed(completed) => completed,
        BackupState::Creating | BackupState::Failed { .. } => {
            let why = backup.check_completed(BackupOperation::Restore);
            return Err(
                NotDone::terminal("The backup has no archive.", format!("{why:?}"))
                    .because(Reason::ArchiveMissing),
            );
        }
    };
    let disk = disk_access::disk(context, &backup.disk, backup.node.as_ref())?;
    let key = ArchiveKey {
        server: claim.server,
        backup: claim.backup,
        attempt: completed.attempt,
    };
    let directory = server_directory::of_server(context, &server).await?;
    let mut halt = Halt::begin(&context.options.power, claim.server).await?;
    let staging = fetch::staging(context, &directory);
    let archive = fetch::object(work, disk, StorageKey::Archive(key), &staging).await?;
    // Without its index an archive is only slower to restore.
    let index = fetch::object(work, disk, StorageKey::Index(key), &staging)
        .await
        .ok();
    work.go_on()?;
    let options = RestoreOptions {
        truncate: args.truncate,
        expected: Some(Expected {
            sha256: completed.sha256,
            archive_bytes: completed.size_bytes,
        }),
        staging_dir: context.options.staging_dir.clone(),
        threads: context.options.compression_threads,
        ..RestoreOptions::default()
    };
    work.go_on()?;
    work.enter(Phase::Restoring);
    let (context, work) = (Arc::clone(context), Arc::clone(work));
    let runtime = tokio::runtime::Handle::current();
    let ended = tokio::task::spawn_blocking(move || {
        // The last moment at which nothing is touched: go on only if the job is still ours, for certain, and the
        // server does not run.
        let mut may_swap = || {
            let checked = runtime.block_on(async {
                still_ours(&context, &work).await?;
                tokio::select! {
                    halted = halt.ensure() => halted?,
                    stopped = work.stopped() => return Err(stopped),
                }
                still_ours(&context, &work).await
            });
            checked.map_err(Into::into)
        };
        // What a killed attempt has left is put right first.
        let restored = holdfast_archive::recover(&directory, options.staging_dir.as_deref())
            .and_then(|_| {
                holdfast_archive::restore(
                    &archive,
                    index.as_ref(),
                    &directory,
                    &options,
                    &work.control,
                    &mut may_swap,
                )
            });
        restored.map_err(|error| halt.tell(engine(error)))
    });
    let summary = ended.await.map_err(|error| NotDone::panicked(&error))??;
    tracing::info!(
        backup = %claim.backup,
        files = summary.files,
        size_bytes = summary.bytes,
        notes = summary.notes.count,
        "put a server's files back"
    );
    Ok(Done::Restored)
}

async fn still_ours(context: &Context, work: &Work) -> Result<(), NotDone> {
    work.go_on()?;
    match jobs::heartbeat(&context.database, &work.claim, context.options.lease, None).await {
        Ok(HeartbeatReply::Held) => Ok(()),
        Ok(HeartbeatReply::Cancelled { .. } | HeartbeatReply::Lost) => Err(NotDone::Stopped),
        Err(error) => Err(NotDone::database(&error)),
    }
}

/// What the engine's failure means for a restore.
fn engine(error: holdfast_archive::Error) -> NotDone {
    use holdfast_archive::Error;
    let error = match error {
        Error::Refused(reason) => match reason.downcast::<NotDone>() {
            Ok(not_done) => return *not_done,
            Err(reason) => Error::Refused(reason),
        },
        error => error,
    };
    let detail = chain(&error);
    match error {
        Error::Cancelled => NotDone::Stopped,
        Error::HashMismatch { .. } | Error::Corrupt { .. } => NotDone::terminal(
            "The stored archive is damaged: it is not what was backed up. Nothing was changed.",
            detail,
        )
        .because(Reason::ArchiveDamaged),
        Error::Hostile { .. } => NotDone::terminal(
            "The archive holds entries that can't be restored safely. Nothing was changed.",
            detail,
        )
        .because(Reason::ArchiveDamaged),
        Error::NoSpace { needed, available } => NotDone::terminal(
            format!(
                "There is not enough space on the server's node: {needed} bytes are needed, {available} are free. \
                 Nothing was changed."
            ),
            detail,
        )
        .because(Reason::NoSpace),
        Error::Busy { .. } => NotDone::retry(
            "Another process is restoring this server. Nothing was changed.",
            detail,
        )
        .because(Reason::Busy),
        _ => NotDone::retry(
            "The server's files could not be put back. They are as they were.",
            detail,
        )
        .because(Reason::TargetUnwritable),
    }
}
