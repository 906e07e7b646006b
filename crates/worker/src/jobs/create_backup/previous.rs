//! Chooses the earlier archive that a new one reuses, and opens it.

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use rustix::fs::Advice;

use holdfast_archive::{CreateOptions, Error, Expected, Previous, ReadAt, Summary};
use holdfast_db::backups::{self, PreviousBackup};
use holdfast_domain::Backup;
use holdfast_domain::backup::ArchiveWork;
use holdfast_domain::error_chain::chain;
use holdfast_storage::{ArchiveKey, Disk, StorageKey};

use crate::backup_mode::{BackupMode, FullReason, RereadReason};
use crate::context::Context;
use crate::fetch::{self, RemoteArchive};
use crate::lease::ActiveJob;
use crate::outcome::JobError;
use crate::pipe::OldBytes;

/// What a backup does with the earlier ones.
#[derive(Debug)]
pub(super) enum Strategy {
    /// It reads and packs everything.
    Full(FullReason),
    /// It reuses the archive of an earlier backup, and reads every file again if there is a reason.
    Reuse(PreviousBackup, Option<RereadReason>),
}

/// Chooses the strategy of a backup by what the database knows.
pub(super) async fn choose(
    context: &Context,
    job: &ActiveJob,
    backup: &Backup,
    disk: &Disk,
) -> Result<Strategy, JobError> {
    if !context.options.reuse {
        return Ok(Strategy::Full(FullReason::Off));
    }
    if backup.is_full {
        return Ok(Strategy::Full(FullReason::Requested));
    }
    if job.claim.attempt > 1 {
        // Whatever failed before must not fail again for the sake of the previous archive.
        return Ok(Strategy::Full(FullReason::Retry));
    }
    let node = disk.is_node_local().then_some(&context.options.node);
    let found = backups::find_previous(&context.database, backup, node).await;
    let Some(previous) = found.map_err(|error| JobError::database(&error))? else {
        return Ok(Strategy::Full(FullReason::First));
    };
    if previous.is_suspect {
        return Ok(Strategy::Full(FullReason::Damaged));
    }
    let every = context.options.reread_every;
    let reread = if previous.is_before_restore {
        Some(RereadReason::Restore)
    } else if ArchiveWork::is_reread_due(previous.unread_backups, every) {
        Some(RereadReason::Schedule)
    } else {
        None
    };
    Ok(Strategy::Reuse(previous, reread))
}

impl Strategy {
    pub(super) fn mode(&self) -> BackupMode {
        match self {
            Self::Full(reason) => BackupMode::Full(*reason),
            Self::Reuse(_, Some(reason)) => BackupMode::Reread(*reason),
            Self::Reuse(_, None) => BackupMode::Reused,
        }
    }

    /// Returns what was read, reused and stored for an archive that was created by this strategy.
    pub(super) fn work(&self, summary: &Summary, stored_bytes: Option<u64>) -> ArchiveWork {
        // Entries of the previous archive may be packed again, so that none of its bytes are left.
        let is_unread = summary.unread_entries > 0;
        let (reused_from, unread_backups) = match self {
            Self::Reuse(previous, _) if is_unread || summary.reused_bytes > 0 => {
                let before = previous.unread_backups.unwrap_or(0);
                let unread = if is_unread {
                    before.saturating_add(1)
                } else {
                    0
                };
                (Some(previous.id), unread)
            }
            Self::Full(_) | Self::Reuse(..) => (None, 0),
        };
        ArchiveWork {
            reused_from,
            reused_bytes: summary.reused_bytes,
            read_bytes: summary.read_bytes,
            stored_bytes,
            unread_backups,
        }
    }
}

/// Why an earlier archive cannot be reused.
#[derive(Debug)]
pub(super) struct Unusable {
    pub(super) reason: String,
    /// Whether it seems to be damaged or missing, so that users should know.
    pub(super) is_damaged: bool,
}

impl Unusable {
    pub(super) fn damaged(reason: String) -> Self {
        Self {
            reason,
            is_damaged: true,
        }
    }

    /// Returns what is wrong if the previous archive alone is the reason of an error.
    pub(super) fn of(error: &Error) -> Option<Self> {
        match error {
            Error::PreviousUnusable { reason } => Some(Self::damaged(reason.clone())),
            Error::PreviousUnsuitable { reason } => Some(Self {
                reason: reason.clone(),
                is_damaged: false,
            }),
            _ => None,
        }
    }
}

/// An earlier archive that was opened.
pub(super) struct OpenPrevious {
    pub(super) archive: Previous,
    /// Where its bytes are.
    pub(super) old: OldBytes,
}

/// Opens the archive of an earlier backup on the same disk.
///
/// The failure of a disk counts as an unusable archive here: a full backup then tells what is wrong
/// with the disk.
pub(super) async fn open(
    job: &ActiveJob,
    disk: &Disk,
    previous: &PreviousBackup,
    options: &CreateOptions,
) -> Result<OpenPrevious, Unusable> {
    let key = ArchiveKey {
        server: job.claim.server,
        backup: previous.id,
        attempt: previous.attempt,
    };
    let archive = StorageKey::Archive(key);
    let opened = job.unless_stopped(async {
        let index = StorageKey::Index(key);
        let index = fetch::open_object(job, disk, index, &std::env::temp_dir()).await?;
        let opened = disk.open(archive).await;
        let opened = opened.map_err(|error| JobError::disk(&error))?;
        let (bytes, old): (Box<dyn ReadAt>, OldBytes) = match opened.map(Arc::new) {
            Some(file) => {
                let bytes = PreviousFile(Arc::clone(&file));
                (Box::new(bytes), OldBytes::File(file))
            }
            None => {
                let reader = disk.random_reader(archive).await;
                let reader = reader.map_err(|error| JobError::disk(&error))?;
                let bytes = RemoteArchive(reader);
                (Box::new(bytes), OldBytes::Object(archive))
            }
        };
        Ok((index, bytes, old))
    });
    let opened = opened.await;
    let (index, bytes, old) = opened.map_err(|error| Unusable {
        reason: error.to_string(),
        is_damaged: error.is_about_archive(),
    })?;
    let expected = Expected {
        sha256: previous.sha256,
        archive_bytes: previous.size_bytes,
    };
    let options = options.clone();
    let load = move || {
        let opened = Previous::open(bytes, index, &options);
        let checked = opened.and_then(|previous| {
            previous.check(&expected)?;
            Ok(previous)
        });
        checked.map_err(|error| {
            Unusable::of(&error).unwrap_or_else(|| Unusable::damaged(chain(&error)))
        })
    };
    let loaded = tokio::task::spawn_blocking(load).await;
    let archive = loaded.map_err(|error| Unusable::damaged(error.to_string()))??;
    Ok(OpenPrevious { archive, old })
}

/// A previous archive on a local disk. Its bytes leave the page cache, so that they do not replace
/// what the game servers have cached.
#[derive(Debug)]
struct PreviousFile(Arc<File>);

impl ReadAt for PreviousFile {
    fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)?;
        if let Some(length) = NonZeroU64::new(buffer.len() as u64) {
            // Only advice, so an error changes nothing.
            let _ = rustix::fs::fadvise(&*self.0, offset, Some(length), Advice::DontNeed);
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}
