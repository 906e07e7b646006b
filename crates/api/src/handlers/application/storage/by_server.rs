//! `GET /storage/servers`: a page of servers, oldest first, with what their completed backups take.

use actix_web::{HttpRequest, HttpResponse, web};

use holdfast_db::{servers, usage};

use crate::auth::Operator;
use crate::client_address::base_url;
use crate::error::ApiError;
use crate::openapi::Refusals;
use crate::openapi::application::PageQuery;
use crate::page::Page;
use crate::state::ApiState;
use crate::views;
use crate::views::application::objects::{ObjectList, ServerUseObject};

/// Says what every server takes.
#[utoipa::path(
    get,
    path = "/api/application/storage/servers",
    operation_id = "storage_by_server",
    tag = "application",
    params(
        PageQuery,
    ),
    responses((status = 200, description = "A page of servers, oldest first, with what they take", body = ObjectList<ServerUseObject>), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn by_server(
    _operator: Operator,
    request: HttpRequest,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let page = Page::read(request.query_string());
    let total = servers::count(&state.database, None).await?;
    let found = usage::by_server(&state.database, page.size, page.offset()).await?;
    let base_url = base_url(&request, &state.options);
    let pagination = page.describe(total, found.len(), &request, &base_url);
    let objects = found.iter().map(views::application::server_use).collect();
    Ok(views::ok(&views::application::list(objects, pagination)))
}
