//! Registers this worker every few seconds, and unregisters it when it stops. For information only:
//! leases decide which worker may work on a job.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_db::workers::{self, WorkerRegistration};
use holdfast_domain::error_chain::chain;

use crate::context::Context;

/// How long a disk may take to report its free space. A disk that hangs must not delay maintenance.
const FREE_SPACE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long unregistering may take.
const UNREGISTER_TIMEOUT: Duration = Duration::from_secs(2);

/// Writes this worker's row, with the free space of its disks. Logs a failure.
pub(crate) async fn register(context: &Context) {
    let options = &context.options;
    let mut disk_free_bytes = BTreeMap::new();
    for (name, disk) in context.disks.iter() {
        if let Ok(Ok(Some(free))) =
            tokio::time::timeout(FREE_SPACE_TIMEOUT, disk.free_bytes()).await
        {
            disk_free_bytes.insert(name.clone(), free);
        }
    }
    let registration = WorkerRegistration {
        name: &context.worker,
        node: &options.node,
        version: env!("CARGO_PKG_VERSION"),
        host: &context.host,
        pid: std::process::id(),
        concurrency: options.concurrency,
        disk_free_bytes,
        staging_free_bytes: staging_free_bytes(context).await,
        downloads_url: options.downloads_url.as_deref(),
    };
    let registered = async {
        workers::register(&context.database, &registration).await?;
        workers::prune(&context.database).await
    };
    if let Err(error) = registered.await {
        let what = "this worker could not be registered";
        context.database_health.record_failure(what, &error);
    }
}

async fn staging_free_bytes(context: &Context) -> Option<u64> {
    let folder = context.options.staging_dir.clone()?;
    let free = tokio::task::spawn_blocking(move || holdfast_storage::free_bytes(&folder));
    tokio::time::timeout(FREE_SPACE_TIMEOUT, free)
        .await
        .ok()?
        .ok()?
        .ok()?
}

/// Removes this worker's row. Logs a failure.
pub(crate) async fn unregister(context: &Context) {
    let left = workers::unregister(&context.database, &context.worker);
    match tokio::time::timeout(UNREGISTER_TIMEOUT, left).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(
                error = chain(&error),
                "this worker could not be unregistered"
            );
        }
        Err(_) => tracing::warn!("this worker could not be unregistered in time"),
    }
}
