//! `GET /servers`: a page of servers, oldest first; `?owner=` those of one user.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::Value;

use holdfast_db::servers;

use crate::auth::Operator;
use crate::error::ApiError;
use crate::input::Fields;
use crate::origin::base_url;
use crate::page::Page;
use crate::state::ApiState;
use crate::views;

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
    let servers = servers::page(&state.database, owner, page.size, page.offset()).await?;
    let base_url = base_url(&request, &state.options);
    let pagination = page.describe(total, servers.len(), &request, &base_url);
    let objects: Vec<Value> = servers.iter().map(views::application::server).collect();
    Ok(views::ok(&views::application::list(&objects, &pagination)))
}
