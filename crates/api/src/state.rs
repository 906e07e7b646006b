//! The state that all requests share, and the settings of the API.
//!
//! `cli` builds both. Nothing here reads a file or the environment.

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
use holdfast_domain::schedule::{PowerSupport, Timezone};
use holdfast_domain::wings::WingsNode;
use holdfast_domain::{Backup, DirectoryRules, DiskName, NodeName, Server, TraceParent};
use holdfast_storage::{Disk, Disks};

use crate::content_scans::ContentScans;
use crate::download_token::TokenSigner;
use crate::host::AllowedHosts;
use crate::limiter::RateLimiter;
use crate::list_cache::ListCache;
use crate::notifications::Notifications;
use crate::panel_auth::PanelAuth;
use crate::streams::Streams;

/// Estimates how many bytes a backup of a server with these ignore patterns would read.
///
/// Returns `None` if this process cannot see the server's files, or cannot count them quickly.
pub type SizeEstimator = Box<
    dyn Fn(Server, Vec<String>) -> Pin<Box<dyn Future<Output = Option<u64>> + Send>> + Send + Sync,
>;

/// Connects the spans of this process with traces of other services. Without a trace exporter, both
/// functions do nothing.
#[derive(Clone, Copy, Debug)]
pub struct TracePropagation {
    /// Sets the parent of a span.
    pub set_parent: fn(&Span, &TraceParent),
    /// Returns the `traceparent` that makes a span the parent of spans in other services.
    pub as_parent: fn(&Span) -> Option<TraceParent>,
}

/// The state that all requests of a process share.
pub struct ApiState {
    /// The database connections.
    pub database: Database,
    /// Looks up the key, server and backup of requests.
    pub request_lookup: RequestLookup,
    /// Reads pages of backups.
    pub backup_pages: BackupPages,
    /// Caches pages of backups.
    pub list_cache: ListCache,
    /// Limits the reading of indexes.
    pub content_scans: ContentScans,
    /// The disks that this process can read from.
    pub disks: Disks,
    /// Asks the panel about callers with its credentials. `None`: only keys of this service count.
    pub panel: Option<PanelAuth>,
    /// Signs and verifies download tokens.
    pub signer: TokenSigner,
    /// Passes on notifications of ended jobs and of events.
    pub notifications: Notifications,
    /// Publishes events to open streams.
    pub streams: Arc<Streams>,
    /// Counts requests for the rate limit.
    pub rate_limiter: Arc<RateLimiter>,
    /// Estimates the size of the first backup of a server.
    pub estimate_size: SizeEstimator,
    /// Connects spans with traces of other services.
    pub trace_propagation: TracePropagation,
    /// The settings of the API.
    pub options: ApiOptions,
    /// Returns the current time.
    pub now: fn() -> DateTime<Utc>,
}

/// The settings of the API.
#[derive(Clone, Debug)]
pub struct ApiOptions {
    /// The URL of the service without a slash at the end. `None`: taken from each request.
    pub public_url: Option<String>,
    /// The URL for downloads. `None`: the same as `public_url`.
    pub downloads_public_url: Option<String>,
    /// The internal path below which a proxy serves the files of local disks. `None`: the service
    /// sends the files itself.
    pub downloads_accel_path: Option<String>,
    /// The hosts that requests may name.
    pub allowed_hosts: AllowedHosts,
    /// The proxies whose `X-Forwarded-*` headers are used.
    pub trusted_proxies: Vec<IpNet>,
    /// The largest request body, in bytes.
    pub max_body_bytes: usize,
    /// How long the head of a request may take to arrive, and then its body.
    pub request_timeout: Duration,
    /// How long an idle connection is kept open.
    pub keep_alive: Duration,
    /// The largest number of open connections.
    pub max_connections: usize,
    /// The `max-age` of the header `Strict-Transport-Security`, in seconds. 0: no such header.
    pub hsts_seconds: u32,
    /// How many backups a server may have, unless it has its own limit. 0: none.
    pub backups_per_server: u32,
    /// How many backups of a server may be created within a time span.
    pub create_throttle: Throttle,
    /// Whether a backup reuses the archive of the one before it.
    pub reuse: bool,
    /// One in this many backups of a server reads every file. 0: none.
    pub reread_every: u32,
    /// The largest archive of a server, unless it has its own limit, in bytes.
    pub max_backup_bytes: u64,
    /// The quota for all archives of a server, unless it has its own, in bytes. 0: no quota.
    pub quota_bytes_per_server: u64,
    /// The space that must stay free on a disk, in bytes.
    pub disk_reserve_bytes: u64,
    /// The largest total length of the ignore patterns of a backup, in bytes.
    pub max_ignored_bytes: usize,
    /// How long a download link is valid, in seconds.
    pub download_ttl_seconds: u32,
    /// The time zone of schedules that are created without one.
    pub timezone: Timezone,
    /// What the power driver can do for the tasks of schedules.
    pub power_support: PowerSupport,
    /// The node of this process, and of servers that are registered without one.
    pub node: NodeName,
    /// The rules for the directories of servers.
    pub directory_rules: DirectoryRules,
    /// The node whose requests from the panel are answered, in place of Wings.
    pub wings: Option<Arc<WingsNode>>,
    /// Whether the node's requests have a listener of their own, and are answered only there.
    pub wings_has_listener: bool,
}

impl ApiState {
    /// Returns whether only the node that wrote an archive to this disk can read it. This is true
    /// for a disk that is not configured in this process, too.
    pub(crate) fn is_node_local(&self, disk: &DiskName) -> bool {
        self.disks.get(disk).map_or(true, Disk::is_node_local)
    }

    /// Returns the node whose workers can reach the archive of a backup.
    pub(crate) fn archive_node<'a>(&self, server: &'a Server, backup: &'a Backup) -> &'a NodeName {
        match &backup.node {
            Some(node) if self.is_node_local(&backup.disk) => node,
            _ => &server.node,
        }
    }

    /// Returns the node that alone can read the archive of a backup, if it is not this one.
    pub(crate) fn foreign_node<'a>(&self, backup: &'a Backup) -> Option<&'a NodeName> {
        let node = backup.node.as_ref()?;
        let is_foreign = *node != self.options.node && self.is_node_local(&backup.disk);
        is_foreign.then_some(node)
    }
}

impl fmt::Debug for ApiState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiState").finish_non_exhaustive()
    }
}
