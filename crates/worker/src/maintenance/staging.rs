//! Cleans up after killed restores, beside servers' directories and in the staging folder.
//!
//! For a known server, the archive engine finishes or undoes the restore. The folders of unknown
//! servers are removed once they are old, if the engine is certain that they hold no server's only
//! files.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio_util::sync::CancellationToken;

use holdfast_archive::Recovered;
use holdfast_db::servers;
use holdfast_domain::error_chain::chain;
use holdfast_domain::{DirectorySetBy, ServerId};

use super::runs::RunResult;
use crate::context::Context;
use crate::server_directory;

/// How many servers one query reads.
const SERVERS_PER_PAGE: u32 = 500;
/// How many abandoned folders one run removes.
const FOLDERS_MAX: usize = 1000;

/// A set of paths that several threads change.
#[derive(Clone, Debug, Default)]
struct SharedPaths(Arc<Mutex<BTreeSet<PathBuf>>>);

impl SharedPaths {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Finishes or undoes the restores that were interrupted on this node.
pub(super) async fn recover(context: &Arc<Context>, stop: &CancellationToken) {
    let recovered = each_server(context, stop, |context, result, server, directory| {
        recover_one(context, result, server, directory);
    });
    if let Some(error) = recovered.await.error {
        tracing::warn!(error, "could not look for interrupted restores");
    }
}

/// Does the same, and removes the old staging folders that belong to no server of this node.
pub(super) async fn sweep(context: &Arc<Context>, stop: &CancellationToken) -> RunResult {
    let parents = SharedPaths::default();
    parents.lock().extend(context.options.staging_dir.clone());
    let seen = parents.clone();
    let mut result = each_server(context, stop, move |context, result, server, directory| {
        recover_one(context, result, server, directory);
        seen.lock().extend(directory.parent().map(Path::to_owned));
    })
    .await;
    if result.error.is_some() {
        return result;
    }
    let parents = std::mem::take(&mut *parents.lock());
    let old_before = SystemTime::from((context.now)())
        .checked_sub(context.options.maintenance.orphan_age)
        .unwrap_or(SystemTime::UNIX_EPOCH);
    let listed = tokio::task::spawn_blocking(move || old_folders(&parents, old_before)).await;
    let old = match listed {
        Ok(old) => old,
        Err(error) => {
            result.error = Some(error.to_string());
            return result;
        }
    };
    if old.is_empty() {
        return result;
    }
    let abandoned = match without_known_servers(context, stop, old).await {
        Ok(abandoned) => abandoned,
        Err(error) => {
            result.error = Some(error);
            return result;
        }
    };
    let removed = tokio::task::spawn_blocking(move || remove(abandoned)).await;
    match removed {
        Ok((removed, failed)) => {
            result.counts.insert("removed", removed);
            if failed > 0 {
                result.counts.insert("failed", failed);
            }
        }
        Err(error) => result.error = Some(error.to_string()),
    }
    result
}

/// Returns `folders` without those that may belong to a server of this node, whose restore may
/// still run.
async fn without_known_servers(
    context: &Arc<Context>,
    stop: &CancellationToken,
    folders: BTreeSet<PathBuf>,
) -> Result<BTreeSet<PathBuf>, String> {
    let abandoned = SharedPaths(Arc::new(Mutex::new(folders)));
    let remaining = abandoned.clone();
    let checked = each_server(context, stop, move |context, _, _, directory| {
        let staging_dir = context.options.staging_dir.as_deref();
        match holdfast_archive::staging_paths(directory, staging_dir) {
            Ok(Some(paths)) => remaining.lock().retain(|folder| !paths.contains(folder)),
            Ok(None) => {}
            // The server's staging folder is unknown, so keep all folders beside its directory.
            Err(_) => remaining
                .lock()
                .retain(|folder| folder.parent() != directory.parent()),
        }
    })
    .await;
    match checked.error {
        Some(error) => Err(error),
        None => Ok(std::mem::take(&mut *abandoned.lock())),
    }
}

/// Calls `work` for every server of this node, on a blocking thread.
async fn each_server(
    context: &Arc<Context>,
    stop: &CancellationToken,
    work: impl Fn(&Context, &mut RunResult, ServerId, &Path) + Send + Clone + 'static,
) -> RunResult {
    let mut result = RunResult::default();
    let mut after: Option<PathBuf> = None;
    loop {
        if stop.is_cancelled() {
            result.error = Some("it was stopped before it completed".to_owned());
            return result;
        }
        let node = &context.options.node;
        let page =
            servers::on_node(&context.database, node, after.as_deref(), SERVERS_PER_PAGE).await;
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                result.error = Some(chain(&error));
                return result;
            }
        };
        let Some((_, last, _)) = page.last() else {
            return result;
        };
        after = Some(last.clone());
        let (context, work) = (Arc::clone(context), work.clone());
        let done = tokio::task::spawn_blocking(move || {
            for (server, directory, set_by) in page {
                if let Some(directory) = resolve(&context, server, &directory, set_by) {
                    work(&context, &mut result, server, &directory);
                }
            }
            result
        });
        result = match done.await {
            Ok(result) => result,
            Err(error) => {
                return RunResult {
                    error: Some(error.to_string()),
                    ..RunResult::default()
                };
            }
        };
    }
}

/// Resolves a server's directory. Returns `None` if no restore may run there, so nothing can be
/// left.
fn resolve(
    context: &Context,
    server: ServerId,
    directory: &Path,
    set_by: DirectorySetBy,
) -> Option<PathBuf> {
    match server_directory::resolve(&context.options.directory_rules, directory, set_by) {
        Ok(directory) => Some(directory),
        Err(error) => {
            tracing::warn!(
                %server,
                error = chain(&error),
                "skipped a server whose directory can't be used",
            );
            None
        }
    }
}

fn recover_one(context: &Context, result: &mut RunResult, server: ServerId, directory: &Path) {
    let count = match holdfast_archive::recover(directory, context.options.staging_dir.as_deref()) {
        Ok(Recovered::Nothing | Recovered::Busy) => return,
        Ok(Recovered::Kept { path, remains }) => {
            tracing::warn!(
                %server,
                folder = %path.display(),
                "{remains} could not be removed after a restore",
            );
            "kept"
        }
        Ok(recovered) => {
            tracing::warn!(%server, ?recovered, "recovered from an interrupted restore");
            "recovered"
        }
        Err(error) => {
            tracing::error!(
                %server,
                error = chain(&error),
                "the recovery from an interrupted restore failed",
            );
            "failed"
        }
    };
    *result.counts.entry(count).or_default() += 1;
}

/// Lists up to [`FOLDERS_MAX`] staging folders that have not changed since `before`.
fn old_folders(parents: &BTreeSet<PathBuf>, before: SystemTime) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for parent in parents {
        let entries = match fs_err::read_dir(parent) {
            Ok(entries) => entries,
            Err(error) => {
                tracing::debug!(%error, "a folder could not be read");
                continue;
            }
        };
        // An entry that disappears meanwhile is in use, not left over.
        for entry in entries.flatten() {
            let is_old = |found: std::fs::Metadata| found.modified().is_ok_and(|at| at < before);
            if holdfast_archive::is_staging_name(entry.file_name().as_bytes())
                && entry.metadata().is_ok_and(is_old)
                && found.len() < FOLDERS_MAX
            {
                found.insert(entry.path());
            }
        }
    }
    found
}

/// Removes abandoned folders. Returns how many were removed, and how many could not be removed.
fn remove(folders: BTreeSet<PathBuf>) -> (u64, u64) {
    let (mut removed, mut failed) = (0, 0);
    for folder in folders {
        match holdfast_archive::remove_abandoned_staging(&folder) {
            Ok(true) => {
                tracing::info!(
                    folder = %folder.display(),
                    "removed the staging folder of an unknown server",
                );
                removed += 1;
            }
            Ok(false) => {
                tracing::warn!(
                    folder = %folder.display(),
                    "kept a staging folder that may hold a server's only files",
                );
            }
            Err(error) => {
                tracing::warn!(
                    folder = %folder.display(),
                    error = chain(&error),
                    "a staging folder could not be removed",
                );
                failed += 1;
            }
        }
    }
    (removed, failed)
}
