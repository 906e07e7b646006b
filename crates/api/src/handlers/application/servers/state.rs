//! `PUT /servers/{server}/state`: sets the state of a server. A running job is not affected.

use actix_web::{HttpRequest, HttpResponse, web};

use holdfast_db::servers;

use super::fields::take_state;
use crate::error::ApiError;
use crate::input::Fields;
use crate::openapi::answers::Refusals;
use crate::openapi::application_bodies::StateBody;
use crate::openapi::parameters::ServerPath;
use crate::operator::Operator;
use crate::operator_log;
use crate::state::ApiState;
use crate::views;
use crate::views::application::objects::ServerObject;

/// Sets the state of a server.
#[utoipa::path(
    method(put, post),
    path = "/api/application/servers/{server}/state",
    operation_id = "set_server_state",
    tag = "application",
    params(ServerPath),
    request_body(content = StateBody),
    responses((status = 200, description = "The changed server", body = ServerObject), Refusals),
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
    let mut fields = Fields::read(&request, payload).await?;
    let new_state = take_state(&mut fields);
    fields.require("state", new_state.as_ref());
    fields.check()?;
    let new_state = new_state.ok_or(ApiError::Internal)?;

    let (mut change, mut server, load) = operator.begin_server_change(&state, server.id).await?;
    server.state = new_state;
    servers::save(&mut change, &server).await?;
    let answer = views::ok(&views::application::changed_server(&server, &load));
    operator_log::commit(change, None, answer).await
}
