//! `GET /users`: a page of users, oldest first.

use actix_web::{HttpRequest, HttpResponse, web};

use holdfast_db::users;

use crate::auth::Operator;
use crate::client_address::base_url;
use crate::error::ApiError;
use crate::openapi::Refusals;
use crate::openapi::application::PageQuery;
use crate::page::Page;
use crate::state::ApiState;
use crate::views;
use crate::views::application::objects::{ObjectList, UserObject};

/// Lists users.
#[utoipa::path(
    get,
    path = "/api/application/users",
    operation_id = "list_users",
    tag = "application",
    params(
        PageQuery,
    ),
    responses((status = 200, description = "A page of users, oldest first", body = ObjectList<UserObject>), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn list(
    _operator: Operator,
    request: HttpRequest,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let page = Page::read(request.query_string());
    let total = users::count(&state.database).await?;
    let users = users::page(&state.database, page.size, page.offset()).await?;
    let base_url = base_url(&request, &state.options);
    let pagination = page.describe(total, users.len(), &request, &base_url);
    let objects = users.iter().map(views::application::user).collect();
    Ok(views::ok(&views::application::list(objects, pagination)))
}
