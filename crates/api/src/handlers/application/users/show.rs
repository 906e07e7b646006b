//! `GET /users/{user}`: one user, by UUID or email address.

use actix_web::{HttpResponse, web};

use crate::error::ApiError;
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::UserPath;
use crate::operator::Operator;
use crate::state::ApiState;
use crate::views;
use crate::views::application::objects::UserObject;

/// Shows a user.
#[utoipa::path(
    get,
    path = "/api/application/users/{user}",
    operation_id = "show_user",
    tag = "application",
    params(UserPath),
    responses((status = 200, description = "The user", body = UserObject), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn show(
    operator: Operator,
    path: web::Path<String>,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let user = operator.user(&state, &path).await?;
    Ok(views::ok(&views::application::user(&user)))
}
