//! `GET /keys`: a page of keys without their secrets, oldest first. `?user=` filters them.

use actix_web::{HttpRequest, HttpResponse, web};

use holdfast_db::keys;

use crate::error::ApiError;
use crate::input::Fields;
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::PageQuery;
use crate::operator::Operator;
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
        (
            "user" = Option<String>,
            Query,
            description = "Only keys of this user: a UUID or an email address"
        ),
    ),
    responses(
        (
            status = 200,
            description = "A page of keys, oldest first, without their secrets",
            body = ObjectList<KeyObject>
        ),
        Refusals,
    ),
    security(("key" = [])),
)]
pub(crate) async fn list(
    operator: Operator,
    request: HttpRequest,
    page: Page,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let mut fields = Fields::from_query(request.query_string());
    let user = operator.user_field(&state, &mut fields, "user").await?;
    fields.check()?;

    let total = keys::count(&state.database, user).await?;
    let keys = keys::page(&state.database, user, page.size(), page.offset()).await?;
    let objects = keys.iter().map(|key| views::application::key(key, None));
    Ok(views::ok(&page.list(total, objects)))
}
