//! Archives a server's directory to a disk. Scans it, then archives, hashes and uploads it as a
//! stream, without a local copy.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use holdfast_archive::{CreateOptions, Error, IgnoreRules, PlainOutput, Scan, Summary};
use holdfast_db::{backups, servers};
use holdfast_domain::backup::CompletedBackup;
use holdfast_domain::error_chain::chain;
use holdfast_domain::job::Phase;
use holdfast_domain::{Backup, BackupState, Server, ServerRef};
use holdfast_storage::{ArchiveKey, Disk, Manifest, StorageKey, Upload};

use crate::backup_mode::{BackupMode, FullReason};
use crate::context::Context;
use crate::disk_access;
use crate::lease::ActiveJob;
use crate::outcome::{FailureReason, JobError, JobSuccess, stored_notes};
use crate::pipe::pipe;
use crate::{background, server_directory, shared_directory};

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
    let scanned = job.unless_stopped(async {
        server.directory = server_directory::resolve_for_job(context, &server).await?;
        shared_directory::refuse_shared(context, server.id, &server.directory).await?;
        let rules = rules(context, job, &server, &mut backup).await?;
        scan(context, job, &server, rules).await
    });
    let scanned = scanned.await?;
    job.check_stop()?;

    job.set_phase(Phase::Archiving);
    let key = ArchiveKey {
        server: claim.server,
        backup: claim.backup,
        attempt: claim.attempt,
    };
    let (summary, archive, index) = store(context, job, &server, scanned, disk, key).await?;

    job.set_phase(Phase::Uploading);
    job.check_stop()?;
    let completed_at = (context.now)();
    let manifest = manifest(&server, &backup, &summary, claim.attempt, completed_at);
    let publish = publish(disk, key, archive, index, &manifest);
    if let Err(error) = job.unless_stopped(publish).await {
        remove_published(disk, key).await;
        return Err(error);
    }
    let completed = CompletedBackup {
        at: completed_at,
        sha256: summary.sha256,
        size_bytes: summary.archive_bytes,
        attempt: claim.attempt,
        notes: stored_notes(&summary.notes),
        work: None,
    };
    let mode = BackupMode::Full(FullReason::Off);
    Ok(JobSuccess::Created(completed, mode))
}

/// Removes the objects of earlier attempts. Each attempt has its own keys, so an attempt that still
/// runs somewhere else is not affected.
async fn remove_earlier_attempts(job: &ActiveJob, disk: &Disk) -> Result<(), JobError> {
    let remove = async {
        let removed = disk.delete_backup(job.claim.server, job.claim.backup).await;
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
    attempt: u32,
    completed_at: DateTime<Utc>,
) -> Manifest {
    Manifest {
        format: Manifest::FORMAT,
        written_by: concat!("holdfast ", env!("CARGO_PKG_VERSION")).to_owned(),
        server: server.id,
        server_name: server.name.clone(),
        backup: backup.id,
        name: backup.name.clone(),
        attempt,
        created_at: backup.created_at,
        completed_at,
        size_bytes: summary.archive_bytes,
        sha256: hex::encode(summary.sha256),
        entries: summary.entries,
        files: summary.files,
        unpacked_bytes: summary.source_bytes,
        notes: summary.notes.count,
        first_notes: stored_notes(&summary.notes).first,
        ignored_files: backup.ignored_files.clone(),
        is_locked: backup.is_locked,
        is_scheduled: backup.is_scheduled,
        reused_from: None,
        reused_bytes: None,
        read_bytes: None,
        stored_bytes: None,
        unread_backups: None,
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

/// A server's directory that was scanned, and the rules of the scan.
struct ScannedServer {
    rules: IgnoreRules,
    scan: Scan,
}

async fn scan(
    context: &Context,
    job: &Arc<ActiveJob>,
    server: &Server,
    rules: IgnoreRules,
) -> Result<ScannedServer, JobError> {
    let (control, directory) = (Arc::clone(&job.control), server.directory.clone());
    let priority = context.options.priority;
    let scan = move || {
        let scan = || holdfast_archive::scan(&directory, &rules, &control);
        let scan = priority.run(scan).map_err(Error::Threads)??;
        Ok(ScannedServer { rules, scan })
    };
    tokio::task::spawn_blocking(scan)
        .await
        .map_err(|error| JobError::panicked(&error))?
        .map_err(|error| engine_error(&error))
}

/// Runs the archive engine and both uploads concurrently, until all three end or the job must stop.
async fn store(
    context: &Context,
    job: &Arc<ActiveJob>,
    server: &Server,
    scanned: ScannedServer,
    disk: &Disk,
    key: ArchiveKey,
) -> Result<(Summary, Upload, Upload), JobError> {
    let most_bytes = server
        .limits
        .max_backup_bytes
        .unwrap_or(context.options.max_backup_bytes);
    let begin = async |key| {
        let begun = disk.begin(key, most_bytes).await;
        begun.map_err(|error| JobError::disk(&error))
    };
    let (archive, index) = job
        .unless_stopped(async {
            let archive = begin(StorageKey::Archive(key)).await?;
            Ok((archive, begin(StorageKey::Index(key)).await?))
        })
        .await?;
    let (mut archive_writer, archive_reader) = pipe();
    let (mut index_writer, index_reader) = pipe();
    let options = CreateOptions {
        level: context.options.compression_level,
        threads: context.options.compression_threads,
        read_limit_bytes_per_second: context.options.read_limit_bytes_per_second.map(u64::from),
        max_archive_bytes: Some(most_bytes),
        xattrs: context.options.xattrs,
        ..CreateOptions::default()
    };
    let control = Arc::clone(&job.control);
    let priority = context.options.priority;
    let create = move || {
        let summary = holdfast_archive::create_from(
            scanned.scan,
            &scanned.rules,
            &options,
            PlainOutput(&mut archive_writer),
            &mut index_writer,
            &control,
        )?;
        index_writer
            .finish()
            .and_then(|()| archive_writer.finish())
            .map_err(Error::Output)?;
        Ok(summary)
    };
    let engine_thread =
        tokio::task::spawn_blocking(move || priority.run(create).map_err(Error::Threads)?);
    // If the job must stop, the engine may continue on its thread. The pipe is closed then, so its
    // output is dropped.
    let engine_ended = job.unless_stopped(async { Ok(engine_thread.await) });
    let (ended, archive, index) = tokio::join!(
        engine_ended,
        archive_reader.write_to(archive, job),
        index_reader.write_to(index, job)
    );
    // If an upload failed, the engine failed because of it. Report the upload's error first.
    let archive = archive?;
    let index = index?;
    let summary = ended?
        .map_err(|error| JobError::panicked(&error))?
        .map_err(|error| engine_error(&error))?;
    Ok((summary, archive, index))
}

/// Maps an error of the archive engine to a job's error.
fn engine_error(error: &Error) -> JobError {
    let detail = chain(error);
    match error {
        Error::Cancelled => JobError::Stopped,
        Error::SourceMissing { .. } => {
            JobError::permanent("The server's directory does not exist on its node.", detail)
                .with_reason(FailureReason::SourceMissing)
        }
        Error::NotADirectory { .. } => JobError::permanent(
            "The server's directory is not a directory on its node.",
            detail,
        )
        .with_reason(FailureReason::SourceMissing),
        Error::TooLarge { limit_bytes } => JobError::permanent(
            format!("The backup grew larger than the {limit_bytes} bytes that are allowed."),
            detail,
        )
        .with_reason(FailureReason::TooLarge),
        Error::Pattern { .. } => {
            JobError::permanent(format!("An ignore pattern can't be used: {error}."), detail)
                .with_reason(FailureReason::InvalidPatterns)
        }
        Error::SlowPatterns { .. } => JobError::permanent(
            format!("The ignore patterns can't be used: {error}."),
            detail,
        )
        .with_reason(FailureReason::InvalidPatterns),
        Error::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            JobError::permanent(
                "The service is not allowed to read the server's directory.",
                detail,
            )
            .with_reason(FailureReason::SourceUnreadable)
        }
        Error::NoAccess { .. } => JobError::permanent(
            "The service is not allowed to read the server's directory.",
            detail,
        )
        .with_reason(FailureReason::SourceUnreadable),
        _ => JobError::retryable("The server's files could not be read.", detail)
            .with_reason(FailureReason::SourceUnreadable),
    }
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
