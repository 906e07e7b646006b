//! Workers that were seen, and the nodes that they or servers are on.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use holdfast_domain::{DiskName, NodeName};

use crate::error::Error;
use crate::pool::Database;

/// A worker that was seen within the last hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// Its name, never used by another one.
    pub name: String,
    /// The node whose jobs it takes.
    pub node: String,
    /// Which version of this program it is.
    pub version: String,
    /// The name of the machine it runs on.
    pub host: String,
    /// The number of its process there.
    pub pid: u32,
    /// How many jobs it runs at once.
    pub concurrency: u32,
    /// Bytes that can still be written to each disk, where that is known.
    pub disk_free_bytes: BTreeMap<String, u64>,
    /// The same of the folder that restores are unpacked in, where there is one.
    pub staging_free_bytes: Option<u64>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it was last heard of.
    pub last_heartbeat_at: DateTime<Utc>,
}

/// What a worker says of itself.
#[derive(Clone, Debug)]
pub struct WorkerRegistration<'a> {
    /// Its name, never used by another one.
    pub name: &'a str,
    /// The node whose jobs it takes.
    pub node: &'a NodeName,
    /// Which version of this program it is.
    pub version: &'a str,
    /// The name of the machine it runs on.
    pub host: &'a str,
    /// The number of its process there.
    pub pid: u32,
    /// How many jobs it runs at once.
    pub concurrency: usize,
    /// Bytes that can still be written to each disk, where that is known.
    pub disk_free_bytes: BTreeMap<DiskName, u64>,
    /// The same of the folder that restores are unpacked in, where there is one.
    pub staging_free_bytes: Option<u64>,
    /// Where the node's own process hands out what lies on its local disks.
    pub downloads_url: Option<&'a str>,
}

/// Records that a worker is there.
///
/// # Errors
/// When the database can't be written.
pub async fn announce(database: &Database, presence: &WorkerRegistration<'_>) -> Result<(), Error> {
    let disks = serde_json::to_value(&presence.disk_free_bytes).unwrap_or_default();
    sqlx::query!(
        "INSERT INTO workers (name, node, version, host, pid, concurrency, disk_free_bytes, staging_free_bytes,
                              downloads_url)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (name) DO UPDATE SET
             disk_free_bytes = EXCLUDED.disk_free_bytes, staging_free_bytes = EXCLUDED.staging_free_bytes,
             last_heartbeat_at = now()",
        presence.name,
        presence.node.as_str(),
        presence.version,
        presence.host,
        i64::from(presence.pid),
        i32::try_from(presence.concurrency).unwrap_or(i32::MAX),
        disks,
        presence.staging_free_bytes.map(|n| i64::try_from(n).unwrap_or(i64::MAX)),
        presence.downloads_url,
    )
    .execute(database.pool())
    .await?;
    Ok(())
}

/// Returns where a node hands out what lies on its local disks, as the worker of it has said that was heard of
/// last.
///
/// # Errors
/// When the database can't be read.
pub async fn downloads_url(database: &Database, node: &NodeName) -> Result<Option<String>, Error> {
    let url = sqlx::query_scalar!(
        r#"SELECT downloads_url AS "url!" FROM workers WHERE node = $1 AND downloads_url IS NOT NULL
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
/// When the database can't be written.
pub async fn leave(database: &Database, name: &str) -> Result<(), Error> {
    sqlx::query!("DELETE FROM workers WHERE name = $1", name)
        .execute(database.pool())
        .await?;
    Ok(())
}

/// Forgets workers that were not heard of for an hour.
///
/// # Errors
/// When the database can't be written.
pub async fn prune(database: &Database) -> Result<(), Error> {
    sqlx::query!("DELETE FROM workers WHERE last_heartbeat_at < now() - interval '1 hour'")
        .execute(database.pool())
        .await?;
    Ok(())
}

/// Lists all workers, by node and name.
///
/// # Errors
/// When the database can't be read.
pub async fn list(database: &Database) -> Result<Vec<Worker>, Error> {
    let rows = sqlx::query!(
        "SELECT name, node, version, host, pid, concurrency, disk_free_bytes, staging_free_bytes, started_at,
                last_heartbeat_at
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

/// Counts the servers of every node that has any.
///
/// # Errors
/// When the database can't be read.
pub async fn servers_by_node(database: &Database) -> Result<BTreeMap<String, u64>, Error> {
    let rows = sqlx::query!(
        r#"SELECT node, count(*) AS "count!" FROM servers WHERE deleting_at IS NULL GROUP BY node"#
    )
    .fetch_all(database.pool())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.node, row.count.unsigned_abs()))
        .collect())
}
