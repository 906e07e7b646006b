//! `GET /servers`: a page of servers, oldest first; `?owner=` those of one user.

use actix_web::{HttpRequest, HttpResponse, web};

use holdfast_db::servers;

use crate::auth::Operator;
use crate::client_address::base_url;
use crate::error::ApiError;
use crate::input::Fields;
use crate::openapi::Refusals;
use crate::openapi::application::PageQuery;
use crate::page::Page;
use crate::state::ApiState;
use crate::views;
use crate::views::application::objects::{ObjectList, ServerObject};

/// Lists servers.
#[utoipa::path(
    get,
    path = "/api/application/servers",
    operation_id = "list_servers",
    tag = "application",
    params(
        PageQuery,
        ("owner" = Option<String>, Query, description = "UUID or email address of a user: only that one's servers"),
    ),
    responses((status = 200, description = "A page of servers, oldest first", body = ObjectList<ServerObject>), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn list(
    operator: Operator,
    request: HttpRequest,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let mut filter = Fields::of_query(request.query_string());
    let owner = operator.owner(&state, &mut filter, "owner").await?;
    filter.check()?;
    let page = Page::read(request.query_string());
    let total = servers::count(&state.database, owner).await?;
    let found = servers::page(&state.database, owner, page.size, page.offset()).await?;
    let base_url = base_url(&request, &state.options);
    let pagination = page.describe(total, found.len(), &request, &base_url);
    let ids: Vec<_> = found.iter().map(|server| server.id).collect();
    let restoring = servers::list_restoring(&state.database, &ids).await?;
    let objects = found
        .iter()
        .map(|server| views::application::server(server, restoring.contains(&server.id)))
        .collect();
    Ok(views::ok(&views::application::list(objects, pagination)))
}
