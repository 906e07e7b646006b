//! The access of the two contents endpoints to an archive: permission, path, disk and keys.

use std::sync::Arc;

use holdfast_domain::access::Action;
use holdfast_domain::backup::BackupOperation;
use holdfast_domain::error_chain::chain;
use holdfast_domain::{BackupId, ServerId};
use holdfast_storage::{ArchiveKey, BlockingReader, Disk, StorageKey};

use crate::auth::{Caller, permit};
use crate::content_scans::{ContentScans, ScanPermit};
use crate::error::ApiError;
use crate::page::query_value;
use crate::state::ApiState;

/// An archive that this process can read, and a path in it.
pub(super) struct ArchiveAccess<'a> {
    pub(super) server: ServerId,
    pub(super) backup: BackupId,
    /// The path as in the archive. Empty for the server's directory.
    pub(super) path: Vec<u8>,
    disk: &'a Disk,
    key: ArchiveKey,
    scans: &'a ContentScans,
}

impl<'a> ArchiveAccess<'a> {
    /// Checks the permission, the query parameter `path` and the backup of a request.
    ///
    /// # Errors
    /// If one of them does not allow the access, or this process cannot read the backup's disk.
    pub(super) fn of_request(
        caller: &Caller,
        state: &'a ApiState,
        query: &str,
        is_path_required: bool,
    ) -> Result<Self, ApiError> {
        let (server, access, backup) = caller.backup()?;
        permit(access, Action::Download)?;
        let path = query_value(query, "path").filter(|path| !path.is_empty());
        if path.is_none() && is_path_required {
            let detail = "The path field is required.";
            return Err(ApiError::violation("path", "required", detail));
        }
        let completed = backup
            .check_completed(BackupOperation::Download)
            .map_err(ApiError::NotCompleted)?;
        if state.foreign_node(backup).is_some() {
            return Err(ApiError::OnAnotherNode);
        }
        Ok(Self {
            server: server.id,
            backup: backup.id,
            path: normalize(&path.unwrap_or_default()),
            scans: &state.content_scans,
            disk: state.disks.get(&backup.disk)?,
            key: ArchiveKey {
                server: server.id,
                backup: backup.id,
                attempt: completed.attempt,
            },
        })
    }

    /// Opens the index of the archive.
    async fn index(&self) -> Result<BlockingReader, ApiError> {
        let reader = self.disk.read(StorageKey::Index(self.key), 0..u64::MAX);
        match reader.await {
            Ok(reader) => Ok(reader.into_blocking()),
            Err(holdfast_storage::Error::NotFound { .. }) => Err(ApiError::IndexMissing),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until this process may read one more index.
    ///
    /// # Errors
    /// If too many requests wait for that.
    pub(super) async fn start_scan(&self) -> Result<IndexScan<'_>, ApiError> {
        let permit = self.scans.permit().await?;
        Ok(IndexScan {
            archive: self,
            permit: Arc::new(permit),
        })
    }

    /// Opens a range of the archive.
    pub(super) async fn archive(
        &self,
        range: std::ops::Range<u64>,
    ) -> Result<BlockingReader, ApiError> {
        let reader = self.disk.read(StorageKey::Archive(self.key), range);
        Ok(reader.await?.into_blocking())
    }
}

/// The right to read the index of an archive, any number of times.
pub(super) struct IndexScan<'a> {
    archive: &'a ArchiveAccess<'a>,
    permit: Arc<ScanPermit>,
}

impl IndexScan<'_> {
    /// Opens the index and reads it with `read`.
    ///
    /// # Errors
    /// If the index cannot be opened.
    pub(super) async fn pass<T: Send + 'static>(
        &self,
        read: impl FnOnce(BlockingReader) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let permit = Arc::clone(&self.permit);
        let index = self.archive.index().await?;
        run_blocking(move || {
            let result = read(index);
            // The thread goes on when the client has gone, so it keeps the permit until here.
            drop(permit);
            result
        })
        .await
    }
}

/// Runs `work` on a thread that may block.
pub(super) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "the task that reads an archive panicked");
        ApiError::Internal
    })
}

/// Maps an error of reading an archive: the archive is damaged, or its disk is unavailable.
pub(super) fn map_archive_error(error: &holdfast_archive::Error) -> ApiError {
    map_error(error, ApiError::ArchiveDamaged)
}

/// Maps an error of reading an index. If the index is damaged, the archive may still be intact.
pub(super) fn map_index_error(error: &holdfast_archive::Error) -> ApiError {
    map_error(error, ApiError::IndexMissing)
}

fn map_error(error: &holdfast_archive::Error, damaged: ApiError) -> ApiError {
    tracing::error!(
        error = chain(error),
        "cannot read the contents of an archive"
    );
    let storage_error = match error {
        holdfast_archive::Error::Io { source, .. } => source
            .get_ref()
            .and_then(|source| source.downcast_ref::<holdfast_storage::Error>()),
        _ => return damaged,
    };
    match storage_error {
        Some(holdfast_storage::Error::Damaged { .. }) => damaged,
        _ => ApiError::Unavailable,
    }
}

/// Returns a path as in an archive: without empty segments and `.` segments.
pub(crate) fn normalize(path: &[u8]) -> Vec<u8> {
    let segments = path.split(|&byte| byte == b'/');
    let segments: Vec<&[u8]> = segments
        .filter(|segment| !segment.is_empty() && *segment != b".")
        .collect();
    segments.join(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_decoded_and_normalized() {
        for (query, expected) in [
            ("path=world%2Flevel.dat", Some(&b"world/level.dat"[..])),
            ("path=/world/./region//", Some(b"world/region")),
            ("page=2&path=a+b%20c%2B", Some(b"a b c+")),
            ("path=%FF%00", Some(b"\xff\0")),
            ("path=a&path=b", Some(b"b")),
            ("path=%zz", Some(b"%zz")),
            ("path=../x", Some(b"../x")),
            ("path", Some(b"")),
            ("path=/", Some(b"")),
            ("paths=a", None),
            ("", None),
        ] {
            let found = query_value(query, "path").map(|path| normalize(&path));
            assert_eq!(found.as_deref(), expected, "{query}");
        }
    }
}
