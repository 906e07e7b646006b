//! `GET /activity`: the operator log.

use actix_web::{HttpResponse, web};

use holdfast_db::operator_log;

use crate::error::ApiError;
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::PageQuery;
use crate::operator::Operator;
use crate::page::Page;
use crate::state::ApiState;
use crate::views;
use crate::views::application::objects::{ObjectList, OperationObject};

/// Lists the changes by operators.
#[utoipa::path(
    get,
    path = "/api/application/activity",
    operation_id = "operations",
    tag = "application",
    params(PageQuery),
    responses(
        (
            status = 200,
            description = "A page of the operator log, newest first",
            body = ObjectList<OperationObject>
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
    let total = operator_log::count(&state.database).await?;
    let entries = operator_log::list(&state.database, page.size(), page.offset()).await?;
    let objects = entries.iter().map(views::application::operation);
    Ok(views::ok(&page.list(total, objects)))
}
