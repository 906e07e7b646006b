//! What every job can reach.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tracing::Span;

use holdfast_db::Database;
use holdfast_db::jobs::ConcurrencyLimits;
use holdfast_domain::retention::RetentionPolicy;
use holdfast_domain::{DirectoryRules, DiskName, NodeName, TraceParent};
use holdfast_storage::Disks;

use crate::metrics::WorkerMetrics;
use crate::outage::Outage;
use crate::power::Power;

/// What every job can reach. One for the whole worker.
#[derive(Debug)]
pub struct Context {
    /// The name of this worker, unique across workers and restarts.
    pub worker: String,
    /// The host name of the machine, for display.
    pub host: String,
    /// The database.
    pub database: Database,
    /// Whether that answers, as far as this worker has seen.
    pub outage: Outage,
    /// The disks that this node can reach.
    pub disks: Disks,
    /// What is counted.
    pub metrics: WorkerMetrics,
    /// Makes a job's span a part of the request that asked for it, where spans are sent on.
    pub adopt: fn(&Span, &TraceParent),
    /// The settings.
    pub options: WorkerOptions,
    /// The clock, for people's eyes; leases go by the database's clock.
    pub now: fn() -> DateTime<Utc>,
    /// Random numbers in 0.0 ..= 1.0, so that workers that failed together do not come back together.
    pub jitter: fn() -> f64,
}

/// The settings of a worker.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// The node whose servers it sees.
    pub node: NodeName,
    /// Where this node hands out what lies on its local disks; `None` when it does not say.
    pub downloads_url: Option<String>,
    /// How many jobs it runs at once.
    pub concurrency: usize,
    /// How many jobs run at once over all workers of a node, and with a disk.
    pub bounds: ConcurrencyLimits,
    /// How long a job is its own without a sign of life.
    pub lease: Duration,
    /// The level of compression, 0 to 9.
    pub compression_level: u32,
    /// How many threads compress one archive; 0 takes one for each core.
    pub compression_threads: usize,
    /// How fast a server's files are read, in bytes per second.
    pub read_limit_bytes_per_second: Option<NonZeroU64>,
    /// How long after its last verification each archive of a disk is verified again; disks that are not here are
    /// verified only when somebody asks.
    pub verify_every: BTreeMap<DiskName, Duration>,
    /// The greatest archive of a server that says nothing of its own, in bytes.
    pub max_backup_bytes: u64,
    /// Where restores are unpacked before they take their place; `None` is beside the server's
    /// directory.
    pub staging_dir: Option<PathBuf>,
    /// How servers are stopped before they are restored.
    pub power: Power,
    /// Where servers' directories may lie.
    pub places: DirectoryRules,
    /// What is done without being asked for.
    pub keeping: MaintenanceOptions,
}

/// What is done without being asked for, how often, and how long things stay.
#[derive(Clone, Copy, Debug)]
pub struct MaintenanceOptions {
    /// How long backups stay.
    pub policy: RetentionPolicy,
    /// How many backups a server may have that says nothing of its own.
    pub backups_per_server: u32,
    /// How often what takes little is done.
    pub interval: Duration,
    /// How often whole disks are compared with the database; zero for never.
    pub sweep_interval: Duration,
    /// How old something must be that nobody needs to be removed.
    pub orphan_age: Duration,
    /// How long jobs stay that have ended.
    pub jobs: Duration,
    /// How long those stay that have failed for good, and the lines about maintenance.
    pub failed_jobs: Duration,
    /// How long the audit log's lines stay; `None` for ever.
    pub activity: Option<Duration>,
}
