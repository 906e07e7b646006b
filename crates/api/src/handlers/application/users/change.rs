//! `PATCH /users/{user}`: changes the email address of a user, or makes the user an administrator.

use actix_web::{HttpRequest, HttpResponse, web};

use holdfast_db::users;

use super::fields::map_save_error;
use crate::error::ApiError;
use crate::input::Fields;
use crate::openapi::answers::Refusals;
use crate::openapi::application_bodies::ChangeUserBody;
use crate::openapi::parameters::UserPath;
use crate::operator::Operator;
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
    params(UserPath),
    request_body(content = ChangeUserBody),
    responses((status = 200, description = "The changed user", body = UserObject), Refusals),
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
    let mut fields = Fields::read(&request, payload).await?;
    let email = fields.email("email");
    let is_admin = fields.flag("admin");
    fields.check()?;

    let mut change = operator.begin_user_change(&state).await?;
    if is_admin == Some(false) && !users::has_other_admin(&mut change, user.id).await? {
        return Err(ApiError::LastAdmin);
    }
    let user = users::update(&mut change, user.id, email.as_ref(), is_admin)
        .await
        .map_err(map_save_error)?
        .ok_or(ApiError::NotFound)?;
    let answer = views::ok(&views::application::user(&user));
    operator_log::commit(change, None, answer).await
}
