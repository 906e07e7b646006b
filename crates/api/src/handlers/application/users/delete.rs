//! `DELETE /users/{user}`: removes a user who owns no servers, with all keys and permissions.

use actix_web::{HttpResponse, web};

use holdfast_db::users;

use crate::auth::Operator;
use crate::error::ApiError;
use crate::openapi::Refusals;
use crate::operator_log;
use crate::state::ApiState;

/// Removes a user who owns no servers.
#[utoipa::path(
    delete,
    path = "/api/application/users/{user}",
    operation_id = "delete_user",
    tag = "application",
    params(
        ("user" = String, Path, description = "UUID of the user, or the email address"),
    ),
    responses((status = 204, description = "Removed, with all keys and permissions"), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn delete(
    operator: Operator,
    path: web::Path<String>,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let user = operator.user(&state, &path).await?;
    let mut change = operator.begin(&state).await?;
    match users::delete(&mut change, user.id).await {
        Ok(true) => operator_log::commit(change, None, HttpResponse::NoContent().finish()).await,
        Ok(false) => Err(ApiError::NotFound),
        // The schema decides, so that no server can slip in between.
        Err(holdfast_db::Error::Missing { .. }) => Err(ApiError::OwnsServers),
        Err(error) => Err(error.into()),
    }
}
