//! Workers, and the nodes of workers and servers.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use holdfast_domain::{DiskName, NodeName};

use crate::error::Error;
use crate::pool::Database;

/// A worker with a heartbeat within the last hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// The name, which no other worker ever has.
    pub name: String,
    /// The node whose jobs it runs.
    pub node: String,
    /// The version of the program.
    pub version: String,
    /// The host name of its machine.
    pub host: String,
    /// The process ID.
    pub pid: u32,
    /// How many jobs it runs at the same time.
    pub concurrency: u32,
    /// Free bytes of each disk that can report them.
    pub disk_free_bytes: BTreeMap<String, u64>,
    /// Free bytes of the staging directory for restores, if there is one.
    pub staging_free_bytes: Option<u64>,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// The time of its last heartbeat.
    pub last_heartbeat_at: DateTime<Utc>,
}

/// What a worker reports about itself.
#[derive(Clone, Debug)]
pub struct WorkerRegistration<'a> {
    /// The name, which no other worker ever has.
    pub name: &'a str,
    /// The node whose jobs it runs.
    pub node: &'a NodeName,
    /// The version of the program.
    pub version: &'a str,
    /// The host name of its machine.
    pub host: &'a str,
    /// The process ID.
    pub pid: u32,
    /// How many jobs it runs at the same time.
    pub concurrency: usize,
    /// Free bytes of each disk that can report them.
    pub disk_free_bytes: BTreeMap<DiskName, u64>,
    /// Free bytes of the staging directory for restores, if there is one.
    pub staging_free_bytes: Option<u64>,
    /// Where the node serves downloads from its local disks.
    pub downloads_url: Option<&'a str>,
}

/// Registers a worker or records its heartbeat.
///
/// # Errors
/// If the database can't be written.
pub async fn register(database: &Database, worker: &WorkerRegistration<'_>) -> Result<(), Error> {
    let disks = serde_json::to_value(&worker.disk_free_bytes).unwrap_or_default();
    sqlx::query!(
        "INSERT INTO workers (name, node, version, host, pid, concurrency, disk_free_bytes,
                              staging_free_bytes, downloads_url)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (name) DO UPDATE SET
             disk_free_bytes = EXCLUDED.disk_free_bytes,
             staging_free_bytes = EXCLUDED.staging_free_bytes,
             last_heartbeat_at = now()",
        worker.name,
        worker.node.as_str(),
        worker.version,
        worker.host,
        i64::from(worker.pid),
        i32::try_from(worker.concurrency).unwrap_or(i32::MAX),
        disks,
        worker
            .staging_free_bytes
            .map(|n| i64::try_from(n).unwrap_or(i64::MAX)),
        worker.downloads_url,
    )
    .execute(database.pool())
    .await?;
    Ok(())
}

/// Returns where a node serves downloads from its local disks, as reported by its worker with the
/// latest heartbeat.
///
/// # Errors
/// If the database can't be read.
pub async fn downloads_url(database: &Database, node: &NodeName) -> Result<Option<String>, Error> {
    let url = sqlx::query_scalar!(
        r#"SELECT downloads_url AS "url!" FROM workers
           WHERE node = $1 AND downloads_url IS NOT NULL
           ORDER BY last_heartbeat_at DESC LIMIT 1"#,
        node.as_str(),
    )
    .fetch_optional(database.pool())
    .await?;
    Ok(url)
}

/// Removes a worker that stops.
///
/// # Errors
/// If the database can't be written.
pub async fn unregister(database: &Database, name: &str) -> Result<(), Error> {
    sqlx::query!("DELETE FROM workers WHERE name = $1", name)
        .execute(database.pool())
        .await?;
    Ok(())
}

/// Removes workers without a heartbeat in the last hour.
///
/// # Errors
/// If the database can't be written.
pub async fn prune(database: &Database) -> Result<(), Error> {
    sqlx::query!("DELETE FROM workers WHERE last_heartbeat_at < now() - interval '1 hour'")
        .execute(database.pool())
        .await?;
    Ok(())
}

/// Lists all workers, by node and name.
///
/// # Errors
/// If the database can't be read.
pub async fn list(database: &Database) -> Result<Vec<Worker>, Error> {
    let rows = sqlx::query!(
        "SELECT name, node, version, host, pid, concurrency, disk_free_bytes, staging_free_bytes,
                started_at, last_heartbeat_at
         FROM workers ORDER BY node, name"
    )
    .fetch_all(database.pool())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Worker {
            name: row.name,
            node: row.node,
            version: row.version,
            host: row.host,
            pid: u32::try_from(row.pid).unwrap_or_default(),
            concurrency: row.concurrency.unsigned_abs(),
            disk_free_bytes: numbers(&row.disk_free_bytes),
            staging_free_bytes: row.staging_free_bytes.map(i64::unsigned_abs),
            started_at: row.started_at,
            last_heartbeat_at: row.last_heartbeat_at,
        })
        .collect())
}

fn numbers(value: &Value) -> BTreeMap<String, u64> {
    let fields = value.as_object().into_iter().flatten();
    fields
        .filter_map(|(name, value)| Some((name.clone(), value.as_u64()?)))
        .collect()
}

/// Counts the servers of each node that has any.
///
/// # Errors
/// If the database can't be read.
pub async fn servers_by_node(database: &Database) -> Result<BTreeMap<String, u64>, Error> {
    let rows = sqlx::query!(
        r#"SELECT node, count(*) AS "count!" FROM servers
           WHERE deleting_at IS NULL GROUP BY node"#
    )
    .fetch_all(database.pool())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.node, row.count.unsigned_abs()))
        .collect())
}
