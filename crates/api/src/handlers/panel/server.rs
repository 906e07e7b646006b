//! `GET /api/client/servers/{server}`: one server, with the caller's permissions.

use actix_web::{HttpResponse, web};

use holdfast_db::servers;
use holdfast_domain::Permission;

use super::summary::summarize;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::ServerPath;
use crate::state::ApiState;
use crate::views;
use crate::views::panel::objects::OneServer;

/// Shows a server.
#[utoipa::path(
    get,
    path = "/api/client/servers/{server}",
    operation_id = "view_server",
    tag = "panel",
    params(ServerPath),
    responses((status = 200, description = "The server", body = OneServer), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn server(
    caller: Caller,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (server, access) = caller.server_in_any_state()?;
    let restoring = servers::list_restoring(&state.database, &[server.id]).await?;
    let summary = summarize(&caller, server, &restoring, &state);
    let permissions = Permission::ALL.into_iter().filter(|p| access.has(*p));
    Ok(views::ok(&views::panel::one_server(&summary, permissions)))
}
