//! `DELETE /users/{user}`: deletes a user who owns no servers, with all keys and permissions.

use actix_web::{HttpResponse, web};

use holdfast_db::users;

use crate::error::ApiError;
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::UserPath;
use crate::operator::Operator;
use crate::operator_log;
use crate::state::ApiState;

/// Deletes a user who owns no servers.
#[utoipa::path(
    delete,
    path = "/api/application/users/{user}",
    operation_id = "delete_user",
    tag = "application",
    params(UserPath),
    responses(
        (status = 204, description = "The user is deleted, with all keys and permissions"),
        Refusals,
    ),
    security(("key" = [])),
)]
pub(crate) async fn delete(
    operator: Operator,
    path: web::Path<String>,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let user = operator.user(&state, &path).await?;

    let mut change = operator.begin_user_change(&state).await?;
    if !users::has_other_admin(&mut change, user.id).await? {
        return Err(ApiError::LastAdmin);
    }
    match users::delete(&mut change, user.id).await {
        Ok(true) => operator_log::commit(change, None, HttpResponse::NoContent().finish()).await,
        Ok(false) => Err(ApiError::NotFound),
        // A foreign key decides, so that a concurrent request cannot add a server.
        Err(holdfast_db::Error::Missing { .. }) => Err(ApiError::OwnsServers),
        Err(error) => Err(error.into()),
    }
}
