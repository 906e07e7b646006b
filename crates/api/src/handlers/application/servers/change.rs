//! `PATCH /servers/{server}`: changes what is given; null takes the setting again.

use actix_web::{HttpRequest, HttpResponse, web};

use holdfast_db::servers;
use holdfast_domain::limit;

use super::fields::{ServerFields, check_place, refused};
use super::shown;
use crate::auth::Operator;
use crate::error::ApiError;
use crate::input::Fields;
use crate::openapi::Refusals;
use crate::openapi::application::ChangeServerBody;
use crate::operator_log;
use crate::state::ApiState;
use crate::views;
use crate::views::application::objects::ServerObject;

/// Changes a server.
#[utoipa::path(
    patch,
    path = "/api/application/servers/{server}",
    operation_id = "change_server",
    tag = "application",
    params(
        ("server" = String, Path, description = "UUID of the server, or the eight characters before its first dash"),
    ),
    request_body(content = ChangeServerBody),
    responses((status = 200, description = "The server as it is now", body = ServerObject), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn change(
    operator: Operator,
    request: HttpRequest,
    path: web::Path<String>,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let server = operator.server(&state, &path).await?;
    let mut fields = Fields::read(&request, payload, state.options.max_body_bytes).await?;
    let wanted = ServerFields::take(&operator, &state, &mut fields).await?;
    fields.check()?;

    let mut change = operator.begin(&state).await?;
    let (mut server, load) = servers::lock_and_find(&mut change, server.id)
        .await?
        .ok_or(ApiError::NotFound)?;
    if wanted.apply(&mut server, &state.options) {
        check_place(&server, &state.options)?;
        limit::check_no_file_job(load.unfinished).map_err(ApiError::MoveServer)?;
    }
    servers::save(&mut change, &server)
        .await
        .map_err(|error| refused(error, server.id))?;
    let answer = views::ok(&shown(&server, load));
    operator_log::commit(change, None, answer).await
}
