//! `GET /servers`: a page of servers, oldest first. `?owner=` filters them.

use actix_web::{HttpRequest, HttpResponse, web};

use holdfast_db::servers;

use crate::error::ApiError;
use crate::input::Fields;
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::PageQuery;
use crate::operator::Operator;
use crate::page::Page;
use crate::state::ApiState;
use crate::views;
use crate::views::application::objects::{ObjectList, ServerObject};

/// Lists servers.
#[utoipa::path(
    get,
    path = "/api/application/servers",
    operation_id = "list_servers",
    tag = "application",
    params(
        PageQuery,
        (
            "owner" = Option<String>,
            Query,
            description = "Only servers of this user: a UUID or an email address"
        ),
    ),
    responses(
        (
            status = 200,
            description = "A page of servers, oldest first",
            body = ObjectList<ServerObject>
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
    let owner = operator.user_field(&state, &mut fields, "owner").await?;
    fields.check()?;

    let total = servers::count(&state.database, owner).await?;
    let found = servers::page(&state.database, owner, page.size(), page.offset()).await?;
    let ids: Vec<_> = found.iter().map(|server| server.id).collect();
    let restoring = servers::list_restoring(&state.database, &ids).await?;
    let objects = found
        .iter()
        .map(|server| views::application::server(server, restoring.contains(&server.id)));
    Ok(views::ok(&page.list(total, objects)))
}
