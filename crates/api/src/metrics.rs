//! What `/metrics` shows, and to whom.
//!
//! A process has one registry, made where it is composed and passed on: nothing is global, since in tests many
//! services run in one process. Labels are patterns of routes, statuses, kinds, states, nodes, disks and, for last
//! backups alone, servers; never a path, a name that a user chose, or a text of an error.

mod requests;
mod stored;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use holdfast_db::Database;

pub(crate) use requests::{Pattern, Requests, Scope};
use stored::Stored;

/// What `/metrics` shows, and to whom.
pub struct ApiMetrics {
    registry: Registry,
    pub(crate) requests: Requests,
    stored: Option<Arc<Stored>>,
    allowed: Vec<IpNet>,
}

impl ApiMetrics {
    /// Shows what this process counts to callers in `allowed` networks: what `others` registers, and how it uses
    /// its connections to the database.
    pub fn of_process(
        database: &Database,
        allowed: Vec<IpNet>,
        others: impl FnOnce(&mut Registry),
    ) -> Self {
        let mut registry = Registry::with_prefix("holdfast");
        others(&mut registry);
        registry.register_collector(Box::new(Process(database.clone())));
        Self {
            registry,
            requests: Requests::default(),
            stored: None,
            allowed,
        }
    }

    /// The same with what an API has to show beside that: its requests, and what the database knows of jobs,
    /// workers and the last backups of at most `servers` servers.
    #[must_use]
    pub fn of_api(mut self, database: &Database, servers: u32) -> Self {
        self.requests.register(&mut self.registry);
        let stored = Arc::new(Stored::new(database.clone(), servers));
        self.registry
            .register_collector(Box::new(Arc::clone(&stored)));
        self.stored = Some(stored);
        self
    }

    /// Says whether a caller at `address` may see them; one whose address nobody knows only where everybody may.
    pub(crate) fn may_see(&self, address: Option<IpAddr>) -> bool {
        self.allowed.iter().any(|network| match address {
            Some(address) => network.contains(&address),
            None => network.prefix_len() == 0,
        })
    }

    /// Writes all of them down as of now, in Prometheus' text format.
    ///
    /// # Errors
    /// When they can't be written down, which is a defect.
    pub(crate) async fn text(&self) -> Result<String, fmt::Error> {
        if let Some(stored) = &self.stored {
            stored.refresh().await;
        }
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl fmt::Debug for ApiMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// What a process is, and how it uses its connections to the database.
#[derive(Debug)]
struct Process(Database);

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        gauges(
            &mut encoder,
            "build_info",
            "Which version of the program this is",
            [([("version", env!("CARGO_PKG_VERSION"))], 1_i64)],
        )?;
        let pool = self.0.pool_use();
        gauges(
            &mut encoder,
            "database_connections",
            "Connections of this process to the database, by what they do",
            [
                ([("state", "used")], i64::from(pool.used)),
                ([("state", "idle")], i64::from(pool.idle)),
            ],
        )?;
        gauges(
            &mut encoder,
            "database_connections_max",
            "Connections to the database that this process may open",
            [([], i64::from(pool.max))],
        )
    }
}

/// Writes down a gauge, with its value for each set of labels.
fn gauges<'a, const LABELS: usize, Number: EncodeGaugeValue>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &'static str,
    help: &'static str,
    values: impl IntoIterator<Item = ([(&'static str, &'a str); LABELS], Number)>,
) -> Result<(), fmt::Error> {
    let mut values = values.into_iter().peekable();
    if values.peek().is_none() {
        return Ok(());
    }
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        family.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}
