//! `GET /keys`: a page of keys, oldest first, without their secrets; `?user=` those of one user.

use actix_web::{HttpRequest, HttpResponse, web};

use holdfast_db::keys;

use crate::auth::Operator;
use crate::client_address::base_url;
use crate::error::ApiError;
use crate::input::Fields;
use crate::openapi::Refusals;
use crate::openapi::application::PageQuery;
use crate::page::Page;
use crate::state::ApiState;
use crate::views;
use crate::views::application::objects::{KeyObject, ObjectList};

/// Lists keys.
#[utoipa::path(
    get,
    path = "/api/application/keys",
    operation_id = "list_keys",
    tag = "application",
    params(
        PageQuery,
        ("user" = Option<String>, Query, description = "UUID or email address of a user: only that one's keys"),
    ),
    responses((status = 200, description = "A page of keys, oldest first, without their secrets", body = ObjectList<KeyObject>), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn list(
    operator: Operator,
    request: HttpRequest,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let mut filter = Fields::of_query(request.query_string());
    let user = operator.owner(&state, &mut filter, "user").await?;
    filter.check()?;
    let page = Page::read(request.query_string());
    let total = keys::count(&state.database, user).await?;
    let keys = keys::page(&state.database, user, page.size, page.offset()).await?;
    let base_url = base_url(&request, &state.options);
    let pagination = page.describe(total, keys.len(), &request, &base_url);
    let objects = keys
        .iter()
        .map(|key| views::application::key(key, None))
        .collect();
    Ok(views::ok(&views::application::list(objects, pagination)))
}
