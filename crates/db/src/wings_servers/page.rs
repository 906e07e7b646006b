//! Compares a page of the panel's list with the servers that exist here.

use std::collections::BTreeMap;

use uuid::Uuid;

use holdfast_domain::{ServerId, ServerState, UserId};

use super::{ListedServer, NodeServers};
use crate::error::Error;
use crate::pool::{Database, Transaction};
use crate::servers::lock_directories;

/// What a page has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageResult {
    /// How many servers were registered.
    pub inserted: u64,
    /// How many came from another node, or got another directory.
    pub moved: u64,
    /// Servers that are on another node as long as a job uses their files.
    pub busy: Vec<ServerId>,
    /// Servers that an operator has registered, or another panel on another node. They stay as they
    /// are.
    pub foreign: Vec<ServerId>,
    /// Servers whose directory overlaps with that of another server, or whose short identifier
    /// another server has. They stay as they are.
    pub conflicting: Vec<ServerId>,
}

struct ExistingServer {
    is_here: bool,
    /// Whether this panel manages it.
    is_managed: bool,
    is_deleting: bool,
}

/// Registers the servers of a page that are not known, moves those that came from another node,
/// updates the others, and notes that the panel has confirmed them.
///
/// # Errors
/// If the database can't be written.
pub async fn sync_page(
    database: &Database,
    node: &NodeServers,
    page: &[ListedServer],
) -> Result<PageResult, Error> {
    let mut result = PageResult::default();
    if page.is_empty() {
        return Ok(result);
    }
    let mut transaction = database.begin().await?;
    let existing = lock_all(&mut transaction, node, page).await?;
    let mut to_move = Vec::new();
    let mut to_insert = Vec::new();
    let mut to_update = Vec::new();
    for server in page {
        match existing.get(&server.id.0) {
            None => to_insert.push(server),
            // It is registered again when its deletion has ended.
            Some(found) if found.is_deleting => {}
            Some(found) if !found.is_managed => result.foreign.push(server.id),
            Some(found) if found.is_here => to_update.push(server),
            Some(_) => to_move.push(server),
        }
    }
    if !to_move.is_empty() {
        let busy = list_busy(&mut transaction, &to_move).await?;
        let (waiting, free): (Vec<_>, Vec<_>) = to_move
            .into_iter()
            .partition(|server| busy.contains(&server.id.0));
        result.busy = waiting.iter().map(|server| server.id).collect();
        to_move = free;
    }
    if !(to_insert.is_empty() && to_move.is_empty()) {
        let new: Vec<&ListedServer> = to_insert.iter().chain(&to_move).copied().collect();
        let taken = list_conflicting(&mut transaction, node, &new).await?;
        to_insert.retain(|server| !taken.contains(&server.id.0));
        to_move.retain(|server| !taken.contains(&server.id.0));
        result.conflicting = taken.into_iter().map(ServerId).collect();
    }
    let inserted = insert(&mut transaction, node, &to_insert).await?;
    result.inserted = inserted.len() as u64;
    to_insert.retain(|server| !inserted.contains(&server.id.0));
    if !to_insert.is_empty() {
        let missing = list_missing(&mut transaction, &to_insert).await?;
        result.conflicting.extend(missing.into_iter().map(ServerId));
    }
    result.moved = to_move.len() as u64;
    to_update.extend(to_move);
    update(&mut transaction, node, &to_update).await?;
    transaction.commit().await?;
    Ok(result)
}

fn ids(servers: &[&ListedServer]) -> Vec<Uuid> {
    servers.iter().map(|server| server.id.0).collect()
}

fn directories(node: &NodeServers, servers: &[&ListedServer]) -> Vec<String> {
    let directory = |server: &&ListedServer| node.data.join(server.id.to_string());
    let texts = servers.iter().map(directory);
    texts
        .map(|path| path.to_string_lossy().into_owned())
        .collect()
}

/// Locks the servers of the page that exist, in the order of their IDs, until the transaction ends.
async fn lock_all(
    transaction: &mut Transaction,
    node: &NodeServers,
    page: &[ListedServer],
) -> Result<BTreeMap<Uuid, ExistingServer>, Error> {
    let servers: Vec<&ListedServer> = page.iter().collect();
    let rows = sqlx::query!(
        r#"SELECT s.id, s.node = $2 AND s.directory = c.directory AS "is_here!",
                  s.managed_by IS NOT NULL
                      AND (s.node = $2 OR s.panel IS NOT DISTINCT FROM $4) AS "is_managed!",
                  s.deleting_at IS NOT NULL AS "is_deleting!"
           FROM servers s
           JOIN unnest($1::uuid[], $3::text[]) AS c (id, directory) ON c.id = s.id
           ORDER BY s.id FOR NO KEY UPDATE OF s"#,
        &ids(&servers),
        node.node.as_str(),
        &directories(node, &servers),
        node.panel_url,
    )
    .fetch_all(transaction.connection())
    .await?;
    let existing = rows.into_iter().map(|row| {
        let found = ExistingServer {
            is_here: row.is_here,
            is_managed: row.is_managed,
            is_deleting: row.is_deleting,
        };
        (row.id, found)
    });
    Ok(existing.collect())
}

/// Returns which servers have an unfinished job that uses their files.
async fn list_busy(
    transaction: &mut Transaction,
    servers: &[&ListedServer],
) -> Result<Vec<Uuid>, Error> {
    let busy = sqlx::query_scalar!(
        "SELECT server_id FROM jobs
         WHERE server_id = ANY ($1) AND kind IN ('create_backup', 'restore_backup', 'delete_server')
             AND state IN ('available', 'scheduled', 'running')",
        &ids(servers),
    )
    .fetch_all(transaction.connection())
    .await?;
    Ok(busy)
}

/// Returns which directories overlap with that of another server. Other checks on the same node
/// wait until the transaction ends.
async fn list_conflicting(
    transaction: &mut Transaction,
    node: &NodeServers,
    servers: &[&ListedServer],
) -> Result<Vec<Uuid>, Error> {
    lock_directories(transaction, node.node.as_str()).await?;
    let around: Vec<String> = node
        .data
        .ancestors()
        .map(|folder| folder.to_string_lossy().into_owned())
        .collect();
    // Directories inside one begin with it and a slash. The character after the slash is `0`.
    let taken = sqlx::query_scalar!(
        r#"SELECT c.id AS "id!" FROM unnest($2::uuid[], $3::text[]) AS c (id, directory)
           WHERE EXISTS (
               SELECT 1 FROM servers s
               WHERE s.node = $1 AND s.id <> c.id
                   AND s.directory COLLATE "C" = ANY ($4::text[] || c.directory)
           ) OR EXISTS (
               SELECT 1 FROM servers s
               WHERE s.node = $1 AND s.id <> c.id
                   AND s.directory COLLATE "C" >= c.directory || '/'
                   AND s.directory COLLATE "C" < c.directory || '0'
           )"#,
        node.node.as_str(),
        &ids(servers),
        &directories(node, servers),
        &around,
    )
    .fetch_all(transaction.connection())
    .await?;
    Ok(taken)
}

/// Inserts servers. Returns which; another server may have the same short identifier.
async fn insert(
    transaction: &mut Transaction,
    node: &NodeServers,
    servers: &[&ListedServer],
) -> Result<Vec<Uuid>, Error> {
    if servers.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<String> = servers
        .iter()
        .map(|server| server.name.clone().unwrap_or_else(|| server.id.to_string()))
        .collect();
    let inserted = sqlx::query_scalar!(
        "INSERT INTO servers (id, owner_id, name, directory, node, state, directory_set_by,
                              managed_by, panel, no_default_schedule, synced_at)
         SELECT id, $2, name, directory, $3, state, 'admin', 'wings', $7, true, clock_timestamp()
         FROM unnest($1::uuid[], $4::text[], $5::text[], $6::text[])
             AS c (id, name, directory, state)
         ON CONFLICT DO NOTHING
         RETURNING id",
        &ids(servers),
        UserId::NONE.0,
        node.node.as_str(),
        &names,
        &directories(node, servers),
        &states(servers),
        node.panel_url,
    )
    .fetch_all(transaction.connection())
    .await?;
    Ok(inserted)
}

/// Returns which servers do not exist. A request may have registered one meanwhile.
async fn list_missing(
    transaction: &mut Transaction,
    servers: &[&ListedServer],
) -> Result<Vec<Uuid>, Error> {
    let missing = sqlx::query_scalar!(
        r#"SELECT c.id AS "id!" FROM unnest($1::uuid[]) AS c (id)
           WHERE NOT EXISTS (SELECT 1 FROM servers s WHERE s.id = c.id)"#,
        &ids(servers),
    )
    .fetch_all(transaction.connection())
    .await?;
    Ok(missing)
}

async fn update(
    transaction: &mut Transaction,
    node: &NodeServers,
    servers: &[&ListedServer],
) -> Result<(), Error> {
    if servers.is_empty() {
        return Ok(());
    }
    let names: Vec<Option<String>> = servers.iter().map(|server| server.name.clone()).collect();
    sqlx::query!(
        "UPDATE servers s
         SET name = coalesce(c.name, s.name), directory = c.directory, node = $2, state = c.state,
             panel = $6, absent_since = NULL, synced_at = clock_timestamp()
         FROM unnest($1::uuid[], $3::text[], $4::text[], $5::text[])
             AS c (id, name, directory, state)
         WHERE s.id = c.id AND s.managed_by IS NOT NULL",
        &ids(servers),
        node.node.as_str(),
        &names as &[Option<String>],
        &directories(node, servers),
        &states(servers),
        node.panel_url,
    )
    .execute(transaction.connection())
    .await?;
    Ok(())
}

fn states(servers: &[&ListedServer]) -> Vec<String> {
    let state = |server: &&ListedServer| match server.is_suspended {
        true => ServerState::Suspended,
        false => ServerState::Normal,
    };
    servers
        .iter()
        .map(|server| state(server).as_str().to_owned())
        .collect()
}
