//! The servers of a panel: which of them exist here, compared with the panel's list of its node. A
//! page of the list is one transaction of a few statements, however many servers it has.

mod page;

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};

use holdfast_domain::server::ServerManager;
use holdfast_domain::{NodeName, Server, ServerId};

use crate::error::Error;
use crate::operator_log::Change;
use crate::pool::Database;
use crate::servers;

pub use page::{PageResult, sync_page};

/// A server as the panel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedServer {
    /// Its ID.
    pub id: ServerId,
    /// Its name, if the panel says one.
    pub name: Option<String>,
    /// Whether it is suspended.
    pub is_suspended: bool,
}

/// A server that the panel no longer lists on its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbsentServer {
    /// Its ID.
    pub id: ServerId,
    /// Its name.
    pub name: String,
}

/// Returns the time of the database, to compare with the time of each confirmation.
///
/// # Errors
/// If the database can't be read.
pub async fn now(database: &Database) -> Result<DateTime<Utc>, Error> {
    let now = sqlx::query_scalar!(r#"SELECT clock_timestamp() AS "now!""#);
    Ok(now.fetch_one(database.pool()).await?)
}

/// Lists up to `limit` servers of a node that the panel has not confirmed yet.
///
/// # Errors
/// If the database can't be read.
pub async fn list_unconfirmed(
    database: &Database,
    node: &NodeName,
    limit: u32,
) -> Result<Vec<ServerId>, Error> {
    let rows = sqlx::query_scalar!(
        "SELECT id FROM servers
         WHERE node = $1 AND managed_by IS NOT NULL AND synced_at IS NULL AND deleting_at IS NULL
         ORDER BY id LIMIT $2",
        node.as_str(),
        i64::from(limit),
    )
    .fetch_all(database.pool())
    .await?;
    Ok(rows.into_iter().map(ServerId).collect())
}

/// Returns one of the servers of a node that the panel has confirmed and still lists.
///
/// # Errors
/// If the database can't be read.
pub async fn find_present(database: &Database, node: &NodeName) -> Result<Option<ServerId>, Error> {
    let id = sqlx::query_scalar!(
        "SELECT id FROM servers
         WHERE node = $1 AND managed_by IS NOT NULL AND synced_at IS NOT NULL
             AND absent_since IS NULL AND deleting_at IS NULL
         ORDER BY id LIMIT 1",
        node.as_str(),
    )
    .fetch_optional(database.pool())
    .await?;
    Ok(id.map(ServerId))
}

/// Marks the servers of a node that the panel has not confirmed since `since`, the beginning of a
/// complete list, as absent. Returns up to 100 of those that were not marked before, and how many
/// there are.
///
/// # Errors
/// If the database can't be written.
pub async fn mark_absent(
    database: &Database,
    node: &NodeName,
    since: DateTime<Utc>,
) -> Result<(Vec<AbsentServer>, u64), Error> {
    let rows = sqlx::query!(
        r#"WITH marked AS (
            UPDATE servers SET absent_since = now()
            WHERE node = $1 AND managed_by IS NOT NULL AND synced_at < $2
                AND absent_since IS NULL AND deleting_at IS NULL
            RETURNING id, name
        )
        SELECT id AS "id!", name AS "name!", (SELECT count(*) FROM marked) AS "count!"
        FROM marked ORDER BY id LIMIT 100"#,
        node.as_str(),
        since,
    )
    .fetch_all(database.pool())
    .await?;
    let count = rows.first().map_or(0, |row| row.count.unsigned_abs());
    let absent = rows.into_iter().map(|row| AbsentServer {
        id: ServerId(row.id),
        name: row.name,
    });
    Ok((absent.collect(), count))
}

/// Marks a server that the panel does not know, and that it has not confirmed before, as absent.
/// Returns whether it was marked.
///
/// # Errors
/// If the database can't be written.
pub async fn mark_unknown(
    database: &Database,
    node: &NodeName,
    server: ServerId,
) -> Result<bool, Error> {
    let marked = sqlx::query!(
        "UPDATE servers SET absent_since = coalesce(absent_since, now()), synced_at = now()
         WHERE id = $1 AND node = $2 AND managed_by IS NOT NULL AND synced_at IS NULL
             AND deleting_at IS NULL",
        server.0,
        node.as_str(),
    )
    .execute(database.pool())
    .await?;
    Ok(marked.rows_affected() == 1)
}

/// Lists up to `limit` servers of a node that have been absent for longer than `age`, the longest
/// absent first.
///
/// # Errors
/// If the database can't be read.
pub async fn list_forgotten(
    database: &Database,
    node: &NodeName,
    age: Duration,
    limit: u32,
) -> Result<Vec<ServerId>, Error> {
    let rows = sqlx::query_scalar!(
        "SELECT id FROM servers
         WHERE node = $1 AND managed_by IS NOT NULL AND deleting_at IS NULL
             AND absent_since < now() - make_interval(secs => $2)
         ORDER BY absent_since, id LIMIT $3",
        node.as_str(),
        age.as_secs_f64(),
        i64::from(limit),
    )
    .fetch_all(database.pool())
    .await?;
    Ok(rows.into_iter().map(ServerId).collect())
}

/// Locks a server that has been absent for longer than `age` and has no unfinished job, until the
/// transaction ends. `None` if it is not such a server any more.
///
/// # Errors
/// If the database can't be read.
pub async fn lock_forgotten(
    change: &mut Change,
    node: &NodeName,
    server: ServerId,
    age: Duration,
) -> Result<Option<Server>, Error> {
    let Some((server, load)) = servers::lock_and_find(change, server).await? else {
        return Ok(None);
    };
    let is_forgotten = sqlx::query_scalar!(
        r#"SELECT absent_since < now() - make_interval(secs => $2)
                AND NOT EXISTS (SELECT 1 FROM waiting_jobs WHERE server_id = $1)
                AS is_forgotten
           FROM servers WHERE id = $1"#,
        server.id.0,
        age.as_secs_f64(),
    )
    .fetch_one(change.connection())
    .await?;
    let is_managed = server.managed_by == Some(ServerManager::Wings) && server.node == *node;
    let may_delete = is_managed && is_forgotten == Some(true) && load.unfinished.is_none();
    Ok(may_delete.then_some(server))
}

/// Counts the absent servers of each node that has any, for the metrics.
///
/// # Errors
/// If the database can't be read.
pub async fn count_absent(database: &Database) -> Result<Vec<(String, u64)>, Error> {
    let rows = sqlx::query!(
        r#"SELECT node, count(*) AS "count!" FROM servers
           WHERE absent_since IS NOT NULL GROUP BY node ORDER BY node"#,
    )
    .fetch_all(database.pool())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.node, row.count.unsigned_abs()))
        .collect())
}

/// Where the servers of a panel's node are.
#[derive(Clone, Debug)]
pub struct NodeServers {
    /// The node.
    pub node: NodeName,
    /// The folder with the directories of its servers, each named by the server's UUID.
    pub data: PathBuf,
    /// The URL of the panel. Servers of another panel are not moved here.
    pub panel_url: String,
}
