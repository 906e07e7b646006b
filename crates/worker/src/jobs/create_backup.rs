//! Archives a server's directory to a disk: scan → archive → hash → upload, all
//! at once, without a copy on this machine.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use holdfast_archive::{CreateOptions, IgnoreRules, Summary};
use holdfast_db::{backups, servers};
use holdfast_domain::backup::{BackupNotes, CompletedBackup};
use holdfast_domain::ignore::IgnorePatterns;
use holdfast_domain::job::Phase;
use holdfast_domain::{Backup, BackupState, Server, ServerRef};
use holdfast_storage::{ArchiveKey, Disk, Manifest, StorageKey, Upload};

use crate::context::Context;
use holdfast_domain::error_chain::chain;

use crate::disk_access;
use crate::lease::Work;
use crate::outcome::{Done, NotDone, Reason};
use crate::pipe::pipe;
use crate::server_directory;

/// How long removing what a failed attempt had stored may take.
const TAKE_BACK: Duration = Duration::from_secs(4);
/// The greatest `.pteroignore`, in bytes.
const PTEROIGNORE_BYTES_MAX: usize = 32 * 1024;

pub(crate) async fn run(context: &Arc<Context>, work: &Arc<Work>) -> Result<Done, NotDone> {
    let claim = &work.claim;
    let server = servers::find(&context.database, &ServerRef::Id(claim.server))
        .await
        .map_err(|error| NotDone::database(&error))?;
    let backup = backups::find(&context.database, claim.server, claim.backup)
        .await
        .map_err(|error| NotDone::database(&error))?;
    let (Some(mut server), Some(mut backup)) = (server, backup) else {
        return Ok(Done::Nothing);
    };
    if backup.state != BackupState::Creating {
        // An earlier attempt ended well, but its answer from the database was lost.
        return Ok(Done::Nothing);
    }
    let disk = disk_access::disk(context, &backup.disk, backup.node.as_ref())?;
    // What earlier attempts have left. Each attempt has keys of its own, so a
    // late one can't be hit by this, nor hit us.
    let remove = async {
        let removed = disk.delete_backup(claim.server, claim.backup).await;
        removed.map_err(|error| NotDone::disk(&error))
    };
    if disk.is_of_one_node() {
        // A folder's thread goes on when nobody waits for it, and must not meet the next attempt's files.
        remove.await?;
    } else {
        work.unless_stopped(remove).await?;
    }

    work.enter(Phase::Scanning);
    // What only reads a server's files is left behind when the work is to stop: a file system that hangs would never
    // let it end.
    let rules = work.unless_stopped(async {
        server.directory = server_directory::of_server(context, &server).await?;
        let rules = Arc::new(rules(context, &server, &mut backup).await?);
        scan(work, &server, &rules).await?;
        Ok(rules)
    });
    let rules = rules.await?;
    work.go_on()?;

    work.enter(Phase::Archiving);
    let key = ArchiveKey {
        server: claim.server,
        backup: claim.backup,
        attempt: claim.attempt,
    };
    let (summary, archive, index) = store(context, work, &server, &rules, disk, key).await?;

    work.enter(Phase::Uploading);
    work.go_on()?;
    let completed_at = (context.now)();
    let manifest = manifest(&server, &backup, &summary, claim.attempt, completed_at);
    let publish = publish(disk, key, archive, index, &manifest);
    if let Err(not_done) = work.unless_stopped(publish).await {
        take_back(disk, key).await;
        return Err(not_done);
    }
    Ok(Done::Created(CompletedBackup {
        at: completed_at,
        sha256: summary.sha256,
        size_bytes: summary.archive_bytes,
        attempt: claim.attempt,
        notes: BackupNotes {
            count: summary.notes.count,
            first: first_notes(&summary),
        },
    }))
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
        first_notes: first_notes(summary),
        ignored_files: backup.ignored_files.clone(),
        is_locked: backup.is_locked,
        is_scheduled: backup.is_scheduled,
    }
}

fn first_notes(summary: &Summary) -> Vec<String> {
    let first = summary.notes.first.iter();
    first.map(ToString::to_string).collect()
}

/// Makes everything visible. The index first: whoever sees the archive sees all of it. The manifest
/// last: whoever sees it sees its archive.
async fn publish(
    disk: &Disk,
    key: ArchiveKey,
    archive: Upload,
    index: Upload,
    manifest: &Manifest,
) -> Result<(), NotDone> {
    let text = manifest
        .to_json()
        .map_err(|error| NotDone::retry("An unexpected error was encountered.", chain(&error)))?;
    let finished = async {
        index.finish().await?;
        archive.finish().await?;
        let mut upload = disk
            .begin(StorageKey::Manifest(key), Manifest::BYTES_MAX)
            .await?;
        upload.write(text).await?;
        upload.finish().await
    };
    finished.await.map_err(|error| NotDone::disk(&error))
}

/// Removes what became visible of an attempt that has failed after all. What can't be removed now goes
/// with the next attempt, or with the backup.
async fn take_back(disk: &Disk, key: ArchiveKey) {
    let removed = tokio::time::timeout(TAKE_BACK, async {
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
    tracing::warn!(backup = %key.backup, attempt = key.attempt, error = why, "what a failed attempt had stored could not be removed");
}

/// Compiles the request's patterns, or the server's own when it brought none.
async fn rules(
    context: &Context,
    server: &Server,
    backup: &mut Backup,
) -> Result<IgnoreRules, NotDone> {
    let mut unused = None;
    if backup.ignored_files.is_empty() {
        let directory = server.directory.clone();
        let own =
            tokio::task::spawn_blocking(move || holdfast_archive::read_pteroignore(&directory))
                .await
                .map_err(|error| NotDone::panicked(&error))?
                .map_err(|error| engine(&error))?;
        unused = own.unused;
        if !own.lines.is_empty() {
            let own = own.lines.iter().map(String::as_str);
            let bounded = IgnorePatterns::parse(own, PTEROIGNORE_BYTES_MAX).map_err(|refused| {
                NotDone::terminal(
                    format!("The server's .pteroignore can't be used: {refused}."),
                    refused.to_string(),
                )
                .because(Reason::Patterns)
            })?;
            backup.ignored_files = bounded.lines().to_vec();
            backups::set_ignored_files(&context.database, backup.id, &backup.ignored_files)
                .await
                .map_err(|error| NotDone::database(&error))?;
        }
    }
    let rules = IgnoreRules::new(&backup.ignored_files).map_err(|error| engine(&error))?;
    Ok(rules.with_unused_list(unused))
}

async fn scan(work: &Arc<Work>, server: &Server, rules: &Arc<IgnoreRules>) -> Result<(), NotDone> {
    let (control, directory, rules) = (
        Arc::clone(&work.control),
        server.directory.clone(),
        Arc::clone(rules),
    );
    tokio::task::spawn_blocking(move || holdfast_archive::scan(&directory, &rules, &control))
        .await
        .map_err(|error| NotDone::panicked(&error))?
        .map_err(|error| engine(&error))?;
    Ok(())
}

/// Runs the engine and both uploads side by side, until all three have ended, or the work is to stop.
async fn store(
    context: &Context,
    work: &Arc<Work>,
    server: &Server,
    rules: &Arc<IgnoreRules>,
    disk: &Disk,
    key: ArchiveKey,
) -> Result<(Summary, Upload, Upload), NotDone> {
    let most_bytes = server
        .limits
        .max_backup_bytes
        .unwrap_or(context.options.max_backup_bytes);
    let begin = async |key| {
        let begun = disk.begin(key, most_bytes).await;
        begun.map_err(|error| NotDone::disk(&error))
    };
    let (archive, index) = work
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
        ..CreateOptions::default()
    };
    let (control, directory, rules) = (
        Arc::clone(&work.control),
        server.directory.clone(),
        Arc::clone(rules),
    );
    let engine_thread = tokio::task::spawn_blocking(move || {
        let summary = holdfast_archive::create(
            &directory,
            &rules,
            &options,
            &mut archive_writer,
            &mut index_writer,
            &control,
        )?;
        index_writer
            .finish()
            .and_then(|()| archive_writer.finish())
            .map_err(holdfast_archive::Error::Output)?;
        Ok(summary)
    });
    // It is left behind, too; what it writes then leads nowhere.
    let engine_ended = work.unless_stopped(async { Ok(engine_thread.await) });
    let (ended, archive, index) = tokio::join!(
        engine_ended,
        archive_reader.carry(archive, work),
        index_reader.carry(index, work)
    );
    // An upload that failed is the reason why the engine failed, not the other way round.
    let archive = archive?;
    let index = index?;
    let summary = ended?
        .map_err(|error| NotDone::panicked(&error))?
        .map_err(|error| engine(&error))?;
    Ok((summary, archive, index))
}

/// What the engine's failure means for a backup.
fn engine(error: &holdfast_archive::Error) -> NotDone {
    use holdfast_archive::Error;
    let detail = chain(error);
    match error {
        Error::Cancelled => NotDone::Stopped,
        Error::SourceMissing { .. } => {
            NotDone::terminal("The server's directory does not exist on its node.", detail)
                .because(Reason::SourceMissing)
        }
        Error::NotADirectory { .. } => NotDone::terminal(
            "The server's directory is not a directory on its node.",
            detail,
        )
        .because(Reason::SourceMissing),
        Error::TooLarge { limit_bytes } => NotDone::terminal(
            format!("The backup grew larger than the {limit_bytes} bytes that are allowed."),
            detail,
        )
        .because(Reason::TooLarge),
        Error::Pattern { .. } => {
            NotDone::terminal(format!("An ignore pattern can't be used: {error}."), detail)
                .because(Reason::Patterns)
        }
        Error::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            NotDone::terminal(
                "The server's directory may not be read by the service.",
                detail,
            )
            .because(Reason::SourceUnreadable)
        }
        _ => NotDone::retry("The server's files could not be read.", detail)
            .because(Reason::SourceUnreadable),
    }
}
