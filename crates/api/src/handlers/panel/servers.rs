//! `GET /api/client`: a page of the caller's servers, oldest first.

use actix_web::{HttpResponse, web};

use holdfast_db::servers as db_servers;

use super::summary::summarize;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::PageQuery;
use crate::page::Page;
use crate::state::ApiState;
use crate::views;
use crate::views::application::objects::ObjectList;
use crate::views::panel::objects::ClientServerObject;

/// Lists the servers that the caller owns or is a subuser of.
#[utoipa::path(
    get,
    path = "/api/client",
    operation_id = "own_servers",
    tag = "panel",
    params(PageQuery),
    responses(
        (
            status = 200,
            description = "A page of servers, oldest first",
            body = ObjectList<ClientServerObject>
        ),
        Refusals,
    ),
    security(("key" = [])),
)]
pub(crate) async fn servers(
    caller: Caller,
    page: Page,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let user = caller.key_holder()?.user;
    let total = db_servers::count_of_user(&state.database, user).await?;
    let servers =
        db_servers::page_of_user(&state.database, user, page.size(), page.offset()).await?;
    let ids: Vec<_> = servers.iter().map(|server| server.id).collect();
    let restoring = db_servers::list_restoring(&state.database, &ids).await?;
    let objects = servers.iter().map(|server| {
        let summary = summarize(&caller, server, &restoring, &state);
        views::panel::server(&summary)
    });
    Ok(views::ok(&page.list(total, objects)))
}
