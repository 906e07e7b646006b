//! Metrics from the database: jobs, workers, disks, last backups, schedules, and what a panel waits
//! for.
//!
//! They are read at most every ten seconds, so that frequent scrapes put no load on Postgres.

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

use super::gauges::encode_gauges;

/// How long a snapshot is used.
const MAX_AGE: Duration = Duration::from_secs(10);
/// How long reading a snapshot may take.
const READ_TIMEOUT: Duration = Duration::from_secs(8);

/// A snapshot of the metrics from the database.
#[derive(Debug)]
pub(super) struct DatabaseMetrics {
    database: Database,
    /// The largest number of servers whose last backup is included, and of schedules.
    servers: u32,
    /// When the last read ended. Locked while reading, so that concurrent scrapes share one read.
    read_at: tokio::sync::Mutex<Option<Instant>>,
    /// `None` if the database could not be read.
    latest: Mutex<Option<Arc<MetricsSnapshot>>>,
}

impl DatabaseMetrics {
    /// Creates metrics without a snapshot.
    pub(super) fn new(database: Database, servers: u32) -> Self {
        Self {
            database,
            servers,
            read_at: tokio::sync::Mutex::default(),
            latest: Mutex::default(),
        }
    }

    /// Reads a new snapshot if the current one is too old.
    pub(super) async fn refresh(&self) {
        let mut read_at = self.read_at.lock().await;
        if read_at.is_some_and(|read_at| read_at.elapsed() < MAX_AGE) {
            return;
        }
        let read =
            tokio::time::timeout(READ_TIMEOUT, metrics::read(&self.database, self.servers)).await;
        let snapshot = match read {
            Ok(Ok(snapshot)) => Some(Arc::new(snapshot)),
            Ok(Err(error)) => {
                tracing::warn!(
                    error = chain(&error),
                    "cannot read the metrics from the database"
                );
                None
            }
            Err(_) => {
                tracing::warn!(
                    limit_seconds = READ_TIMEOUT.as_secs(),
                    "reading the metrics from the database timed out"
                );
                None
            }
        };
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = snapshot;
        *read_at = Some(Instant::now());
    }
}

impl Collector for DatabaseMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let latest = self
            .latest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        encode_gauges(
            &mut encoder,
            "database_up",
            "Whether the database could be read (1 or 0)",
            [([], i64::from(latest.is_some()))],
        )?;
        match latest {
            Some(snapshot) => encode_snapshot(&mut encoder, &snapshot),
            None => Ok(()),
        }
    }
}

fn encode_snapshot(
    encoder: &mut DescriptorEncoder<'_>,
    snapshot: &MetricsSnapshot,
) -> Result<(), fmt::Error> {
    let unfinished = [JobState::Available, JobState::Scheduled, JobState::Running];
    let pairs = JobKind::ALL
        .into_iter()
        .flat_map(|kind| unfinished.map(|state| (kind, state)));
    encode_gauges(
        encoder,
        "jobs",
        "Unfinished jobs, by kind and state",
        pairs.map(|(kind, state)| {
            let groups = snapshot.unfinished.iter();
            let groups = groups.filter(|group| group.kind == kind && group.state == state);
            let labels = [("kind", kind.as_str()), ("state", state.as_str())];
            (labels, groups.map(|group| group.count).sum::<u64>())
        }),
    )?;
    encode_gauges(
        encoder,
        "queue_age_seconds",
        "Waiting time of the oldest queued job of a node",
        queue_ages(snapshot)
            .into_iter()
            .map(|(node, age)| ([("node", node)], age)),
    )?;
    encode_gauges(
        encoder,
        "workers",
        "Workers of a node with a heartbeat in the last 30 seconds",
        snapshot
            .workers
            .iter()
            .map(|(node, count)| ([("node", node.as_str())], *count)),
    )?;
    encode_gauges(
        encoder,
        "disk_free_bytes",
        "Free bytes of a disk, as reported by the workers of a node",
        snapshot.free_bytes.iter().map(|(node, disk, bytes)| {
            let labels = [("node", node.as_str()), ("disk", disk.as_str())];
            (labels, *bytes)
        }),
    )?;
    let servers: Vec<(String, i64)> = snapshot
        .last_backups
        .iter()
        .map(|(server, at)| (server.to_string(), at.timestamp()))
        .collect();
    encode_gauges(
        encoder,
        "server_last_backup_timestamp_seconds",
        "Completion time of the newest backup of a server, in seconds since 1970",
        servers
            .iter()
            .map(|(server, at)| ([("server", server.as_str())], *at)),
    )?;
    encode_schedules(encoder, snapshot)?;
    encode_panel(encoder, snapshot)
}

fn encode_panel(
    encoder: &mut DescriptorEncoder<'_>,
    snapshot: &MetricsSnapshot,
) -> Result<(), fmt::Error> {
    // A node with workers has a value, so that the time series continues.
    let nodes = || snapshot.workers.iter().map(|(node, _)| node.as_str());
    let waiting = |node: &str| snapshot.callbacks.iter().find(|count| count.node == node);
    encode_gauges(
        encoder,
        "panel_callbacks_waiting",
        "Ends of backups and restores that the panel of a node has not been told of yet",
        nodes().map(|node| {
            (
                [("node", node)],
                waiting(node).map_or(0, |found| found.count),
            )
        }),
    )?;
    encode_gauges(
        encoder,
        "panel_callback_age_seconds",
        "Waiting time of the oldest of them",
        nodes().map(|node| {
            let age = waiting(node).map_or(0.0, |found| found.oldest_seconds);
            ([("node", node)], age)
        }),
    )?;
    let absent = |node: &str| {
        snapshot
            .absent_servers
            .iter()
            .find(|(other, _)| other == node)
    };
    encode_gauges(
        encoder,
        "panel_absent_servers",
        "Servers of a node that their panel no longer lists there",
        nodes().map(|node| {
            (
                [("node", node)],
                absent(node).map_or(0, |(_, count)| *count),
            )
        }),
    )
}

fn encode_schedules(
    encoder: &mut DescriptorEncoder<'_>,
    snapshot: &MetricsSnapshot,
) -> Result<(), fmt::Error> {
    let successes: Vec<(String, String, i64)> = snapshot
        .successes
        .iter()
        .map(|success| {
            let (server, schedule) = (success.server.to_string(), success.schedule.to_string());
            (server, schedule, success.at.timestamp())
        })
        .collect();
    encode_gauges(
        encoder,
        "schedule_last_success_timestamp_seconds",
        "End of the last run of an active schedule that succeeded, in seconds since 1970",
        successes.iter().map(|(server, schedule, at)| {
            let labels = [("server", server.as_str()), ("schedule", schedule.as_str())];
            (labels, *at)
        }),
    )?;
    let overdue: Vec<(String, String, f64)> = snapshot
        .overdue
        .iter()
        .map(|overdue| {
            let (server, schedule) = (overdue.server.to_string(), overdue.schedule.to_string());
            (server, schedule, overdue.seconds)
        })
        .collect();
    encode_gauges(
        encoder,
        "schedule_overdue_seconds",
        "Time since a schedule became overdue: it has not succeeded for twice its interval",
        overdue.iter().map(|(server, schedule, seconds)| {
            let labels = [("server", server.as_str()), ("schedule", schedule.as_str())];
            (labels, *seconds)
        }),
    )
}

/// Returns the waiting time of the oldest queued job of each node that has workers or queued jobs.
/// It is 0 for an empty queue, so that the time series continues.
fn queue_ages(snapshot: &MetricsSnapshot) -> Vec<(&str, f64)> {
    let mut ages: std::collections::BTreeMap<&str, f64> = snapshot
        .workers
        .iter()
        .map(|(node, _)| (node.as_str(), 0.0))
        .collect();
    for group in &snapshot.unfinished {
        let age = ages.entry(group.node.as_str()).or_default();
        *age = age.max(group.waiting_seconds);
    }
    ages.into_iter().collect()
}
