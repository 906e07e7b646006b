//! `GET …/subusers`: a page of a server's subusers, by address.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::Value;

use holdfast_db::subusers;

use crate::auth::Operator;
use crate::error::ApiError;
use crate::origin::base_url;
use crate::page::Page;
use crate::state::ApiState;
use crate::views;

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
    let objects: Vec<Value> = shown.iter().map(views::application::subuser).collect();
    Ok(views::ok(&views::application::list(&objects, &pagination)))
}
