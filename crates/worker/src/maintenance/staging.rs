//! What restores that were killed have left beside servers' directories, or in the folder for all of them.
//!
//! Of a server that is known, the archive engine knows what to do. What belongs to none goes once it is old, as far
//! as the engine is certain that it holds nobody's files.

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

use super::runs::Ran;
use crate::context::Context;
use crate::server_directory;

/// How many servers are looked at together.
const SERVERS: u32 = 500;
/// How many folders of nobody are dealt with in one run.
const FOLDERS: usize = 1000;

/// Folders that are gathered on other threads.
#[derive(Clone, Debug, Default)]
struct Shared(Arc<Mutex<BTreeSet<PathBuf>>>);

impl Shared {
    fn set(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Finishes or undoes the restores that a killed worker of this node has left half-way.
pub(super) async fn recover(context: &Arc<Context>, stop: &CancellationToken) {
    let ran = each_server(context, stop, |context, ran, server, directory| {
        recover_one(context, ran, server, directory);
    });
    if let Some(error) = ran.await.error {
        tracing::warn!(error, "servers could not be looked at for recovery");
    }
}

/// The same, and what no server of this node will ever put right.
pub(super) async fn sweep(context: &Arc<Context>, stop: &CancellationToken) -> Ran {
    let parents = Shared::default();
    parents.set().extend(context.options.staging_dir.clone());
    let seen = parents.clone();
    let mut ran = each_server(context, stop, move |context, ran, server, directory| {
        recover_one(context, ran, server, directory);
        seen.set().extend(directory.parent().map(Path::to_owned));
    })
    .await;
    if ran.error.is_some() {
        return ran;
    }
    let parents = std::mem::take(&mut *parents.set());
    let old_before = SystemTime::from((context.now)())
        .checked_sub(context.options.keeping.orphan_age)
        .unwrap_or(SystemTime::UNIX_EPOCH);
    let listed = tokio::task::spawn_blocking(move || old_folders(&parents, old_before)).await;
    let strays = match listed {
        Ok(strays) => strays,
        Err(error) => {
            ran.error = Some(error.to_string());
            return ran;
        }
    };
    if strays.is_empty() {
        return ran;
    }
    // Those of servers that are known are being dealt with: their restore may go on.
    let strays = Shared(Arc::new(Mutex::new(strays)));
    let left = strays.clone();
    let again = each_server(context, stop, move |context, _, _, directory| {
        let staging_dir = context.options.staging_dir.as_deref();
        match holdfast_archive::staging_path(directory, staging_dir) {
            Ok(Some(staging)) => {
                left.set().remove(&staging);
            }
            Ok(None) => {}
            // Which one is this server's can't be told, so none beside it is anybody's to remove.
            Err(_) => left
                .set()
                .retain(|stray| stray.parent() != directory.parent()),
        }
    })
    .await;
    if again.error.is_some() {
        ran.error = again.error;
        return ran;
    }
    let strays = std::mem::take(&mut *strays.set());
    let removed = tokio::task::spawn_blocking(move || remove(strays)).await;
    match removed {
        Ok((removed, failed)) => {
            ran.counts.insert("removed", removed);
            if failed > 0 {
                ran.counts.insert("failed", failed);
            }
        }
        Err(error) => ran.error = Some(error.to_string()),
    }
    ran
}

/// Does something for every server of this node, off the runtime.
async fn each_server(
    context: &Arc<Context>,
    stop: &CancellationToken,
    work: impl Fn(&Context, &mut Ran, ServerId, &Path) + Send + Clone + 'static,
) -> Ran {
    let mut ran = Ran::default();
    let mut after: Option<PathBuf> = None;
    loop {
        if stop.is_cancelled() {
            ran.error = Some("it was stopped before its end".to_owned());
            return ran;
        }
        let node = &context.options.node;
        let page = servers::on_node(&context.database, node, after.as_deref(), SERVERS).await;
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                ran.error = Some(chain(&error));
                return ran;
            }
        };
        let Some((_, last, _)) = page.last() else {
            return ran;
        };
        after = Some(last.clone());
        let (context, work) = (Arc::clone(context), work.clone());
        let done = tokio::task::spawn_blocking(move || {
            for (server, directory, placed_by) in page {
                if let Some(directory) = resolved(&context, server, &directory, placed_by) {
                    work(&context, &mut ran, server, &directory);
                }
            }
            ran
        });
        ran = match done.await {
            Ok(ran) => ran,
            Err(error) => {
                return Ran {
                    error: Some(error.to_string()),
                    ..Ran::default()
                };
            }
        };
    }
}

/// Where a server's directory truly is. Where no restore may have been, there is nothing to put right.
fn resolved(
    context: &Context,
    server: ServerId,
    directory: &Path,
    placed_by: DirectorySetBy,
) -> Option<PathBuf> {
    match server_directory::resolve(&context.options.places, directory, placed_by) {
        Ok(directory) => Some(directory),
        Err(error) => {
            tracing::warn!(%server, error = chain(&error), "a server is left alone");
            None
        }
    }
}

fn recover_one(context: &Context, ran: &mut Ran, server: ServerId, directory: &Path) {
    let count = match holdfast_archive::recover(directory, context.options.staging_dir.as_deref()) {
        Ok(Recovered::Nothing | Recovered::Busy) => return,
        Ok(recovered) => {
            tracing::warn!(%server, ?recovered, "put right what an interrupted restore had left");
            "recovered"
        }
        Err(error) => {
            tracing::error!(%server, error = chain(&error), "an interrupted restore could not be put right");
            "failed"
        }
    };
    *ran.counts.entry(count).or_default() += 1;
}

/// Lists staging folders that nothing was made in since `before`, a bounded number.
fn old_folders(parents: &BTreeSet<PathBuf>, before: SystemTime) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for parent in parents {
        let entries = match fs_err::read_dir(parent) {
            Ok(entries) => entries,
            Err(error) => {
                tracing::debug!(%error, "a folder could not be looked through for leftovers");
                continue;
            }
        };
        // What goes while it is looked at is not left over.
        for entry in entries.flatten() {
            let is_old = |found: std::fs::Metadata| found.modified().is_ok_and(|at| at < before);
            if holdfast_archive::is_staging_name(entry.file_name().as_bytes())
                && entry.metadata().is_ok_and(is_old)
                && found.len() < FOLDERS
            {
                found.insert(entry.path());
            }
        }
    }
    found
}

fn remove(strays: BTreeSet<PathBuf>) -> (u64, u64) {
    let (mut removed, mut failed) = (0, 0);
    for stray in strays {
        match holdfast_archive::remove_abandoned_staging(&stray) {
            Ok(true) => {
                tracing::info!(folder = %stray.display(), "removed what a restore had left of a server that is not here");
                removed += 1;
            }
            Ok(false) => {
                tracing::warn!(folder = %stray.display(), "a restore has left something that may be a server's own files; it is left alone");
            }
            Err(error) => {
                tracing::warn!(folder = %stray.display(), error = chain(&error), "what a restore had left could not be removed");
                failed += 1;
            }
        }
    }
    (removed, failed)
}
