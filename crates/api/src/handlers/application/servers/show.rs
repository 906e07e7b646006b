//! `GET /servers/{server}`: one server, by UUID or short identifier.

use actix_web::{HttpResponse, web};

use holdfast_db::servers;

use crate::error::ApiError;
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::ServerPath;
use crate::operator::Operator;
use crate::state::ApiState;
use crate::views;
use crate::views::application::objects::ServerObject;

/// Shows a server.
#[utoipa::path(
    get,
    path = "/api/application/servers/{server}",
    operation_id = "show_server",
    tag = "application",
    params(ServerPath),
    responses((status = 200, description = "The server", body = ServerObject), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn show(
    operator: Operator,
    path: web::Path<String>,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let server = operator.server(&state, &path).await?;
    let restoring = servers::list_restoring(&state.database, &[server.id]).await?;
    let object = views::application::server(&server, !restoring.is_empty());
    Ok(views::ok(&object))
}
