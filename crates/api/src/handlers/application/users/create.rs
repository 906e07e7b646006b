//! `POST /users`: creates a user.

use actix_web::{HttpRequest, HttpResponse, web};
use uuid::Uuid;

use holdfast_db::users;
use holdfast_domain::UserId;

use super::fields::map_save_error;
use crate::error::ApiError;
use crate::input::Fields;
use crate::openapi::answers::Refusals;
use crate::openapi::application_bodies::CreateUserBody;
use crate::operator::Operator;
use crate::operator_log;
use crate::state::ApiState;
use crate::views;
use crate::views::application::objects::UserObject;

/// Creates a user.
#[utoipa::path(
    post,
    path = "/api/application/users",
    operation_id = "create_user",
    tag = "application",
    request_body(content = CreateUserBody),
    responses((status = 201, description = "The user", body = UserObject), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn create(
    operator: Operator,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let mut fields = Fields::read(&request, payload).await?;
    let email = fields.email("email");
    fields.require("email", email.as_ref());
    let is_admin = fields.flag("admin").unwrap_or(false);
    fields.check()?;
    let email = email.ok_or(ApiError::Internal)?;

    let id = UserId(Uuid::new_v4());
    let mut change = operator.begin_change(&state).await?;
    let user = users::create(&mut change, id, email.as_str(), is_admin)
        .await
        .map_err(map_save_error)?;
    let answer = views::created(&views::application::user(&user));
    operator_log::commit(change, Some(id.to_string()), answer).await
}
