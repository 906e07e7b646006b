//! `GET /storage/servers`: a page of servers with the totals of their completed backups, oldest
//! first.

use actix_web::{HttpResponse, web};

use holdfast_db::{servers, usage};

use crate::error::ApiError;
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::PageQuery;
use crate::operator::Operator;
use crate::page::Page;
use crate::state::ApiState;
use crate::views;
use crate::views::application::objects::{ObjectList, ServerUseObject};

/// Lists servers with the totals of their completed backups.
#[utoipa::path(
    get,
    path = "/api/application/storage/servers",
    operation_id = "storage_by_server",
    tag = "application",
    params(PageQuery),
    responses(
        (
            status = 200,
            description = "A page of servers, oldest first, with their totals",
            body = ObjectList<ServerUseObject>
        ),
        Refusals,
    ),
    security(("key" = [])),
)]
pub(crate) async fn by_server(
    _operator: Operator,
    page: Page,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let total = servers::count(&state.database, None).await?;
    let usage = usage::by_server(&state.database, page.size(), page.offset()).await?;
    let objects = usage.iter().map(views::application::server_usage);
    Ok(views::ok(&page.list(total, objects)))
}
