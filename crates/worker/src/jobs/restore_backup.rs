//! Restores a backup, or some files and folders of it: verifies the archive, unpacks it beside the
//! server's directory, and swaps the two.
//!
//! If anything fails before the swap, the server's files are unchanged.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::runtime::Handle;

use holdfast_archive::{Error, Expected, ReadAt, RestoreOptions, RestoreSummary};
use holdfast_db::jobs::{self, Claim, HeartbeatReply};
use holdfast_db::{backups, servers};
use holdfast_domain::backup::{BackupOperation, CompletedBackup};
use holdfast_domain::error_chain::chain;
use holdfast_domain::job::{Phase, RestoreArgs};
use holdfast_domain::{Backup, BackupState, Server, ServerRef};
use holdfast_storage::{ArchiveKey, StorageKey};

use crate::context::Context;
use crate::lease::ActiveJob;
use crate::outcome::{FailureReason, JobError, JobSuccess, stored_notes};
use crate::power::PowerGuard;
use crate::{disk_access, fetch, server_directory, shared_directory};

pub(crate) async fn run(
    context: &Arc<Context>,
    job: &Arc<ActiveJob>,
) -> Result<JobSuccess, JobError> {
    job.set_phase(Phase::Verifying);
    let claim = &job.claim;
    let args: RestoreArgs = serde_json::from_value(claim.args.clone()).map_err(|error| {
        JobError::permanent("An unexpected error was encountered.", error.to_string())
    })?;
    let (server, backup) = load(context, claim).await?;
    let completed = completed(&backup)?;
    let restore = prepare(context, job, &server, &backup, completed, args).await?;
    job.check_stop()?;

    let _full_weight = context.session_weight.begin_restore();
    job.set_phase(Phase::Restoring);
    let runtime = Handle::current();
    let ended = tokio::task::spawn_blocking(move || restore.run(&runtime)).await;
    let summary = ended.map_err(|error| JobError::panicked(&error))??;
    tracing::info!(
        backup = %claim.backup,
        files = summary.files,
        size_bytes = summary.bytes,
        notes = summary.notes.count,
        first_note = summary.notes.first.first().map(tracing::field::display),
        "restored a backup"
    );
    Ok(JobSuccess::Restored(stored_notes(&summary.notes)))
}

async fn load(context: &Context, claim: &Claim) -> Result<(Server, Backup), JobError> {
    let server = servers::find(&context.database, &ServerRef::Id(claim.server))
        .await
        .map_err(|error| JobError::database(&error))?;
    let backup = backups::find(&context.database, claim.server, claim.backup)
        .await
        .map_err(|error| JobError::database(&error))?;
    server.zip(backup).ok_or_else(|| {
        JobError::permanent(
            "The backup is gone.",
            format!("backup {} is gone", claim.backup),
        )
        .with_reason(FailureReason::ArchiveMissing)
    })
}

fn completed(backup: &Backup) -> Result<&CompletedBackup, JobError> {
    match &backup.state {
        BackupState::Completed(completed) => Ok(completed),
        BackupState::Creating | BackupState::Failed { .. } => {
            let refused = backup.check_completed(BackupOperation::Restore);
            Err(
                JobError::permanent("The backup has no archive.", format!("{refused:?}"))
                    .with_reason(FailureReason::ArchiveMissing),
            )
        }
    }
}

/// Checks the directory and the power driver, and opens the archive. Changes nothing on the server.
async fn prepare(
    context: &Arc<Context>,
    job: &Arc<ActiveJob>,
    server: &Server,
    backup: &Backup,
    completed: &CompletedBackup,
    args: RestoreArgs,
) -> Result<Restore, JobError> {
    let disk = disk_access::disk(context, &backup.disk, backup.node.as_ref())?;
    let key = ArchiveKey {
        server: server.id,
        backup: backup.id,
        attempt: completed.attempt,
    };
    let directory = server_directory::resolve_for_job(context, server).await?;
    shared_directory::refuse_shared(context, server.id, &directory).await?;
    let power = PowerGuard::new(&context.options.power, server.id).await?;
    let staging = fetch::staging_dir(context, &directory).await?;
    // Without its index, an archive can still be restored, only more slowly.
    let index = fetch::open_object(job, disk, StorageKey::Index(key), &staging).await;
    let archive = StorageKey::Archive(key);
    let archive: Box<dyn ReadAt> = match args.paths {
        Some(_) => {
            job.unless_stopped(fetch::open_archive(disk, archive))
                .await?
        }
        None => Box::new(fetch::open_object(job, disk, archive, &staging).await?),
    };
    let paths = args.paths.map_or_else(Vec::new, |paths| paths.to_bytes());
    Ok(Restore {
        context: Arc::clone(context),
        job: Arc::clone(job),
        power,
        archive,
        index: index.ok(),
        directory,
        options: RestoreOptions {
            truncate: args.truncate,
            paths,
            expected: Some(Expected {
                sha256: completed.sha256,
                archive_bytes: completed.size_bytes,
            }),
            staging_dir: context.options.staging_dir.clone(),
            swap: context.options.swap,
            threads: context.options.compression_threads,
            ..RestoreOptions::default()
        },
    })
}

/// A restore that is ready to run.
struct Restore {
    context: Arc<Context>,
    job: Arc<ActiveJob>,
    power: PowerGuard,
    archive: Box<dyn ReadAt>,
    index: Option<File>,
    directory: PathBuf,
    options: RestoreOptions,
}

impl Restore {
    /// Runs the archive engine. Blocks the thread.
    fn run(mut self, runtime: &Handle) -> Result<RestoreSummary, JobError> {
        // Finish or undo what a killed attempt left.
        let staging_dir = self.options.staging_dir.as_deref();
        let recovered = holdfast_archive::recover(&self.directory, staging_dir);
        let restored = recovered.and_then(|_| {
            holdfast_archive::restore(
                &self.archive,
                self.index.as_ref(),
                &self.directory,
                &self.options,
                &self.job.control,
                &mut || {
                    let checked = check_before_swap(&self.context, &self.job, &mut self.power);
                    runtime.block_on(checked).map_err(Into::into)
                },
            )
        });
        restored.map_err(|error| self.power.add_server_state(engine_error(error)))
    }
}

/// Makes sure, right before the first file is changed, that this worker still holds the claim and
/// that the server does not run.
async fn check_before_swap(
    context: &Context,
    job: &ActiveJob,
    power: &mut PowerGuard,
) -> Result<(), JobError> {
    check_claim(context, job).await?;
    job.unless_stopped(power.ensure_stopped()).await?;
    // Stopping a server can take longer than a lease lasts.
    check_claim(context, job).await
}

async fn check_claim(context: &Context, job: &ActiveJob) -> Result<(), JobError> {
    job.check_stop()?;
    match jobs::heartbeat(&context.database, &job.claim, context.options.lease, None).await {
        Ok(HeartbeatReply::Held) => Ok(()),
        Ok(HeartbeatReply::Cancelled { .. } | HeartbeatReply::Lost) => Err(JobError::Stopped),
        Err(error) => Err(JobError::database(&error)),
    }
}

/// Returns the error of the disk, if that is why a range of an archive could not be read.
fn storage_error(error: &io::Error) -> Option<&holdfast_storage::Error> {
    let error = error
        .get_ref()?
        .downcast_ref::<Arc<holdfast_storage::Error>>();
    error.map(|error| &**error)
}

/// Maps an error of the archive engine to a job's error.
fn engine_error(error: Error) -> JobError {
    let error = match error {
        Error::Refused(refused) => match refused.downcast::<JobError>() {
            Ok(error) => return *error,
            Err(refused) => Error::Refused(refused),
        },
        other => other,
    };
    let detail = chain(&error);
    if let Error::Io { source, .. } = &error
        && let Some(error) = storage_error(source)
    {
        return JobError::disk(error);
    }
    match error {
        Error::Cancelled => JobError::Stopped,
        Error::HashMismatch { .. } | Error::Corrupt { .. } => JobError::permanent(
            "The stored archive is damaged: it is not what was backed up. Nothing was changed.",
            detail,
        )
        .with_reason(FailureReason::ArchiveDamaged),
        Error::Hostile { .. } | Error::OtherFormat { .. } => JobError::permanent(
            "The archive holds entries that can't be restored safely. Nothing was changed.",
            detail,
        )
        .with_reason(FailureReason::ArchiveDamaged),
        Error::NoSpace { needed, available } => JobError::permanent(
            format!(
                "There is not enough space on the server's node: {needed} bytes are needed, \
                 {available} are free. Nothing was changed."
            ),
            detail,
        )
        .with_reason(FailureReason::NoSpace),
        Error::Immovable { path, reason } => {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            JobError::permanent(
                format!(
                    "The server's files could not be put back: `{name}` can't be moved, because \
                     {reason}. They are as they were."
                ),
                detail,
            )
            .with_reason(FailureReason::TargetUnwritable)
        }
        Error::NotInArchive { path } => JobError::permanent(
            format!("The backup has no `{path}`. Nothing was changed."),
            detail,
        )
        .with_reason(FailureReason::ArchiveMissing),
        Error::InTheWay { path, reason } => JobError::permanent(
            format!("`{path}` is in the way: {reason}. Nothing was changed."),
            detail,
        )
        .with_reason(FailureReason::TargetUnwritable),
        Error::NoInodes { .. } => JobError::permanent(
            "There are no free inodes on the server's node: its file system can store no more \
             files. Nothing was changed.",
            detail,
        )
        .with_reason(FailureReason::NoSpace),
        Error::QuotaExceeded { .. } => JobError::permanent(
            "The disk quota on the server's node is used up. Nothing was changed.",
            detail,
        )
        .with_reason(FailureReason::NoSpace),
        Error::Busy { .. } => JobError::retryable(
            "Another process is restoring this server. Nothing was changed.",
            detail,
        )
        .with_reason(FailureReason::Busy),
        _ => JobError::retryable(
            "The server's files could not be put back. They are as they were.",
            detail,
        )
        .with_reason(FailureReason::TargetUnwritable),
    }
}
