//! `PATCH /servers/{server}`: changes the given fields of a server. Null resets a field to the
//! value of the settings.

use actix_web::{HttpRequest, HttpResponse, web};

use holdfast_db::servers;
use holdfast_domain::limit;

use super::fields::{ServerFields, check_directory, map_save_error};
use crate::error::ApiError;
use crate::input::Fields;
use crate::openapi::answers::Refusals;
use crate::openapi::application_bodies::ChangeServerBody;
use crate::openapi::parameters::ServerPath;
use crate::operator::Operator;
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
    params(ServerPath),
    request_body(content = ChangeServerBody),
    responses((status = 200, description = "The changed server", body = ServerObject), Refusals),
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
    let mut fields = Fields::read(&request, payload).await?;
    let changes = ServerFields::take(&operator, &state, &mut fields).await?;
    fields.check()?;

    let (mut change, mut server, load) = operator.begin_server_change(&state, server.id).await?;
    changes.check_manager(&server)?;
    if changes.apply(&mut server, &state.options) {
        check_directory(&server, &state.options)?;
        limit::check_no_file_job(load.unfinished).map_err(ApiError::MoveServer)?;
    }
    servers::save(&mut change, &server)
        .await
        .map_err(|error| map_save_error(error, server.id))?;
    let answer = views::ok(&views::application::changed_server(&server, &load));
    operator_log::commit(change, None, answer).await
}
