//! `GET …/subusers`: a page of the subusers of a server, by email address.

use actix_web::{HttpResponse, web};

use holdfast_db::subusers;

use crate::error::ApiError;
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::{PageQuery, ServerPath};
use crate::operator::Operator;
use crate::page::Page;
use crate::state::ApiState;
use crate::views;
use crate::views::application::objects::{ObjectList, SubuserObject};

/// Lists the subusers of a server.
#[utoipa::path(
    get,
    path = "/api/application/servers/{server}/subusers",
    operation_id = "list_subusers",
    tag = "application",
    params(ServerPath, PageQuery),
    responses(
        (
            status = 200,
            description = "A page of subusers, by email address",
            body = ObjectList<SubuserObject>
        ),
        Refusals,
    ),
    security(("key" = [])),
)]
pub(crate) async fn list(
    operator: Operator,
    path: web::Path<String>,
    page: Page,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let server = operator.server(&state, &path).await?;
    let subusers = subusers::list(&state.database, server.id).await?;
    let objects = page
        .slice(&subusers)
        .iter()
        .map(views::application::subuser);
    Ok(views::ok(&page.list(subusers.len() as u64, objects)))
}
