//! What both endpoints about a backup's contents begin with: who, may they, which path, and where its archive lies.

use holdfast_domain::access::Action;
use holdfast_domain::backup::BackupOperation;
use holdfast_domain::error_chain::chain;
use holdfast_domain::{BackupId, ServerId};
use holdfast_storage::{ArchiveKey, BlockingReader, Disk, StorageKey};

use crate::auth::{Caller, permit};
use crate::error::ApiError;
use crate::handlers::files::unavailable;
use crate::input::Violation;
use crate::page::query_value;
use crate::state::ApiState;

/// An archive that this process can read, and what is wanted of it.
pub(super) struct Reach<'a> {
    pub(super) server: ServerId,
    pub(super) backup: BackupId,
    /// As in the archive; empty for the directory itself.
    pub(super) path: Vec<u8>,
    disk: &'a Disk,
    key: ArchiveKey,
}

impl<'a> Reach<'a> {
    /// Checks what can be checked before anything is read.
    pub(super) fn of(
        caller: &Caller,
        state: &'a ApiState,
        query: &str,
        must_say: bool,
    ) -> Result<Self, ApiError> {
        let (server, standing, backup) = caller.backup()?;
        permit(standing, Action::Download)?;
        let said = query_value(query, "path").filter(|path| !path.is_empty());
        if said.is_none() && must_say {
            return Err(ApiError::Invalid(vec![Violation {
                field: "path".to_owned(),
                rule: "required",
                detail: "The path field is required.".to_owned(),
            }]));
        }
        let completed = backup
            .check_completed(BackupOperation::Download)
            .map_err(ApiError::NotCompleted)?;
        if state.is_of_one_node(&backup.disk)
            && backup
                .node
                .as_ref()
                .is_some_and(|node| *node != state.options.node)
        {
            return Err(ApiError::OnAnotherNode);
        }
        Ok(Self {
            server: server.id,
            backup: backup.id,
            path: normal(&said.unwrap_or_default()),
            disk: state.disks.get(&backup.disk).map_err(unavailable)?,
            key: ArchiveKey {
                server: server.id,
                backup: backup.id,
                attempt: completed.attempt,
            },
        })
    }

    /// Begins to read the archive's index.
    pub(super) async fn index(&self) -> Result<BlockingReader, ApiError> {
        let reader = self.disk.read(StorageKey::Index(self.key), 0..u64::MAX);
        match reader.await {
            Ok(reader) => Ok(reader.waiting()),
            Err(holdfast_storage::Error::NotFound { .. }) => Err(ApiError::IndexMissing),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// Begins to read a part of the archive.
    pub(super) async fn archive(
        &self,
        range: std::ops::Range<u64>,
    ) -> Result<BlockingReader, ApiError> {
        let reader = self.disk.read(StorageKey::Archive(self.key), range);
        Ok(reader.await.map_err(unavailable)?.waiting())
    }
}

/// Does what waits, or takes long, on a thread that may.
pub(super) async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "reading an archive's contents ended badly");
        ApiError::Internal
    })
}

/// Tells an archive that is not as it was written from a disk that is away.
pub(super) fn damaged(error: &holdfast_archive::Error) -> ApiError {
    failed(error, ApiError::ArchiveDamaged)
}

/// The same of its index, without which the archive may still be whole.
pub(super) fn index_damaged(error: &holdfast_archive::Error) -> ApiError {
    failed(error, ApiError::IndexMissing)
}

fn failed(error: &holdfast_archive::Error, damaged: ApiError) -> ApiError {
    tracing::error!(error = chain(error), "an archive's contents can't be read");
    let of_disk = match error {
        holdfast_archive::Error::Io { source, .. } => source
            .get_ref()
            .and_then(|source| source.downcast_ref::<holdfast_storage::Error>()),
        _ => return damaged,
    };
    match of_disk {
        Some(holdfast_storage::Error::Damaged { .. }) => damaged,
        _ => ApiError::Unavailable,
    }
}

/// Writes a path as an archive has it: without slashes at its ends, or steps that lead nowhere.
fn normal(path: &[u8]) -> Vec<u8> {
    let steps = path.split(|&byte| byte == b'/');
    let steps: Vec<&[u8]> = steps
        .filter(|step| !step.is_empty() && *step != b".")
        .collect();
    steps.join(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_as_it_was_meant() {
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
            let found = query_value(query, "path").map(|path| normal(&path));
            assert_eq!(found.as_deref(), expected, "{query}");
        }
    }
}
