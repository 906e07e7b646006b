//! `DELETE …/subusers/{user}`: takes all permissions away; fine when there are none.

use actix_web::{HttpResponse, web};

use holdfast_db::subusers;

use crate::auth::Operator;
use crate::error::ApiError;
use crate::openapi::Refusals;
use crate::operator_log;
use crate::state::ApiState;

/// Takes all permissions away.
#[utoipa::path(
    delete,
    path = "/api/application/servers/{server}/subusers/{user}",
    operation_id = "remove_subuser",
    tag = "application",
    params(
        ("server" = String, Path, description = "UUID of the server, or the eight characters before its first dash"),
        ("user" = String, Path, description = "UUID of the user, or the email address"),
    ),
    responses((status = 204, description = "The user may do nothing with the server"), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn remove(
    operator: Operator,
    path: web::Path<(String, String)>,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let server = operator.server(&state, &path.0).await?;
    let user = operator.user(&state, &path.1).await?;
    let mut change = operator.begin(&state).await?;
    subusers::set(&mut change, server.id, user.id, &[]).await?;
    operator_log::commit(change, None, HttpResponse::NoContent().finish()).await
}
