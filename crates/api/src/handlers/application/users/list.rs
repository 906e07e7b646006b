//! `GET /users`: a page of users, oldest first.

use actix_web::{HttpResponse, web};

use holdfast_db::users;

use crate::error::ApiError;
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::PageQuery;
use crate::operator::Operator;
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
    params(PageQuery),
    responses(
        (
            status = 200,
            description = "A page of users, oldest first",
            body = ObjectList<UserObject>
        ),
        Refusals,
    ),
    security(("key" = [])),
)]
pub(crate) async fn list(
    _operator: Operator,
    page: Page,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let total = users::count(&state.database).await?;
    let users = users::page(&state.database, page.size(), page.offset()).await?;
    let objects = users.iter().map(views::application::user);
    Ok(views::ok(&page.list(total, objects)))
}
