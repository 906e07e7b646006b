//! Brings an object to where the archive engine can read it at any offset: a file.
//!
//! A local disk has that already. From any other disk the object is fetched into a file that has no
//! name, so that nothing is left of it however the worker ends, on the file system where a restore
//! unpacks. A server's directory is never touched here.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use holdfast_storage::{Disk, StorageKey};

use crate::context::Context;
use crate::lease::Work;
use crate::outcome::{NotDone, Reason};

/// How much is written at once.
const WRITE_BYTES: usize = 1 << 20;

/// Where objects are fetched to before a restore of `directory`.
pub(crate) fn staging(context: &Context, directory: &Path) -> PathBuf {
    let beside = || directory.parent().unwrap_or(directory).to_owned();
    context.options.staging_dir.clone().unwrap_or_else(beside)
}

/// Opens an object, or a copy of it in `staging`.
pub(crate) async fn object(
    work: &Work,
    disk: &Disk,
    key: StorageKey,
    staging: &Path,
) -> Result<File, NotDone> {
    let opened = disk.open(key).await;
    if let Some(file) = opened.map_err(|error| NotDone::disk(&error))? {
        return Ok(file);
    }
    work.unless_stopped(fetch(disk, key, staging)).await
}

async fn fetch(disk: &Disk, key: StorageKey, staging: &Path) -> Result<File, NotDone> {
    let opened = disk.read(key, 0..u64::MAX).await;
    let mut reader = opened.map_err(|error| NotDone::disk(&error))?;
    let needed = reader.object_bytes();
    let folder = staging.to_owned();
    let mut file = blocking(staging, move || {
        let free = holdfast_storage::free_bytes(&folder)?;
        if free < needed {
            let text = format!("{needed} bytes are needed, {free} are free");
            return Err(io::Error::new(io::ErrorKind::StorageFull, text));
        }
        tempfile::tempfile_in(&folder)
    })
    .await?;
    loop {
        // Networks bring little at a time; a file takes more at once for the same trouble.
        let mut pieces = Vec::new();
        let mut length = 0;
        while length < WRITE_BYTES {
            let next = reader.next().await;
            let Some(piece) = next.map_err(|error| NotDone::disk(&error))? else {
                break;
            };
            length += piece.len();
            pieces.push(piece);
        }
        if pieces.is_empty() {
            break;
        }
        file = blocking(staging, move || {
            for piece in &pieces {
                file.write_all(piece)?;
            }
            Ok(file)
        })
        .await?;
    }
    blocking(staging, move || {
        file.seek(SeekFrom::Start(0))?;
        Ok(file)
    })
    .await
}

/// Works with a file on a thread of its own, and tells what its failure means.
async fn blocking<T: Send + 'static>(
    staging: &Path,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, NotDone> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| NotDone::panicked(&error))?
        .map_err(|error| {
            let detail = format!("`{}`: {error}", staging.display());
            match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => NotDone::terminal(
                "There is not enough space on the server's node to fetch the archive. Nothing was \
                 changed.",
                detail,
            )
            .because(Reason::NoSpace),
            _ => NotDone::retry(
                "The archive could not be fetched to the server's node. Nothing was changed.",
                detail,
            )
            .because(Reason::TargetUnwritable),
        }
        })
}
