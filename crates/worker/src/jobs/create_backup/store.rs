//! Scans a server's directory, and runs the archive engine beside the uploads of its output.

use std::io;
use std::sync::Arc;

use holdfast_archive::{CreateOptions, Error, IgnoreRules, Scan, Summary};
use holdfast_domain::Server;
use holdfast_domain::error_chain::chain;
use holdfast_domain::job::Phase;
use holdfast_storage::{ArchiveKey, Disk, StorageKey, Upload};

use super::previous::{self, OpenPrevious, Strategy, Unusable};
use crate::context::Context;
use crate::lease::ActiveJob;
use crate::outcome::{FailureReason, JobError};
use crate::pipe::{ArchivePipe, OldBytes, WriteFailure, pipe};

/// Why an archive was not stored.
#[derive(Debug)]
pub(super) enum StoreFailure {
    /// The job fails.
    Job(JobError),
    /// The previous archive cannot be reused. Without it, the job may succeed.
    Previous(Unusable),
}

impl From<JobError> for StoreFailure {
    fn from(error: JobError) -> Self {
        Self::Job(error)
    }
}

impl From<Unusable> for StoreFailure {
    fn from(unusable: Unusable) -> Self {
        Self::Previous(unusable)
    }
}

/// An archive whose uploads are complete, but not finished.
pub(super) struct StoredArchive {
    pub(super) summary: Summary,
    pub(super) archive: Upload,
    pub(super) index: Upload,
    /// By how many bytes the archive makes the disk grow. `None` if that is unknown.
    pub(super) stored_bytes: Option<u64>,
}

/// What an archive is created from, and where it is stored.
pub(super) struct ArchiveSource<'a> {
    pub(super) server: &'a Server,
    pub(super) rules: &'a Arc<IgnoreRules>,
    pub(super) disk: &'a Disk,
    pub(super) key: ArchiveKey,
}

/// A server's directory that was scanned.
struct ScannedServer {
    scan: Scan,
    options: CreateOptions,
    old: OldBytes,
}

/// Scans the server's directory. This only reads its files. If the job must stop, the scan may
/// continue on its thread, since a read from a file system that hangs never ends.
async fn scan(
    context: &Context,
    job: &Arc<ActiveJob>,
    source: &ArchiveSource<'_>,
    strategy: &Strategy,
) -> Result<ScannedServer, StoreFailure> {
    let options = CreateOptions {
        level: context.options.compression_level,
        threads: context.options.compression_threads,
        read_limit_bytes_per_second: context.options.read_limit_bytes_per_second.map(u64::from),
        max_archive_bytes: Some(most_bytes(context, source.server)),
        xattrs: context.options.xattrs,
        ..CreateOptions::default()
    };
    let opened = match strategy {
        Strategy::Full(_) => None,
        Strategy::Reuse(previous, reread) => {
            let opened = previous::open(job, source.disk, previous, &options).await?;
            Some((opened, reread.is_some()))
        }
    };
    let (control, directory) = (Arc::clone(&job.control), source.server.directory.clone());
    let (priority, rules) = (context.options.priority, Arc::clone(source.rules));
    let scan = move || {
        let scan = || match opened {
            None => {
                let scan = holdfast_archive::scan(&directory, &rules, &control)?;
                Ok((scan, OldBytes::None))
            }
            Some((OpenPrevious { archive, old }, reread)) => {
                let scan =
                    holdfast_archive::scan_after(archive, reread, &directory, &rules, &control)?;
                Ok((scan, old))
            }
        };
        priority.run(scan).map_err(Error::Threads)?
    };
    let scanned = job.unless_stopped(async {
        let scanned = tokio::task::spawn_blocking(scan).await;
        scanned.map_err(|error| JobError::panicked(&error))
    });
    let (mut scan, old) = scanned.await?.map_err(|error| failure(&error))?;
    if !context.options.scans_ahead.is_zero() {
        let begun = (context.now)() + context.options.scans_ahead;
        scan.set_begun(begun.timestamp());
    }
    Ok(ScannedServer { scan, options, old })
}

fn most_bytes(context: &Context, server: &Server) -> u64 {
    let own = server.limits.max_backup_bytes;
    own.unwrap_or(context.options.max_backup_bytes)
}

/// Scans the server's directory. Then runs the archive engine and both uploads concurrently, until
/// all three end or the job must stop. Adds `note` to the notes of the backup.
pub(super) async fn store(
    context: &Context,
    job: &Arc<ActiveJob>,
    source: &ArchiveSource<'_>,
    strategy: &Strategy,
    note: Option<String>,
) -> Result<StoredArchive, StoreFailure> {
    let (disk, key) = (source.disk, source.key);
    job.set_phase(Phase::Scanning);
    let mut scanned = scan(context, job, source, strategy).await?;
    job.check_stop()?;
    if let Some(note) = note {
        scanned.scan.add_note(note);
    }

    job.set_phase(Phase::Archiving);
    let most_bytes = most_bytes(context, source.server);
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
    let ScannedServer { scan, options, old } = scanned;
    let old = match old {
        OldBytes::Object(_) if !archive.copies_front() => OldBytes::None,
        old => old,
    };
    let (mut archive_writer, archive_reader) = pipe();
    let (mut index_writer, index_reader) = pipe();
    let (control, priority) = (Arc::clone(&job.control), context.options.priority);
    let (rules, engine_old) = (Arc::clone(source.rules), old.clone());
    let create = move || {
        let summary = holdfast_archive::create_from(
            scan,
            &rules,
            &options,
            ArchivePipe::new(&mut archive_writer, engine_old),
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
        archive_reader.write_to(archive, &old, job),
        index_reader.write_to(index, &OldBytes::None, job)
    );
    // If an upload failed, the engine failed because of it. Report the upload's error first.
    let archive = archive.map_err(write_failure)?;
    let index = index.map_err(write_failure)?;
    let summary = ended?
        .map_err(|error| JobError::panicked(&error))?
        .map_err(|error| failure(&error))?;
    let new_bytes = summary.archive_bytes.saturating_sub(archive.shared_bytes);
    Ok(StoredArchive {
        summary,
        archive: archive.upload,
        index: index.upload,
        // Encryption adds some bytes.
        stored_bytes: (!disk.is_encrypted()).then_some(new_bytes),
    })
}

fn write_failure(failure: WriteFailure) -> StoreFailure {
    match failure {
        WriteFailure::Job(error) => error.into(),
        WriteFailure::Previous { reason, is_damaged } => Unusable { reason, is_damaged }.into(),
    }
}

fn failure(error: &Error) -> StoreFailure {
    match Unusable::of(error) {
        Some(unusable) => unusable.into(),
        None => engine_error(error).into(),
    }
}

/// Maps an error of the archive engine to a job's error.
pub(super) fn engine_error(error: &Error) -> JobError {
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
