//! `PUT …/subusers/{user}`: what a user may do with a server. The list replaces the one before; an
//! empty one removes the subuser.

use actix_web::{HttpRequest, HttpResponse, web};

use holdfast_db::subusers::{self, Subuser};
use holdfast_domain::Permission;

use crate::auth::Operator;
use crate::error::ApiError;
use crate::input::Fields;
use crate::openapi::Refusals;
use crate::openapi::application::SubuserBody;
use crate::operator_log;
use crate::state::ApiState;
use crate::views;
use crate::views::application::objects::SubuserObject;

/// Says what a user may do with a server.
#[utoipa::path(
    put,
    path = "/api/application/servers/{server}/subusers/{user}",
    operation_id = "set_subuser",
    tag = "application",
    params(
        ("server" = String, Path, description = "UUID of the server, or the eight characters before its first dash"),
        ("user" = String, Path, description = "UUID of the user, or the email address"),
    ),
    request_body(content = SubuserBody),
    responses((status = 200, description = "The subuser as it is now", body = SubuserObject), Refusals),
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
    let mut fields = Fields::read(&request, payload, state.options.max_body_bytes).await?;
    let says = format!(
        "one of {}",
        Permission::ALL.map(Permission::as_str).join(", ")
    );
    let permissions = fields.list("permissions", "in", &says, Permission::parse);
    // Nothing said must not mean everything taken away.
    fields.require("permissions", permissions.as_ref());
    fields.check()?;

    let mut permissions = permissions.ok_or(ApiError::Internal)?;
    permissions.sort();
    permissions.dedup();
    let mut change = operator.begin(&state).await?;
    subusers::set(&mut change, server.id, user.id, &permissions).await?;
    let subuser = Subuser {
        user: user.id,
        email: user.email,
        permissions,
    };
    let answer = views::ok(&views::application::subuser(&subuser));
    operator_log::commit(change, None, answer).await
}
