//! Says that this worker is there, every few seconds, and that it goes. Only for people's eyes: who
//! may work on what, leases decide.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_db::workers::{self, WorkerRegistration};

use crate::context::Context;
use holdfast_domain::error_chain::chain;

/// How long disks may take to say how much is free; one that hangs must not hold up maintenance.
const ASK: Duration = Duration::from_secs(2);
/// How long saying goodbye may take.
const LEAVE: Duration = Duration::from_secs(2);

pub(crate) async fn announce(context: &Context) {
    let options = &context.options;
    let mut disk_free_bytes = BTreeMap::new();
    for (name, disk) in context.disks.iter() {
        if let Ok(Ok(Some(free))) = tokio::time::timeout(ASK, disk.free_bytes()).await {
            disk_free_bytes.insert(name.clone(), free);
        }
    }
    let presence = WorkerRegistration {
        name: &context.worker,
        node: &options.node,
        version: env!("CARGO_PKG_VERSION"),
        host: &context.host,
        pid: std::process::id(),
        concurrency: options.concurrency,
        disk_free_bytes,
        staging_free_bytes: staging(context).await,
        downloads_url: options.downloads_url.as_deref(),
    };
    let announced = async {
        workers::register(&context.database, &presence).await?;
        workers::prune(&context.database).await
    };
    if let Err(error) = announced.await {
        let what = "this worker could not be announced";
        context.outage.failed(what, &error);
    }
}

async fn staging(context: &Context) -> Option<u64> {
    let folder = context.options.staging_dir.clone()?;
    let asked = tokio::task::spawn_blocking(move || holdfast_storage::free_bytes(&folder));
    tokio::time::timeout(ASK, asked).await.ok()?.ok()?.ok()
}

pub(crate) async fn leave(context: &Context) {
    let left = workers::unregister(&context.database, &context.worker);
    match tokio::time::timeout(LEAVE, left).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(error = chain(&error), "this worker could not sign off"),
        Err(_) => tracing::warn!("this worker could not sign off in time"),
    }
}
