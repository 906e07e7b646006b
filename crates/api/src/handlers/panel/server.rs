//! `GET /api/client/servers/{server}`: one server, and what the caller may do with its backups.

use actix_web::{HttpResponse, web};

use holdfast_db::servers;
use holdfast_domain::Permission;

use super::told;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::openapi::Refusals;
use crate::state::ApiState;
use crate::views;
use crate::views::panel;
use crate::views::panel::objects::OneServer;

/// Shows a server.
#[utoipa::path(
    get,
    path = "/api/client/servers/{server}",
    operation_id = "view_server",
    tag = "panel",
    params(
        ("server" = String, Path, description = "UUID of the server, or the eight characters before its first dash"),
    ),
    responses((status = 200, description = "The server", body = OneServer), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn server(
    caller: Caller,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (server, standing) = caller.server()?;
    let restoring = servers::list_restoring(&state.database, &[server.id]).await?;
    let told = told(&caller, server, &restoring, &state);
    let permissions = Permission::ALL.into_iter().filter(|p| standing.has(*p));
    Ok(views::ok(&panel::one_server(&told, permissions)))
}
