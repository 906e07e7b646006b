//! What every job can use: the database, the disks, the settings.

use std::collections::BTreeMap;
use std::num::{NonZeroU8, NonZeroU64};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::Semaphore;
use tracing::Span;

use holdfast_archive::SwapMethod;
use holdfast_db::Database;
use holdfast_db::jobs::ConcurrencyLimits;
use holdfast_domain::retention::RetentionPolicy;
use holdfast_domain::schedule::DefaultSchedule;
use holdfast_domain::wings::WingsNode;
use holdfast_domain::{DirectoryRules, DiskName, NodeName, TraceParent};
use holdfast_storage::Disks;

use crate::database_health::DatabaseHealth;
use crate::metrics::WorkerMetrics;
use crate::power::Power;
use crate::priority::Priority;
use crate::session_weight::SessionWeight;

/// What every job can use. A worker has one.
#[derive(Debug)]
pub struct Context {
    /// The name of this worker, unique across workers and restarts.
    pub worker: String,
    /// The host name of the machine, for display.
    pub host: String,
    /// The database.
    pub database: Database,
    /// Whether the database answers.
    pub database_health: DatabaseHealth,
    /// The disks that this node can reach.
    pub disks: Disks,
    /// The worker's metrics.
    pub metrics: WorkerMetrics,
    /// Attaches a job's span to the trace of the request that created the job. Does nothing if
    /// spans are not exported.
    pub set_trace_parent: fn(&Span, &TraceParent),
    /// Limits the threads that compare the directories of servers.
    pub directory_checks: DirectoryChecks,
    /// Lowers the weight of this process's session while backups run.
    pub session_weight: SessionWeight,
    /// The settings.
    pub options: WorkerOptions,
    /// The clock for times that users see. Leases use the database's clock.
    pub now: fn() -> DateTime<Utc>,
    /// Random numbers in 0.0 ..= 1.0, so that workers that failed together do not retry together.
    pub jitter: fn() -> f64,
}

/// Limits the threads that compare directories. One on a file system that hangs never ends.
#[derive(Clone, Debug)]
pub struct DirectoryChecks(pub(crate) Arc<Semaphore>);

impl Default for DirectoryChecks {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(4)))
    }
}

/// The settings of a worker.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// The node whose servers this worker can read.
    pub node: NodeName,
    /// The URL at which this node serves downloads from its local disks, if there is one.
    pub downloads_url: Option<String>,
    /// How many jobs run at once.
    pub concurrency: usize,
    /// How many jobs run at once over all workers, for each node and each disk.
    pub concurrency_limits: ConcurrencyLimits,
    /// How long a claim lasts without a heartbeat.
    pub lease: Duration,
    /// How long a backup, restore or verification may run; `None` means as long as it needs.
    pub job_limit: Option<Duration>,
    /// The compression level, 0 to 9.
    pub compression_level: u32,
    /// How many threads compress one archive; 0 means one for each core.
    pub compression_threads: usize,
    /// The maximum rate at which a server's files are read, in bytes per second.
    pub read_limit_bytes_per_second: Option<NonZeroU64>,
    /// The priority of the threads that read and compress for backups and verifications.
    pub priority: Priority,
    /// The pressure on the node above which backups and verifications slow down, in percent; `None`
    /// means that they never do.
    pub yield_above_percent: Option<NonZeroU8>,
    /// Where the kernel reports the pressure: `/proc`, except in tests.
    pub proc: PathBuf,
    /// Whether a backup reuses the archive of the one before it.
    pub reuse: bool,
    /// One in this many backups of a server reads every file; 0 means none.
    pub reread_every: u32,
    /// Whether backups store the extended attributes of users.
    pub xattrs: bool,
    /// How far the clock of scans is ahead: not at all, except in tests. A file that has changed
    /// within a minute before a scan is read again in the next backup.
    pub scans_ahead: Duration,
    /// The interval between two verifications of an archive, for each disk. Archives on other disks
    /// are verified on request only.
    pub verify_every: BTreeMap<DiskName, Duration>,
    /// The maximum size of an archive in bytes, unless the server has its own limit.
    pub max_backup_bytes: u64,
    /// The maximum size of the ignore patterns of one backup, in bytes.
    pub max_ignored_bytes: usize,
    /// The maximum size of all archives of a server, in bytes, unless the server has its own limit;
    /// 0 means no limit.
    pub quota_bytes_per_server: u64,
    /// Bytes of each disk that must stay free.
    pub disk_reserve_bytes: u64,
    /// Where restores are unpacked; `None` means beside the server's directory.
    pub staging_dir: Option<PathBuf>,
    /// How restores put the files into place.
    pub swap: SwapMethod,
    /// How a server is stopped before a restore.
    pub power: Power,
    /// Where servers' directories may be.
    pub directory_rules: DirectoryRules,
    /// The settings of maintenance.
    pub maintenance: MaintenanceOptions,
    /// The schedule that every server gets; `None` means that servers get none.
    pub default_schedule: Option<DefaultSchedule>,
    /// The panel's node that this worker works for; `None` if there is no panel.
    pub wings: Option<WingsOptions>,
}

/// The settings for the node of a panel.
#[derive(Clone, Debug)]
pub struct WingsOptions {
    /// The node.
    pub node: Arc<WingsNode>,
    /// How long the archives of a server are kept after the panel has stopped listing it; `None`
    /// means without limit.
    pub forget_after: Option<Duration>,
    /// The interval at which the panel is asked for its servers.
    pub sync_every: Duration,
}

/// The settings of maintenance: how often it runs, and how long things are kept.
#[derive(Clone, Copy, Debug)]
pub struct MaintenanceOptions {
    /// How long backups are kept.
    pub retention_policy: RetentionPolicy,
    /// How many backups a server may have, unless it has its own limit.
    pub backups_per_server: u32,
    /// The interval of the short tasks.
    pub interval: Duration,
    /// The interval of full sweeps, which compare a disk with the database; zero turns them off.
    pub sweep_interval: Duration,
    /// How old an orphaned object must be before it is removed.
    pub orphan_age: Duration,
    /// How long jobs are kept after they completed or were cancelled.
    pub jobs: Duration,
    /// How long failed jobs and the records of maintenance runs are kept.
    pub failed_jobs: Duration,
    /// How long the audit log is kept; `None` keeps all of it.
    pub activity: Option<Duration>,
}
