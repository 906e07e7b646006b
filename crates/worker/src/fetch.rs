//! Opens an object as a file, since the archive engine reads at any offset.
//!
//! On a local disk, the object is a file. From any other disk it is downloaded to an unnamed
//! temporary file, on the file system where the restore unpacks. Nothing is left of it if the
//! worker is killed. This module must never touch a server's directory.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use holdfast_archive::ReadAt;
use holdfast_storage::{Disk, RandomReader, Shortage, StorageKey};

use crate::context::Context;
use crate::lease::ActiveJob;
use crate::outcome::{FailureReason, JobError};

/// How many bytes are written at once.
const WRITE_BYTES: usize = 1 << 20;

/// Returns where objects are downloaded to for a restore of `directory`: where it unpacks, because
/// a mount point has another disk than the folder around it.
pub(crate) async fn staging_dir(context: &Context, directory: &Path) -> Result<PathBuf, JobError> {
    let staging_dir = context.options.staging_dir.clone();
    let directory = directory.to_owned();
    let found = tokio::task::spawn_blocking(move || {
        let parent = |path: &Path| path.parent().unwrap_or(path).to_owned();
        match holdfast_archive::staging_paths(&directory, staging_dir.as_deref()) {
            Ok(Some([staging, _])) => parent(&staging),
            // The directory does not exist yet, or the restore will say why it cannot be used.
            Ok(None) | Err(_) => staging_dir.unwrap_or_else(|| parent(&directory)),
        }
    });
    found.await.map_err(|error| JobError::panicked(&error))
}

/// An archive in a bucket or on an encrypted disk, of which only the ranges that are needed are
/// read.
#[derive(Debug)]
pub(crate) struct RemoteArchive(pub(crate) RandomReader);

impl ReadAt for RemoteArchive {
    fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.size())
    }
}

/// Opens an archive of which only a part will be read. Nothing is downloaded before that.
pub(crate) async fn open_archive(
    disk: &Disk,
    key: StorageKey,
) -> Result<Box<dyn ReadAt>, JobError> {
    let opened = disk.open(key).await;
    if let Some(file) = opened.map_err(|error| JobError::disk(&error))? {
        return Ok(Box::new(file));
    }
    let reader = disk.random_reader(key).await;
    let reader = reader.map_err(|error| JobError::disk(&error))?;
    Ok(Box::new(RemoteArchive(reader)))
}

/// Opens an object, or a copy of it in the folder `staging`.
pub(crate) async fn open_object(
    job: &ActiveJob,
    disk: &Disk,
    key: StorageKey,
    staging: &Path,
) -> Result<File, JobError> {
    let opened = disk.open(key).await;
    if let Some(file) = opened.map_err(|error| JobError::disk(&error))? {
        return Ok(file);
    }
    job.unless_stopped(download(disk, key, staging)).await
}

async fn download(disk: &Disk, key: StorageKey, staging: &Path) -> Result<File, JobError> {
    let opened = disk.read(key, 0..u64::MAX).await;
    let mut reader = opened.map_err(|error| JobError::disk(&error))?;
    let needed = reader.object_bytes();
    let folder = staging.to_owned();
    let mut file = blocking(staging, move || {
        if let Some(free) = holdfast_storage::free_bytes(&folder)?
            && free < needed
        {
            let text = format!("{needed} bytes are needed, {free} are free");
            return Err(io::Error::new(io::ErrorKind::StorageFull, text));
        }
        tempfile::tempfile_in(&folder)
    })
    .await?;
    loop {
        // Chunks from the network are small; larger writes are cheaper.
        let mut chunks = Vec::new();
        let mut length = 0;
        while length < WRITE_BYTES {
            let next = reader.next().await;
            let Some(chunk) = next.map_err(|error| JobError::disk(&error))? else {
                break;
            };
            length += chunk.len();
            chunks.push(chunk);
        }
        if chunks.is_empty() {
            break;
        }
        file = blocking(staging, move || {
            for chunk in &chunks {
                file.write_all(chunk)?;
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

/// Runs file operations on a blocking thread, and maps their errors.
async fn blocking<T: Send + 'static>(
    staging: &Path,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, JobError> {
    let folder = staging.to_owned();
    // The file system is queried for the reason of an error, too.
    let work = move || work().map_err(|error| staging_error(&folder, &error));
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| JobError::panicked(&error))?
}

fn staging_error(staging: &Path, error: &io::Error) -> JobError {
    let mut detail = format!("`{}`: {error}", staging.display());
    let Some(shortage) = Shortage::of(error, staging) else {
        return JobError::retryable(
            "The archive could not be fetched to the server's node. Nothing was changed.",
            detail,
        )
        .with_reason(FailureReason::TargetUnwritable);
    };
    let sentence = match shortage {
        Shortage::Space => {
            "There is not enough space on the server's node to fetch the archive. Nothing was \
             changed."
        }
        Shortage::Inodes | Shortage::Quota | Shortage::FileSize => {
            detail = format!("{detail}: the file system {shortage}");
            "The server's node can't store a copy of the archive: its inodes, its quota or the \
             largest size of a file do not allow it. Nothing was changed."
        }
    };
    JobError::permanent(sentence, detail).with_reason(FailureReason::NoSpace)
}
