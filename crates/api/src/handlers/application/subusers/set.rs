//! `PUT …/subusers/{user}`: sets the permissions of a user for a server. An empty list removes the
//! subuser.

use actix_web::{HttpRequest, HttpResponse, web};

use holdfast_db::subusers::{self, Subuser};
use holdfast_domain::Permission;

use crate::error::ApiError;
use crate::input::Fields;
use crate::openapi::answers::Refusals;
use crate::openapi::application_bodies::SubuserBody;
use crate::openapi::parameters::SubuserPath;
use crate::operator::Operator;
use crate::operator_log;
use crate::state::ApiState;
use crate::views;
use crate::views::application::objects::SubuserObject;

/// Sets the permissions of a subuser.
#[utoipa::path(
    put,
    path = "/api/application/servers/{server}/subusers/{user}",
    operation_id = "set_subuser",
    tag = "application",
    params(SubuserPath),
    request_body(content = SubuserBody),
    responses((status = 200, description = "The changed subuser", body = SubuserObject), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn set(
    operator: Operator,
    request: HttpRequest,
    path: web::Path<(String, String)>,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let server = operator.server(&state, &path.0).await?;
    let user = operator.user(&state, &path.1).await?;
    let mut fields = Fields::read(&request, payload).await?;
    let names = Permission::ALL.map(Permission::as_str).join(", ");
    let expected = format!("one of {names}");
    let permissions = fields.list("permissions", "in", &expected, Permission::parse);
    // Required, so that an empty body does not remove all permissions.
    fields.require("permissions", permissions.as_ref());
    fields.check()?;
    let mut permissions = permissions.ok_or(ApiError::Internal)?;
    permissions.sort();
    permissions.dedup();

    let mut change = operator.begin_change(&state).await?;
    subusers::set(&mut change, server.id, user.id, &permissions).await?;
    let subuser = Subuser {
        user: user.id,
        email: user.email,
        permissions,
    };
    let answer = views::ok(&views::application::subuser(&subuser));
    operator_log::commit(change, None, answer).await
}
