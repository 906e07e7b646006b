//! `GET /api/client`: a page of the caller's servers, oldest first.

use actix_web::{HttpRequest, HttpResponse, web};

use holdfast_db::servers as stored;

use super::told;
use crate::auth::Caller;
use crate::client_address::base_url;
use crate::error::ApiError;
use crate::openapi::Refusals;
use crate::openapi::application::PageQuery;
use crate::page::Page;
use crate::state::ApiState;
use crate::views;
use crate::views::application::objects::ObjectList;
use crate::views::panel;
use crate::views::panel::objects::ClientServerObject;

/// Lists the servers that the caller owns or is a subuser of.
#[utoipa::path(
    get,
    path = "/api/client",
    operation_id = "own_servers",
    tag = "panel",
    params(PageQuery),
    responses((status = 200, description = "A page of servers, oldest first", body = ObjectList<ClientServerObject>), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn servers(
    caller: Caller,
    request: HttpRequest,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let page = Page::read(request.query_string());
    let total = stored::count_of_user(&state.database, caller.user).await?;
    let found =
        stored::page_of_user(&state.database, caller.user, page.size, page.offset()).await?;
    let base_url = base_url(&request, &state.options);
    let pagination = page.describe(total, found.len(), &request, &base_url);
    let ids: Vec<_> = found.iter().map(|server| server.id).collect();
    let restoring = stored::list_restoring(&state.database, &ids).await?;
    let told = found
        .iter()
        .map(|server| told(&caller, server, &restoring, &state));
    let objects = told.map(|told| panel::server(&told)).collect();
    Ok(views::ok(&views::application::list(objects, pagination)))
}
