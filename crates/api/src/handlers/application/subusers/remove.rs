//! `DELETE …/subusers/{user}`: removes all permissions of a user for a server. Succeeds even if the
//! user has none.

use actix_web::{HttpResponse, web};

use holdfast_db::subusers;

use crate::error::ApiError;
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::SubuserPath;
use crate::operator::Operator;
use crate::operator_log;
use crate::state::ApiState;

/// Removes a subuser.
#[utoipa::path(
    delete,
    path = "/api/application/servers/{server}/subusers/{user}",
    operation_id = "remove_subuser",
    tag = "application",
    params(SubuserPath),
    responses(
        (status = 204, description = "The user is not a subuser of the server"),
        Refusals,
    ),
    security(("key" = [])),
)]
pub(crate) async fn remove(
    operator: Operator,
    path: web::Path<(String, String)>,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let server = operator.server(&state, &path.0).await?;
    let user = operator.user(&state, &path.1).await?;

    let mut change = operator.begin_change(&state).await?;
    subusers::set(&mut change, server.id, user.id, &[]).await?;
    operator_log::commit(change, None, HttpResponse::NoContent().finish()).await
}
