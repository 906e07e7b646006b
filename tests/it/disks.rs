//! Backups on every kind of disk, and disks that fail.

mod failures;
mod life;

use crate::support::app::{App, Setting};
use crate::support::proxy::Proxy;
use crate::support::s3::{ACCESS_KEY, BUCKET, S3Server, SECRET_KEY};

/// Starts a service without a worker whose default disk `offsite` is a bucket behind `endpoint`.
async fn with_bucket(endpoint: &str, changed: &[Setting<'_>]) -> App {
    let mut settings = vec![
        ("storage.default", "offsite"),
        ("storage.disks.offsite.driver", "s3"),
        ("storage.disks.offsite.bucket", BUCKET),
        ("storage.disks.offsite.prefix", "panel"),
        ("storage.disks.offsite.endpoint", endpoint),
        ("storage.disks.offsite.access_key_id", ACCESS_KEY),
        ("storage.disks.offsite.secret_access_key", SECRET_KEY),
        // The least that there is, so that small servers have archives of several parts.
        ("storage.disks.offsite.part_size_bytes", "5242880"),
    ];
    settings.extend(changed);
    App::without_worker(&settings).await
}

/// The whole objects in a server's bucket.
fn objects(server: &S3Server) -> Vec<String> {
    let bucket = server.folder().join(BUCKET);
    crate::support::files::files_below(&bucket)
}

/// The parts of uploads that have not ended.
fn parts(server: &S3Server) -> usize {
    let files = crate::support::files::files_below(server.folder());
    let is_part = |name: &&String| name.contains(".part-");
    files.iter().filter(is_part).count()
}

/// A proxy through which everything goes.
async fn open_proxy(server: &S3Server) -> Proxy {
    Proxy::start(server.address, |_, _| crate::support::proxy::Fault::None).await
}
