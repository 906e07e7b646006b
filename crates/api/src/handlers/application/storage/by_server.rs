//! `GET /storage/servers`: a page of servers, oldest first, with what their completed backups take.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::Value;

use holdfast_db::{servers, usage};

use crate::auth::Operator;
use crate::error::ApiError;
use crate::origin::base_url;
use crate::page::Page;
use crate::state::ApiState;
use crate::views;

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
    let objects: Vec<Value> = found.iter().map(views::application::server_use).collect();
    Ok(views::ok(&views::application::list(&objects, &pagination)))
}
