//! What every request can reach.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use ipnet::IpNet;

use holdfast_db::Database;
use holdfast_db::backups::Pages;
use holdfast_db::visits::Visits;
use holdfast_domain::limit::Throttle;
use holdfast_domain::{NodeName, PlaceRules};
use holdfast_storage::Disks;

use crate::finals::Finals;
use crate::rate::Limiter;
use crate::sign::Signer;

/// What every request can reach. One for the whole service, shared by its threads.
#[derive(Debug)]
pub struct ApiState {
    /// The database.
    pub database: Database,
    /// Finds what requests name.
    pub visits: Visits,
    /// Finds what lists show.
    pub pages: Pages,
    /// The disks that this process can read from.
    pub disks: Disks,
    /// Signs and checks download links.
    pub signer: Signer,
    /// Hears of jobs that end.
    pub finals: Finals,
    /// Counts requests.
    pub limiter: Arc<Limiter>,
    /// The settings.
    pub options: Options,
    /// The clock.
    pub now: fn() -> DateTime<Utc>,
}

/// The settings of the API.
#[derive(Clone, Debug)]
pub struct Options {
    /// How clients reach the service, without a slash at the end; `None` takes it from each request.
    pub public_url: Option<String>,
    /// How clients reach downloads; `None` takes `public_url`.
    pub downloads_public_url: Option<String>,
    /// Proxies whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The greatest request body, in bytes.
    pub max_body_bytes: usize,
    /// How many backups a server may have that says nothing of its own.
    pub backups_per_server: u32,
    /// How many backups a server may ask for in a span of time.
    pub create_throttle: Throttle,
    /// How long all ignore patterns of a backup may be together, in bytes.
    pub max_ignored_bytes: usize,
    /// How long a download link is good, in seconds.
    pub download_ttl_seconds: u32,
    /// The node of servers that are registered without one.
    pub node: NodeName,
    /// Where servers' directories may lie.
    pub places: PlaceRules,
}
