//! `POST /servers`: registers a server.

use actix_web::{HttpRequest, HttpResponse, web};
use uuid::Uuid;

use holdfast_db::servers;
use holdfast_domain::server::ServerLimits;
use holdfast_domain::{DirectorySetBy, Server, ServerId, ServerState};

use super::fields::{ServerFields, map_save_error};
use crate::error::ApiError;
use crate::input::Fields;
use crate::openapi::answers::Refusals;
use crate::openapi::application_bodies::CreateServerBody;
use crate::operator::Operator;
use crate::operator_log;
use crate::state::ApiState;
use crate::views;
use crate::views::application::objects::ServerObject;

/// Registers a server.
#[utoipa::path(
    post,
    path = "/api/application/servers",
    operation_id = "create_server",
    tag = "application",
    request_body(content = CreateServerBody),
    responses((status = 201, description = "The server", body = ServerObject), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn create(
    operator: Operator,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let mut fields = Fields::read(&request, payload).await?;
    let id = ServerId(fields.uuid("uuid").unwrap_or_else(Uuid::new_v4));
    let settings = ServerFields::take(&operator, &state, &mut fields).await?;
    fields.require("owner", settings.owner.as_ref());
    fields.require("name", settings.name.as_ref());
    fields.require("dir", settings.directory.as_ref());
    fields.check()?;
    let mut server = Server {
        id,
        owner: settings.owner,
        name: String::new(),
        directory: settings.directory.clone().ok_or(ApiError::Internal)?,
        node: state.options.node.clone(),
        directory_set_by: DirectorySetBy::Application,
        disk: None,
        state: ServerState::Normal,
        limits: ServerLimits::default(),
        created_at: (state.now)(),
        managed_by: None,
        absent_since: None,
    };
    settings.apply(&mut server, &state.options);

    let mut change = operator.begin_change(&state).await?;
    servers::insert(&mut change, &server)
        .await
        .map_err(|error| map_save_error(error, id))?;
    let answer = views::created(&views::application::server(&server, false));
    operator_log::commit(change, Some(id.to_string()), answer).await
}
