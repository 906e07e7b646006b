//! `PUT /servers/{server}/state`: what the panel says the server is doing. A job that runs already
//! goes on.

use actix_web::{HttpRequest, HttpResponse, web};

use holdfast_db::servers;

use super::fields::state_of;
use super::shown;
use crate::auth::Operator;
use crate::error::ApiError;
use crate::input::Fields;
use crate::openapi::Refusals;
use crate::openapi::application::StateBody;
use crate::operator_log;
use crate::state::ApiState;
use crate::views;
use crate::views::application::objects::ServerObject;

/// Says what a server is doing.
#[utoipa::path(
    method(put, post),
    path = "/api/application/servers/{server}/state",
    operation_id = "set_server_state",
    tag = "application",
    params(
        ("server" = String, Path, description = "UUID of the server, or the eight characters before its first dash"),
    ),
    request_body(content = StateBody),
    responses((status = 200, description = "The server as it is now", body = ServerObject), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn set_state(
    operator: Operator,
    request: HttpRequest,
    path: web::Path<String>,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let server = operator.server(&state, &path).await?;
    let mut fields = Fields::read(&request, payload, state.options.max_body_bytes).await?;
    let wanted = state_of(&mut fields);
    fields.require("state", wanted.as_ref());
    fields.check()?;

    let mut change = operator.begin(&state).await?;
    let (mut server, load) = servers::lock_and_find(&mut change, server.id)
        .await?
        .ok_or(ApiError::NotFound)?;
    server.state = wanted.ok_or(ApiError::Internal)?;
    servers::save(&mut change, &server).await?;
    let answer = views::ok(&shown(&server, load));
    operator_log::commit(change, None, answer).await
}
