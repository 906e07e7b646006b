//! What every request can reach.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use ipnet::IpNet;
use tracing::Span;

use holdfast_db::Database;
use holdfast_db::backups::BackupPages;
use holdfast_db::request_lookup::RequestLookup;
use holdfast_domain::limit::Throttle;
use holdfast_domain::{DirectoryRules, DiskName, NodeName, Server, TraceParent};
use holdfast_storage::{Disk, Disks};

use crate::download_token::TokenSigner;
use crate::job_outcomes::JobOutcomes;
use crate::list_cache::ListCache;
use crate::rate_limit::RateLimiter;
use crate::streams::Streams;

/// Says how many bytes a backup of a server would have to read, with these patterns, where this process sees the
/// server's files and they can be counted quickly.
pub type SizeEstimator = Box<
    dyn Fn(Server, Vec<String>) -> Pin<Box<dyn Future<Output = Option<u64>> + Send>> + Send + Sync,
>;

/// Ties the spans of this process to traces that reach beyond it. Where none are sent on, both do nothing.
#[derive(Clone, Copy, Debug)]
pub struct TracePropagation {
    /// Makes a span a part of another service's step.
    pub adopt: fn(&Span, &TraceParent),
    /// Names a span for those who are to be part of it.
    pub context: fn(&Span) -> Option<TraceParent>,
}

/// What every request can reach. One for the whole service, shared by its threads.
pub struct ApiState {
    /// The database.
    pub database: Database,
    /// Finds what requests name.
    pub visits: RequestLookup,
    /// Finds what lists show.
    pub pages: BackupPages,
    /// Lists that may be answered again.
    pub lists: ListCache,
    /// The disks that this process can read from.
    pub disks: Disks,
    /// Signs and checks download links.
    pub signer: TokenSigner,
    /// Hears of jobs that end.
    pub finals: JobOutcomes,
    /// Tells streams what becomes of backups.
    pub streams: Arc<Streams>,
    /// Counts requests.
    pub limiter: Arc<RateLimiter>,
    /// Measures a server that has no backup yet.
    pub measure: SizeEstimator,
    /// Ties spans to traces.
    pub spans: TracePropagation,
    /// The settings.
    pub options: ApiOptions,
    /// The clock.
    pub now: fn() -> DateTime<Utc>,
}

/// The settings of the API.
#[derive(Clone, Debug)]
pub struct ApiOptions {
    /// How clients reach the service, without a slash at the end; `None` takes it from each request.
    pub public_url: Option<String>,
    /// How clients reach downloads; `None` takes `public_url`.
    pub downloads_public_url: Option<String>,
    /// Below which path a proxy in front hands out the files of local disks; `None` when the service does.
    pub downloads_accel_path: Option<String>,
    /// Proxies whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The greatest request body, in bytes.
    pub max_body_bytes: usize,
    /// How long a request may take to come in: its head, and then its body.
    pub request_timeout: Duration,
    /// How long a connection without a request is kept.
    pub keep_alive: Duration,
    /// How many connections there may be.
    pub max_connections: usize,
    /// For how long browsers that came by TLS are told to come by it alone, in seconds; 0 to say nothing.
    pub hsts_seconds: u32,
    /// How many backups a server may have that says nothing of its own.
    pub backups_per_server: u32,
    /// How many backups a server may ask for in a span of time.
    pub create_throttle: Throttle,
    /// The greatest archive of a server that says nothing of its own, in bytes.
    pub max_backup_bytes: u64,
    /// What all archives of such a server may take together, in bytes; 0 for no quota.
    pub quota_bytes_per_server: u64,
    /// What is kept free on a disk, in bytes.
    pub disk_reserve_bytes: u64,
    /// How long all ignore patterns of a backup may be together, in bytes.
    pub max_ignored_bytes: usize,
    /// How long a download link is good, in seconds.
    pub download_ttl_seconds: u32,
    /// The node of servers that are registered without one.
    pub node: NodeName,
    /// Where servers' directories may lie.
    pub places: DirectoryRules,
}

impl ApiState {
    /// Says whether a disk is a folder that only the node can reach that writes to it. One that is not known here
    /// is another node's.
    pub(crate) fn is_of_one_node(&self, disk: &DiskName) -> bool {
        self.disks.get(disk).map_or(true, Disk::is_of_one_node)
    }
}

impl fmt::Debug for ApiState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiState").finish_non_exhaustive()
    }
}
