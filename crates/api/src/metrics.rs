//! The metrics of a process, and the networks that may read them.
//!
//! A process has one registry, which `cli` creates and passes on. There is no global registry,
//! since tests run many services in one process. A label must never contain a path, a name that a
//! user chose, or an error text. Only the metrics of last backups and of schedules have labels for
//! servers.

mod database_metrics;
mod gauges;
mod requests;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text};
use prometheus_client::registry::Registry;

use holdfast_db::Database;
use holdfast_domain::network;

use self::database_metrics::DatabaseMetrics;
use self::gauges::encode_gauges;
use crate::panel_auth::PanelAuth;

pub(crate) use self::requests::{RequestMetrics, RoutePattern, RoutePrefix};

/// The metrics of a process, and the networks that may read them.
pub struct ApiMetrics {
    registry: Registry,
    pub(crate) requests: RequestMetrics,
    database: Option<Arc<DatabaseMetrics>>,
    allowed_networks: Vec<IpNet>,
}

impl ApiMetrics {
    /// Creates the metrics of a process: its database connections, and those that `register` adds.
    /// Clients in `allowed_networks` may read them.
    pub fn of_process(
        database: &Database,
        allowed_networks: Vec<IpNet>,
        register: impl FnOnce(&mut Registry),
    ) -> Self {
        let mut registry = Registry::with_prefix("holdfast");
        register(&mut registry);
        registry.register_collector(Box::new(ProcessMetrics(database.clone())));
        Self {
            registry,
            requests: RequestMetrics::default(),
            database: None,
            allowed_networks,
        }
    }

    /// Adds the metrics of an API: its requests, and jobs, workers, last backups and schedules from
    /// the database. The last backups are those of at most `servers` servers, and as many
    /// schedules are shown.
    #[must_use]
    pub fn of_api(mut self, database: &Database, servers: u32) -> Self {
        self.requests.register(&mut self.registry);
        let metrics = Arc::new(DatabaseMetrics::new(database.clone(), servers));
        self.registry
            .register_collector(Box::new(Arc::clone(&metrics)));
        self.database = Some(metrics);
        self
    }

    /// Adds the requests to the panel that decides about callers.
    #[must_use]
    pub fn of_panel_auth(mut self, panel: &PanelAuth) -> Self {
        self.registry.register(
            "panel_auth_requests",
            "Requests to the panel about callers with its credentials, by outcome",
            panel.counts(),
        );
        self
    }

    /// Returns whether a client may read the metrics. A client without a known address may only if
    /// all networks are allowed.
    pub(crate) fn may_read(&self, address: Option<IpAddr>) -> bool {
        self.allowed_networks.iter().any(|network| match address {
            Some(address) => network::contains(network, address),
            None => network.prefix_len() == 0,
        })
    }

    /// Returns the metrics in the text format of Prometheus.
    ///
    /// # Errors
    /// If they cannot be encoded, which would be a defect.
    pub(crate) async fn text(&self) -> Result<String, fmt::Error> {
        if let Some(metrics) = &self.database {
            metrics.refresh().await;
        }
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl fmt::Debug for ApiMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiMetrics").finish_non_exhaustive()
    }
}

/// The version of a process, and its database connections.
#[derive(Debug)]
struct ProcessMetrics(Database);

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        encode_gauges(
            &mut encoder,
            "build_info",
            "The version of the program",
            [([("version", env!("CARGO_PKG_VERSION"))], 1_i64)],
        )?;
        let pool = self.0.pool_use();
        encode_gauges(
            &mut encoder,
            "database_connections",
            "Database connections of this process, by state (used or idle)",
            [
                ([("state", "used")], i64::from(pool.used)),
                ([("state", "idle")], i64::from(pool.idle)),
            ],
        )?;
        encode_gauges(
            &mut encoder,
            "database_connections_max",
            "Maximum number of database connections of this process",
            [([], i64::from(pool.max))],
        )
    }
}
