//! The endpoints under `/api/application/servers`.

mod change;
mod create;
mod delete;
mod fields;
mod list;
mod show;
mod state;

use holdfast_db::servers;
use holdfast_domain::Server;

use crate::error::ApiError;
use crate::state::ApiState;
use crate::views;
use crate::views::application::objects::ServerObject;

pub(crate) use change::*;
pub(crate) use create::*;
pub(crate) use delete::*;
pub(crate) use list::*;
pub(crate) use show::*;
pub(crate) use state::*;

/// A server as it is shown.
async fn shown(state: &ApiState, server: &Server) -> Result<ServerObject, ApiError> {
    let restoring = servers::restoring(&state.database, &[server.id]).await?;
    Ok(views::application::server(server, !restoring.is_empty()))
}
