//! `GET …/subusers`: a page of a server's subusers, by address.

use actix_web::{HttpRequest, HttpResponse, web};

use holdfast_db::subusers;

use crate::auth::Operator;
use crate::client_address::base_url;
use crate::error::ApiError;
use crate::openapi::Refusals;
use crate::openapi::application::PageQuery;
use crate::page::Page;
use crate::state::ApiState;
use crate::views;
use crate::views::application::objects::{ObjectList, SubuserObject};

/// Lists a server's subusers.
#[utoipa::path(
    get,
    path = "/api/application/servers/{server}/subusers",
    operation_id = "list_subusers",
    tag = "application",
    params(
        ("server" = String, Path, description = "UUID of the server, or the eight characters before its first dash"),
        PageQuery,
    ),
    responses((status = 200, description = "A page of subusers, by address", body = ObjectList<SubuserObject>), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn list(
    operator: Operator,
    request: HttpRequest,
    path: web::Path<String>,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let server = operator.server(&state, &path).await?;
    let page = Page::read(request.query_string());
    let subusers = subusers::list(&state.database, server.id).await?;
    let shown = page.cut(&subusers);
    let base_url = base_url(&request, &state.options);
    let pagination = page.describe(subusers.len() as u64, shown.len(), &request, &base_url);
    let objects = shown.iter().map(views::application::subuser).collect();
    Ok(views::ok(&views::application::list(objects, pagination)))
}
