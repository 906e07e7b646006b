//! What nobody asks for but somebody must do: promote jobs whose time has come,
//! rescue those whose worker is gone, and put right what killed processes have
//! left on this node.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use holdfast_archive::Recovered;
use holdfast_db::{jobs, servers};

use crate::context::Context;
use crate::{place, presence};
use holdfast_domain::report::chain;

/// How often jobs whose time has come are looked for.
const PROMOTE: Duration = Duration::from_secs(1);
/// After how many of those looks leases are looked at.
const RESCUE_EVERY: u32 = 3;
/// After how many of those looks this worker says that it is there.
const ANNOUNCE_EVERY: u32 = 5;
/// After how many of those looks disks are swept.
const SWEEP_EVERY: u32 = 600;

/// Maintains until `shutdown`.
pub(crate) async fn maintain(context: Arc<Context>, shutdown: CancellationToken) {
    presence::announce(&context).await;
    recover(&context).await;
    let mut round: u32 = 0;
    while !shutdown.is_cancelled() {
        match jobs::promote(&context.database).await {
            Ok(()) => context.outage.over(),
            Err(error) => {
                let what = "scheduled jobs could not be promoted";
                context.outage.failed(what, &error);
            }
        }
        if round.is_multiple_of(RESCUE_EVERY) {
            rescue(&context).await;
        }
        if round.is_multiple_of(ANNOUNCE_EVERY) {
            presence::announce(&context).await;
        }
        if round.is_multiple_of(SWEEP_EVERY) {
            sweep(&context).await;
        }
        round = round.wrapping_add(1);
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(PROMOTE) => {}
        }
    }
}

async fn rescue(context: &Context) {
    if !context.outage.leases_count(context.options.lease) {
        return;
    }
    match jobs::rescue(&context.database).await {
        Ok(rescued) => {
            for job in rescued {
                context.metrics.rescued(&job);
                tracing::warn!(
                    job = %job.id,
                    kind = job.kind.as_str(),
                    backup = %job.backup,
                    attempt = job.attempt,
                    worker = job.worker,
                    state = job.state.as_str(),
                    "took a job away from a worker that stopped responding"
                );
            }
        }
        Err(error) => {
            let what = "expired leases could not be looked at";
            context.outage.failed(what, &error);
        }
    }
}

/// Removes what uploads that nobody works on any more have left on the disks.
async fn sweep(context: &Context) {
    for (name, disk) in context.disks.iter() {
        let partials = match disk.partials().await {
            Ok(partials) => partials,
            Err(error) => {
                tracing::warn!(disk = %name, error = chain(&error), "a disk could not be swept");
                continue;
            }
        };
        for partial in partials {
            let key = partial.key.archive();
            // A job is claimed before its first byte is written: what is not
            // running now was left by somebody who is gone.
            match jobs::is_attempt_running(&context.database, key.server, key.backup, key.attempt)
                .await
            {
                Ok(true) => {}
                Ok(false) => match disk.remove_partial(&partial).await {
                    Ok(()) => {
                        tracing::info!(disk = %name, object = %partial.key, "removed a partial upload")
                    }
                    Err(error) => {
                        tracing::warn!(disk = %name, object = %partial.key, error = chain(&error), "a partial upload could not be removed");
                    }
                },
                Err(error) => {
                    let what = "partial uploads could not be checked";
                    context.outage.failed(what, &error);
                    return;
                }
            }
        }
    }
}

/// Finishes or undoes the restores that a killed worker of this node has left half-way.
async fn recover(context: &Arc<Context>) {
    let servers = match servers::list_on_node(&context.database, &context.options.node).await {
        Ok(servers) => servers,
        Err(error) => {
            tracing::warn!(
                error = chain(&error),
                "servers could not be listed for recovery"
            );
            return;
        }
    };
    let staging_dir = context.options.staging_dir.clone();
    let rules = context.options.places.clone();
    let done = tokio::task::spawn_blocking(move || {
        for (server, directory, placed_by) in servers {
            // Where no restore may have been, there is nothing to put right.
            let directory = match place::resolve(&rules, &directory, placed_by) {
                Ok(directory) => directory,
                Err(error) => {
                    tracing::warn!(%server, error = chain(&error), "a server is left alone");
                    continue;
                }
            };
            match holdfast_archive::recover(&directory, staging_dir.as_deref()) {
                Ok(Recovered::Nothing) => {}
                Ok(recovered) => {
                    tracing::warn!(%server, ?recovered, "put right what an interrupted restore had left");
                }
                Err(error) => {
                    tracing::error!(%server, error = chain(&error), "an interrupted restore could not be put right")
                }
            }
        }
    });
    if let Err(error) = done.await {
        tracing::error!(%error, "recovery panicked");
    }
}
