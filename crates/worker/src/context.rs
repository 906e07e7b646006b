//! What every job can reach.

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tracing::Span;

use holdfast_db::Database;
use holdfast_domain::{NodeName, PlaceRules, TraceParent};
use holdfast_storage::Disks;

use crate::metrics::Metrics;
use crate::outage::Outage;

/// What every job can reach. One for the whole worker.
#[derive(Debug)]
pub struct Context {
    /// The database.
    pub database: Database,
    /// Whether that answers, as far as this worker has seen.
    pub outage: Outage,
    /// The disks that this node can reach.
    pub disks: Disks,
    /// What is counted.
    pub metrics: Metrics,
    /// Makes a job's span a part of the request that asked for it, where spans are sent on.
    pub adopt: fn(&Span, &TraceParent),
    /// The settings.
    pub options: Options,
    /// The clock, for people's eyes; leases go by the database's clock.
    pub now: fn() -> DateTime<Utc>,
    /// Random numbers in 0.0 ..= 1.0, so that workers that failed together do not come back together.
    pub jitter: fn() -> f64,
}

/// The settings of a worker.
#[derive(Clone, Debug)]
pub struct Options {
    /// The node whose servers it sees.
    pub node: NodeName,
    /// This worker's own name, never used by another one, not even after a restart.
    pub worker: String,
    /// The name of the machine, for people's eyes.
    pub host: String,
    /// Where this node hands out what lies on its local disks; `None` when it does not say.
    pub downloads_url: Option<String>,
    /// How many jobs it runs at once.
    pub concurrency: usize,
    /// How long a job is its own without a sign of life.
    pub lease: Duration,
    /// The level of compression, 0 to 9.
    pub compression_level: u32,
    /// How many threads compress one archive; 0 takes one for each core.
    pub compression_threads: usize,
    /// How fast a server's files are read, in bytes per second.
    pub read_limit_bytes_per_second: Option<u64>,
    /// The greatest archive of a server that says nothing of its own, in bytes.
    pub max_backup_bytes: u64,
    /// Where restores are unpacked before they take their place; `None` is beside the server's
    /// directory.
    pub staging_dir: Option<PathBuf>,
    /// Where servers' directories may lie.
    pub places: PlaceRules,
}
