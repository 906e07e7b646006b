//! Archives a server's directory to a disk. Scans it, then archives, hashes and uploads it as a
//! stream, without a local copy.

mod previous;
mod store;

use std::sync::Arc;
use std::time::Duration;

use holdfast_archive::{IgnoreRules, Summary};
use holdfast_db::{backups, servers};
use holdfast_domain::backup::CompletedBackup;
use holdfast_domain::error_chain::chain;
use holdfast_domain::job::Phase;
use holdfast_domain::{Backup, BackupState, Server, ServerRef};
use holdfast_storage::{ArchiveKey, Disk, Manifest, StorageKey, Upload};

use crate::backup_mode::FullReason;
use crate::context::Context;
use crate::disk_access;
use crate::lease::ActiveJob;
use crate::outcome::{JobError, JobSuccess, stored_notes};
use crate::{background, server_directory, shared_directory, verification};

use previous::Strategy;
use store::{ArchiveSource, StoreFailure, StoredArchive, engine_error, store};

/// How long removing the objects of a failed attempt may take.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(4);

pub(crate) async fn run(
    context: &Arc<Context>,
    job: &Arc<ActiveJob>,
) -> Result<JobSuccess, JobError> {
    let claim = &job.claim;
    let server = servers::find(&context.database, &ServerRef::Id(claim.server))
        .await
        .map_err(|error| JobError::database(&error))?;
    let backup = backups::find(&context.database, claim.server, claim.backup)
        .await
        .map_err(|error| JobError::database(&error))?;
    let (Some(mut server), Some(mut backup)) = (server, backup) else {
        return Ok(JobSuccess::NothingToDo);
    };
    if backup.state != BackupState::Creating {
        // An earlier attempt succeeded, but the reply of the database was lost.
        return Ok(JobSuccess::NothingToDo);
    }
    let disk = disk_access::disk(context, &backup.disk, backup.node.as_ref())?;
    remove_earlier_attempts(job, disk).await?;

    let _background = background::begin(context, job);
    job.set_phase(Phase::Scanning);
    // These steps only read the server's files. If the job must stop, they may continue on their
    // thread, since a read from a file system that hangs never ends.
    let prepared = job.unless_stopped(async {
        server.directory = server_directory::resolve_for_job(context, &server).await?;
        shared_directory::refuse_shared(context, server.id, &server.directory).await?;
        rules(context, job, &server, &mut backup).await
    });
    let rules = Arc::new(prepared.await?);
    job.check_stop()?;
    let key = ArchiveKey {
        server: claim.server,
        backup: claim.backup,
        attempt: claim.attempt,
    };
    let strategy = previous::choose(context, job, &backup, disk).await?;
    let source = ArchiveSource {
        server: &server,
        rules: &rules,
        disk,
        key,
    };
    let (stored, strategy) = store_after(context, job, &source, strategy).await?;

    job.set_phase(Phase::Uploading);
    job.check_stop()?;
    let summary = stored.summary;
    let completed = CompletedBackup {
        at: (context.now)(),
        sha256: summary.sha256,
        size_bytes: summary.archive_bytes,
        attempt: claim.attempt,
        notes: stored_notes(&summary.notes),
        work: Some(strategy.work(&summary, stored.stored_bytes)),
    };
    let manifest = manifest(&server, &backup, &summary, &completed);
    let publish = publish(disk, key, stored.archive, stored.index, &manifest);
    if let Err(error) = job.unless_stopped(publish).await {
        remove_published(disk, key).await;
        return Err(error);
    }
    Ok(JobSuccess::Created(completed, strategy.mode()))
}

/// Stores the archive. If the previous one cannot be reused, begins again without it. Returns what
/// was done in the end.
async fn store_after(
    context: &Arc<Context>,
    job: &Arc<ActiveJob>,
    source: &ArchiveSource<'_>,
    strategy: Strategy,
) -> Result<(StoredArchive, Strategy), JobError> {
    // On the heap, since it is deep: see `jobs::run`.
    let stored = Box::pin(store(context, job, source, &strategy, None)).await;
    let unusable = match stored {
        Ok(stored) => return Ok((stored, strategy)),
        Err(StoreFailure::Job(error)) => return Err(error),
        Err(StoreFailure::Previous(unusable)) => unusable,
    };
    job.check_stop()?;
    let mut note = None;
    if let Strategy::Reuse(previous, _) = &strategy {
        tracing::warn!(
            backup = %job.claim.backup,
            previous = %previous.id,
            reason = unusable.reason,
            "the archive of an earlier backup cannot be reused; everything is archived again",
        );
        if unusable.is_damaged {
            note = Some(format!(
                "everything was archived again: {}",
                unusable.reason
            ));
            verification::enqueue(context, job.claim.server, previous.id).await;
        }
    }
    let strategy = Strategy::Full(FullReason::Unusable);
    match Box::pin(store(context, job, source, &strategy, note)).await {
        Ok(stored) => Ok((stored, strategy)),
        Err(StoreFailure::Job(error)) => Err(error),
        Err(StoreFailure::Previous(unusable)) => Err(JobError::retryable(
            "An unexpected error was encountered.",
            unusable.reason,
        )),
    }
}

/// Removes the objects of earlier attempts. Each attempt has its own keys, and later attempts are
/// not affected: another process may have completed the backup while this one was paused.
async fn remove_earlier_attempts(job: &ActiveJob, disk: &Disk) -> Result<(), JobError> {
    let remove = async {
        let claim = &job.claim;
        let removed = disk.delete_attempts(claim.server, claim.backup, claim.attempt);
        let removed = removed.await;
        removed.map_err(|error| JobError::disk(&error))
    };
    if disk.is_node_local() {
        // On a local disk, the deletion continues on its thread after this future is dropped. It
        // could then delete files of the next attempt.
        remove.await
    } else {
        job.unless_stopped(remove).await
    }
}

fn manifest(
    server: &Server,
    backup: &Backup,
    summary: &Summary,
    completed: &CompletedBackup,
) -> Manifest {
    let work = completed.work.as_ref();
    Manifest {
        format: Manifest::FORMAT,
        written_by: concat!("holdfast ", env!("CARGO_PKG_VERSION")).to_owned(),
        server: server.id,
        server_name: server.name.clone(),
        backup: backup.id,
        name: backup.name.clone(),
        attempt: completed.attempt,
        created_at: backup.created_at,
        completed_at: completed.at,
        size_bytes: completed.size_bytes,
        sha256: hex::encode(completed.sha256),
        entries: summary.entries,
        files: summary.files,
        unpacked_bytes: summary.source_bytes,
        notes: completed.notes.count,
        first_notes: completed.notes.first.clone(),
        ignored_files: backup.ignored_files.clone(),
        is_locked: backup.is_locked,
        is_scheduled: backup.is_scheduled,
        reused_from: work.and_then(|work| work.reused_from),
        reused_bytes: work.map(|work| work.reused_bytes),
        read_bytes: work.map(|work| work.read_bytes),
        stored_bytes: work.and_then(|work| work.stored_bytes),
        unread_backups: work.map(|work| work.unread_backups),
    }
}

/// Makes the objects visible: the index, then the archive, then the manifest. An archive that is
/// visible therefore has its index, and a manifest has its archive.
async fn publish(
    disk: &Disk,
    key: ArchiveKey,
    archive: Upload,
    index: Upload,
    manifest: &Manifest,
) -> Result<(), JobError> {
    let text = manifest.to_json().map_err(|error| {
        JobError::retryable("An unexpected error was encountered.", chain(&error))
    })?;
    let finished = async {
        index.finish().await?;
        archive.finish().await?;
        let mut upload = disk
            .begin(StorageKey::Manifest(key), Manifest::BYTES_MAX)
            .await?;
        upload.write(text).await?;
        upload.finish().await
    };
    finished.await.map_err(|error| JobError::disk(&error))
}

/// Removes the objects of an attempt that failed while it published them. If that fails, they are
/// removed by the next attempt or with the backup.
async fn remove_published(disk: &Disk, key: ArchiveKey) {
    let removed = tokio::time::timeout(REMOVE_TIMEOUT, async {
        for key in StorageKey::all(key) {
            disk.delete(key).await?;
        }
        Ok::<(), holdfast_storage::Error>(())
    });
    let why = match removed.await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => chain(&error),
        Err(_) => "it took too long".to_owned(),
    };
    tracing::warn!(
        backup = %key.backup,
        attempt = key.attempt,
        error = why,
        "the objects of a failed attempt could not be removed",
    );
}

/// Compiles the ignore patterns of the request. If it has none, compiles those of the server's
/// `.pteroignore`.
async fn rules(
    context: &Context,
    job: &ActiveJob,
    server: &Server,
    backup: &mut Backup,
) -> Result<IgnoreRules, JobError> {
    let mut notes = Vec::new();
    // An earlier attempt may have stored the patterns of the `.pteroignore`, but not the notes.
    if backup.ignored_files.is_empty() || job.claim.attempt > 1 {
        let directory = server.directory.clone();
        let own =
            tokio::task::spawn_blocking(move || holdfast_archive::read_pteroignore(&directory))
                .await
                .map_err(|error| JobError::panicked(&error))?
                .map_err(|error| engine_error(&error))?;
        if backup.ignored_files.is_empty() && !own.lines.is_empty() {
            backup.ignored_files.clone_from(&own.lines);
            backups::set_ignored_files(&context.database, backup.id, &backup.ignored_files)
                .await
                .map_err(|error| JobError::database(&error))?;
        }
        if backup.ignored_files == own.lines {
            notes = own.notes;
        }
    }
    let lines = backup.ignored_files.clone();
    let rules = tokio::task::spawn_blocking(move || IgnoreRules::new(&lines))
        .await
        .map_err(|error| JobError::panicked(&error))?
        .map_err(|error| engine_error(&error))?;
    Ok(rules.with_notes(notes))
}

#[cfg(test)]
mod tests {
    use holdfast_domain::ignore;

    #[test]
    fn the_engine_accepts_every_pattern_that_a_request_may_have() {
        assert_eq!(ignore::PATTERNS_MAX, holdfast_archive::MAX_PATTERNS);
        assert_eq!(ignore::LINE_BYTES_MAX, holdfast_archive::MAX_PATTERN_BYTES);
        assert_eq!(ignore::WILDCARDS_MAX, holdfast_archive::MAX_WILDCARDS);
    }
}
