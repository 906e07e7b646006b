//! Servers that a panel manages through Wings.

use std::path::Path;

use holdfast_domain::{NodeName, Server, ServerId, UserId};

use super::save::check_directory;
use crate::error::Error;
use crate::pool::{Database, Transaction};

/// Inserts a server of a panel, unless there is one with its UUID. The panel is asked about it
/// within seconds.
///
/// # Errors
/// [`Error::Conflict`] if its directory overlaps with that of another server, or if another server
/// has the same short identifier.
pub async fn register_managed(
    transaction: &mut Transaction,
    server: &Server,
    panel_url: &str,
) -> Result<(), Error> {
    check_directory(transaction, server).await?;
    let directory = server.directory.to_string_lossy();
    sqlx::query!(
        "INSERT INTO servers (id, owner_id, name, directory, node, directory_set_by, managed_by,
                              panel, no_default_schedule)
         VALUES ($1, $2, $3, $4, $5, 'admin', 'wings', $6, true)
         ON CONFLICT (id) DO NOTHING",
        server.id.0,
        UserId::NONE.0,
        server.name,
        directory.as_ref(),
        server.node.as_str(),
        panel_url,
    )
    .execute(transaction.connection())
    .await?;
    Ok(())
}

/// Returns whether the panel at `panel_url` manages a server.
///
/// # Errors
/// If the database can't be read.
pub async fn is_managed_by(
    database: &Database,
    server: ServerId,
    panel_url: &str,
) -> Result<bool, Error> {
    let found = sqlx::query_scalar!(
        r#"SELECT panel IS NOT DISTINCT FROM $2 AND managed_by IS NOT NULL AS "is_managed!"
           FROM servers WHERE id = $1"#,
        server.0,
        panel_url,
    )
    .fetch_optional(database.pool())
    .await?;
    Ok(found.unwrap_or(false))
}

/// Moves a server of a panel to another node. The caller has locked the server and checked that no
/// job uses its files.
///
/// # Errors
/// [`Error::Conflict`] if the directory overlaps with that of another server.
pub async fn move_managed(
    transaction: &mut Transaction,
    server: &Server,
    node: &NodeName,
    directory: &Path,
) -> Result<(), Error> {
    let moved = Server {
        node: node.clone(),
        directory: directory.to_owned(),
        ..server.clone()
    };
    check_directory(transaction, &moved).await?;
    let directory = directory.to_string_lossy();
    sqlx::query!(
        "UPDATE servers SET node = $2, directory = $3, synced_at = NULL, absent_since = NULL
         WHERE id = $1 AND managed_by = 'wings'",
        server.id.0,
        node.as_str(),
        directory.as_ref(),
    )
    .execute(transaction.connection())
    .await?;
    Ok(())
}
