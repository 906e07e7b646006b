//! `POST /servers`: registers a server: a directory below one of the roots, that is backed up from now on.

use actix_web::{HttpRequest, HttpResponse, web};
use uuid::Uuid;

use holdfast_db::servers;
use holdfast_domain::server::ServerLimits;
use holdfast_domain::{DirectorySetBy, Server, ServerId, ServerState};

use super::fields::{ServerFields, refused};
use crate::auth::Operator;
use crate::error::ApiError;
use crate::input::Fields;
use crate::openapi::Refusals;
use crate::openapi::application::CreateServerBody;
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
    let mut fields = Fields::read(&request, payload, state.options.max_body_bytes).await?;
    let id = ServerId(fields.uuid("uuid").unwrap_or_else(Uuid::new_v4));
    let wanted = ServerFields::take(&operator, &state, &mut fields).await?;
    fields.require("owner", wanted.owner.as_ref());
    fields.require("name", wanted.name.as_ref());
    fields.require("dir", wanted.directory.as_ref());
    fields.check()?;
    let mut server = Server {
        id,
        owner: wanted.owner.ok_or(ApiError::Internal)?,
        name: String::new(),
        directory: wanted.directory.clone().ok_or(ApiError::Internal)?,
        node: state.options.node.clone(),
        directory_set_by: DirectorySetBy::Application,
        disk: None,
        state: ServerState::Normal,
        limits: ServerLimits::default(),
        created_at: (state.now)(),
    };
    wanted.apply(&mut server, &state.options);

    let mut change = operator.begin(&state).await?;
    servers::insert(&mut change, &server)
        .await
        .map_err(|error| refused(error, id))?;
    let answer = views::created(&views::application::server(&server, false));
    operator_log::commit(change, Some(id.to_string()), answer).await
}
