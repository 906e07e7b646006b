//! The server of a panel's request.

use holdfast_db::servers::DIRECTORY_TAKEN;
use holdfast_db::{Error, Transaction, servers};
use holdfast_domain::server::{ServerLimits, ServerManager};
use holdfast_domain::wings::WingsNode;
use holdfast_domain::{DirectorySetBy, Server, ServerId, ServerState};

use crate::error::{ApiError, NodeRefused};
use crate::state::ApiState;

/// Locks a server that the panel says is on this node, and registers it if it is unknown. One that
/// was on another node of the panel is moved.
///
/// # Errors
/// As [`lock`], and [`NodeRefused::Conflict`] if an operator has registered the server's directory
/// for another one.
pub(super) async fn lock_or_register(
    state: &ApiState,
    node: &WingsNode,
    transaction: &mut Transaction,
    id: ServerId,
) -> Result<Server, ApiError> {
    match lock(state, node, transaction, id).await? {
        Some(server) => Ok(server),
        None => register(state, node, transaction, id).await,
    }
}

/// Locks a server that the panel says is on this node, if it is known. One that was on another node
/// of the panel is moved.
///
/// # Errors
/// [`NodeRefused::Conflict`] if it belongs to another panel, or an operator has registered it on
/// another node. [`ApiError::Unavailable`] if it is in use on its former node.
pub(super) async fn lock(
    state: &ApiState,
    node: &WingsNode,
    transaction: &mut Transaction,
    id: ServerId,
) -> Result<Option<Server>, ApiError> {
    let Some((server, load)) = servers::lock_and_find(transaction, id).await? else {
        return Ok(None);
    };
    if server.node == state.options.node {
        return Ok(Some(server));
    }
    check_panel(state, node, &server).await?;
    if load.unfinished.is_some() {
        return Err(ApiError::Unavailable);
    }
    let directory = node.server_directory(id);
    servers::move_managed(transaction, &server, &state.options.node, &directory)
        .await
        .map_err(conflict)?;
    Ok(Some(Server {
        node: state.options.node.clone(),
        directory,
        ..server
    }))
}

/// Checks that a server is on this node, or on another node of its panel.
///
/// # Errors
/// [`NodeRefused::Conflict`] otherwise: the panel of one node must not reach servers of another
/// panel, or of operators, on other nodes.
pub(super) async fn check_panel(
    state: &ApiState,
    node: &WingsNode,
    server: &Server,
) -> Result<(), ApiError> {
    if server.node == state.options.node {
        return Ok(());
    }
    match servers::is_managed_by(&state.database, server.id, &node.panel_url).await? {
        true => Ok(()),
        false => Err(ApiError::Node(NodeRefused::Conflict(
            "This server is registered on another node of the backup service, and not by this \
             panel.",
        ))),
    }
}

async fn register(
    state: &ApiState,
    node: &WingsNode,
    transaction: &mut Transaction,
    id: ServerId,
) -> Result<Server, ApiError> {
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
    servers::register_managed(transaction, &server, &node.panel_url)
        .await
        .map_err(conflict)?;
    tracing::info!(server = %id, "registered a server of the panel");
    let found = servers::lock_and_find(transaction, id).await?;
    // A server that is being deleted still has its row.
    let (server, _) = found.ok_or(ApiError::Unavailable)?;
    Ok(server)
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
