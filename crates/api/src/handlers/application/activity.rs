//! `GET /activity`: what operators have asked for that changes something, and what came of it.

use actix_web::{HttpRequest, HttpResponse, web};

use holdfast_db::operator_log;

use crate::auth::Operator;
use crate::client_address::base_url;
use crate::error::ApiError;
use crate::openapi::Refusals;
use crate::openapi::application::PageQuery;
use crate::page::Page;
use crate::state::ApiState;
use crate::views;
use crate::views::application::objects::{ObjectList, OperationObject};

/// Lists what operators did.
#[utoipa::path(
    get,
    path = "/api/application/activity",
    operation_id = "operations",
    tag = "application",
    params(
        PageQuery,
    ),
    responses((status = 200, description = "A page of requests to this API that were to change something, newest first", body = ObjectList<OperationObject>), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn list(
    _operator: Operator,
    request: HttpRequest,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let page = Page::read(request.query_string());
    let total = operator_log::count(&state.database).await?;
    let lines = operator_log::list(&state.database, page.size, page.offset()).await?;
    let base_url = base_url(&request, &state.options);
    let pagination = page.describe(total, lines.len(), &request, &base_url);
    let objects = lines.iter().map(views::application::operation).collect();
    Ok(views::ok(&views::application::list(objects, pagination)))
}
