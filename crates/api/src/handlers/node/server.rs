//! The server of a panel's request.

use holdfast_db::servers::DIRECTORY_TAKEN;
use holdfast_db::{Error, Transaction, servers};
use holdfast_domain::limit::ServerLoad;
use holdfast_domain::server::{ServerLimits, ServerManager};
use holdfast_domain::wings::WingsNode;
use holdfast_domain::{DirectorySetBy, Server, ServerId, ServerState};

use crate::error::{ApiError, NodeRefused};
use crate::state::ApiState;

/// Locks a server that the panel says is on this node, and registers it if it is unknown. One that
/// was on another node is moved.
///
/// # Errors
/// [`NodeRefused::Conflict`] if an operator has registered the server or its directory in another
/// way. [`ApiError::Unavailable`] if it is being deleted, or is in use on its former node.
pub(super) async fn lock_or_register(
    state: &ApiState,
    node: &WingsNode,
    transaction: &mut Transaction,
    id: ServerId,
) -> Result<Server, ApiError> {
    let (server, load) = match servers::lock_and_find(transaction, id).await? {
        Some(found) => found,
        None => register(state, node, transaction, id).await?,
    };
    if server.node == state.options.node {
        return Ok(server);
    }
    if server.managed_by.is_none() {
        return Err(ApiError::Node(NodeRefused::Conflict(
            "An operator has registered this server on another node of the backup service.",
        )));
    }
    if load.unfinished.is_some() {
        return Err(ApiError::Unavailable);
    }
    let directory = node.server_directory(id);
    servers::move_managed(transaction, &server, &state.options.node, &directory)
        .await
        .map_err(conflict)?;
    Ok(Server {
        node: state.options.node.clone(),
        directory,
        ..server
    })
}

async fn register(
    state: &ApiState,
    node: &WingsNode,
    transaction: &mut Transaction,
    id: ServerId,
) -> Result<(Server, ServerLoad), ApiError> {
    let server = Server {
        id,
        owner: None,
        // Until the panel has told the name.
        name: id.to_string(),
        directory: node.server_directory(id),
        node: state.options.node.clone(),
        directory_set_by: DirectorySetBy::Admin,
        disk: None,
        state: ServerState::Normal,
        limits: ServerLimits {
            no_default_schedule: true,
            ..ServerLimits::default()
        },
        created_at: (state.now)(),
        managed_by: Some(ServerManager::Wings),
        absent_since: None,
    };
    servers::register_managed(transaction, &server)
        .await
        .map_err(conflict)?;
    tracing::info!(server = %id, "registered a server of the panel");
    let found = servers::lock_and_find(transaction, id).await?;
    // A server that is being deleted still has its row.
    found.ok_or(ApiError::Unavailable)
}

fn conflict(error: Error) -> ApiError {
    match error {
        Error::Conflict { constraint } if constraint == DIRECTORY_TAKEN => {
            ApiError::Node(NodeRefused::Conflict(
                "The directory of this server belongs to another server of the backup service.",
            ))
        }
        Error::Conflict { .. } => ApiError::Node(NodeRefused::Conflict(
            "Another server of the backup service has the same short identifier.",
        )),
        other => other.into(),
    }
}
