//! `PATCH /users/{user}`: changes a user's address, or whether the user is an administrator.

use actix_web::{HttpRequest, HttpResponse, web};

use holdfast_db::users;

use super::refused;
use crate::auth::Operator;
use crate::error::ApiError;
use crate::input::Fields;
use crate::openapi::Refusals;
use crate::openapi::application::ChangeUserBody;
use crate::operator_log;
use crate::state::ApiState;
use crate::views;
use crate::views::application::objects::UserObject;

/// Changes a user.
#[utoipa::path(
    patch,
    path = "/api/application/users/{user}",
    operation_id = "change_user",
    tag = "application",
    params(
        ("user" = String, Path, description = "UUID of the user, or the email address"),
    ),
    request_body(content = ChangeUserBody),
    responses((status = 200, description = "The user as it is now", body = UserObject), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn change(
    operator: Operator,
    request: HttpRequest,
    path: web::Path<String>,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let user = operator.user(&state, &path).await?;
    let mut fields = Fields::read(&request, payload, state.options.max_body_bytes).await?;
    let email = fields.email("email");
    let is_admin = fields.flag("admin");
    fields.check()?;

    let mut change = operator.begin(&state).await?;
    let changed = users::update(&mut change, user.id, email.as_ref(), is_admin)
        .await
        .map_err(refused)?
        .ok_or(ApiError::NotFound)?;
    let answer = views::ok(&views::application::user(&changed));
    operator_log::commit(change, None, answer).await
}
