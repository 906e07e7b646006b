//! Finds backups that the database does not know: the server was on a node with another database,
//! or the database was lost. If the archive lies in a bucket, its manifest lies beside it.

use holdfast_db::backups::{self, ImportedBackup};
use holdfast_domain::error_chain::chain;
use holdfast_domain::wings::WingsNode;
use holdfast_domain::{Backup, BackupId, ServerId};
use holdfast_storage::{ArchiveKey, CheckedManifest, Disk, StorageKey};

use super::server;
use crate::error::{ApiError, NodeRefused};
use crate::state::ApiState;

/// Finds a backup of a server. If the database does not have it, looks for it in the buckets, and
/// takes it into the database.
///
/// # Errors
/// [`NodeRefused::BackupUnknown`] if there is no such backup. [`ApiError::Unavailable`] if a bucket
/// cannot be read: the panel would take the backup for deleted.
pub(super) async fn find(
    state: &ApiState,
    node: &WingsNode,
    server: ServerId,
    backup: BackupId,
) -> Result<Backup, ApiError> {
    if let Some(known) = backups::find(&state.database, server, backup).await? {
        return Ok(known);
    }
    for (_, disk) in state.disks.iter() {
        if disk.is_node_local() {
            continue;
        }
        let Some(key) = find_manifest(disk, server, backup).await? else {
            continue;
        };
        let manifest = CheckedManifest::read(disk, key, (state.now)()).await;
        match manifest {
            Ok(manifest) => {
                import(state, node, disk, key, &manifest).await?;
                let imported = backups::find(&state.database, server, backup).await?;
                return imported.ok_or(ApiError::Node(NodeRefused::BackupUnknown));
            }
            Err(problem) => tracing::warn!(
                disk = %disk.name(),
                manifest = %StorageKey::Manifest(key),
                %problem,
                "a backup that the panel asks for cannot be taken over from its manifest"
            ),
        }
    }
    Err(ApiError::Node(NodeRefused::BackupUnknown))
}

/// Returns the key of the last attempt of a backup that has a manifest on a disk.
async fn find_manifest(
    disk: &Disk,
    server: ServerId,
    backup: BackupId,
) -> Result<Option<ArchiveKey>, ApiError> {
    let mut found: Option<ArchiveKey> = None;
    let mut listing = disk.list(Some(server));
    while let Some(page) = listing
        .next_page()
        .await
        .map_err(|error| unread(disk, &error))?
    {
        let keys = page.iter().filter_map(|object| match object.key {
            StorageKey::Manifest(key) if key.backup == backup => Some(key),
            _ => None,
        });
        found = keys.chain(found).max_by_key(|key| key.attempt);
    }
    Ok(found)
}

/// Says that it is unknown what a bucket holds, whatever the reason.
fn unread(disk: &Disk, error: &holdfast_storage::Error) -> ApiError {
    tracing::error!(disk = %disk.name(), error = chain(error), "a bucket cannot be searched");
    ApiError::Unavailable
}

async fn import(
    state: &ApiState,
    node: &WingsNode,
    disk: &Disk,
    key: ArchiveKey,
    manifest: &CheckedManifest,
) -> Result<(), ApiError> {
    let mut transaction = state.database.begin().await?;
    server::lock_or_register(state, node, &mut transaction, key.server).await?;
    transaction.commit().await?;
    let backup = ImportedBackup {
        id: key.backup,
        server: key.server,
        name: &manifest.name,
        ignored_files: &manifest.ignored_files,
        disk: disk.name(),
        node: &state.options.node,
        is_locked: false,
        is_scheduled: manifest.is_scheduled,
        created_at: manifest.created_at,
        completed: &manifest.completed,
    };
    backups::import(&state.database, &backup).await?;
    tracing::info!(
        server = %key.server,
        backup = %key.backup,
        disk = %disk.name(),
        "took over a backup that the panel knows, from its manifest"
    );
    Ok(())
}
