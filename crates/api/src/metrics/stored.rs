//! What the database knows: read at most every ten seconds, however often and by however many it is asked, so that
//! nobody can load Postgres by looking.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use tokio::time::Instant;

use holdfast_db::Database;
use holdfast_db::metrics::{self, MetricsSnapshot};
use holdfast_domain::error_chain::chain;
use holdfast_domain::{JobKind, JobState};

use super::gauges;

/// For how long what was read is shown.
const FRESH: Duration = Duration::from_secs(10);
/// How long reading may take.
const ASK: Duration = Duration::from_secs(8);

/// What the database knows, as of a moment ago.
#[derive(Debug)]
pub(super) struct Stored {
    database: Database,
    servers: u32,
    /// When it was last asked for. Who holds it asks; others wait, and find the answer.
    asked: tokio::sync::Mutex<Option<Instant>>,
    /// `None` when the database could not be read.
    latest: Mutex<Option<Arc<MetricsSnapshot>>>,
}

impl Stored {
    pub(super) fn new(database: Database, servers: u32) -> Self {
        Self {
            database,
            servers,
            asked: tokio::sync::Mutex::default(),
            latest: Mutex::default(),
        }
    }

    /// Reads what is not fresh any more.
    pub(super) async fn refresh(&self) {
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|asked| asked.elapsed() < FRESH) {
            return;
        }
        let read = tokio::time::timeout(ASK, metrics::read(&self.database, self.servers)).await;
        let read = match read {
            Ok(Ok(figures)) => Some(Arc::new(figures)),
            Ok(Err(error)) => {
                tracing::warn!(
                    error = chain(&error),
                    "the metrics are without what the database knows"
                );
                None
            }
            Err(_) => {
                tracing::warn!(
                    limit_seconds = ASK.as_secs(),
                    "the metrics are without what the database knows: it took too long"
                );
                None
            }
        };
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = read;
        *asked = Some(Instant::now());
    }
}

impl Collector for Stored {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let latest = self
            .latest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        gauges(
            &mut encoder,
            "database_up",
            "Whether the database could be read a moment ago",
            [([], i64::from(latest.is_some()))],
        )?;
        match latest {
            Some(figures) => all(&mut encoder, &figures),
            None => Ok(()),
        }
    }
}

fn all(encoder: &mut DescriptorEncoder<'_>, figures: &MetricsSnapshot) -> Result<(), fmt::Error> {
    let unfinished = [JobState::Available, JobState::Scheduled, JobState::Running];
    let pairs = JobKind::ALL
        .into_iter()
        .flat_map(|kind| unfinished.map(|state| (kind, state)));
    gauges(
        encoder,
        "jobs",
        "Jobs that have not ended, by kind and state",
        pairs.map(|(kind, state)| {
            let those = figures.unfinished.iter();
            let those = those.filter(|of| of.kind == kind && of.state == state);
            let labels = [("kind", kind.as_str()), ("state", state.as_str())];
            (labels, those.map(|of| of.count).sum::<u64>())
        }),
    )?;
    gauges(
        encoder,
        "queue_age_seconds",
        "For how long the oldest job of a node has waited for a worker",
        queue_ages(figures)
            .into_iter()
            .map(|(node, age)| ([("node", node)], age)),
    )?;
    gauges(
        encoder,
        "workers",
        "Workers of a node that were heard of within the last half minute",
        figures
            .workers
            .iter()
            .map(|(node, count)| ([("node", node.as_str())], *count)),
    )?;
    gauges(
        encoder,
        "disk_free_bytes",
        "Bytes that can still be written to a disk, where its node's workers know",
        figures.free_bytes.iter().map(|(node, disk, bytes)| {
            let labels = [("node", node.as_str()), ("disk", disk.as_str())];
            (labels, *bytes)
        }),
    )?;
    let servers: Vec<(String, i64)> = figures
        .last_backups
        .iter()
        .map(|(server, at)| (server.to_string(), at.timestamp()))
        .collect();
    gauges(
        encoder,
        "server_last_backup_timestamp_seconds",
        "When the newest backup of a server was completed, in seconds since 1970",
        servers
            .iter()
            .map(|(server, at)| ([("server", server.as_str())], *at)),
    )
}

/// By node; each that has workers or waiting jobs, so that the line does not end when the queue does.
fn queue_ages(figures: &MetricsSnapshot) -> Vec<(&str, f64)> {
    let mut ages: std::collections::BTreeMap<&str, f64> = figures
        .workers
        .iter()
        .map(|(node, _)| (node.as_str(), 0.0))
        .collect();
    for of in &figures.unfinished {
        let age = ages.entry(of.node.as_str()).or_default();
        *age = age.max(of.waiting_seconds);
    }
    ages.into_iter().collect()
}
