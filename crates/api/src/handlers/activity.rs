//! `GET /api/client/servers/{server}/activity`: who did what to a server's backups.

use actix_web::{HttpRequest, HttpResponse, web};

use holdfast_db::activity;
use holdfast_domain::access::Action;

use crate::auth::{Caller, permit};
use crate::client_address::base_url;
use crate::error::ApiError;
use crate::openapi::Refusals;
use crate::page::Page;
use crate::state::ApiState;
use crate::views;
use crate::views::objects::ActivityList;

/// Lists what was done to a server's backups.
#[utoipa::path(
    get,
    path = "/api/client/servers/{server}/activity",
    operation_id = "activity",
    tag = "backups",
    params(
        ("server" = String, Path, description = "UUID of the server, or the eight characters before its first dash"),
        ("page" = Option<String>, Query, description = "From 1; anything else than digits means 1"),
        ("per_page" = Option<String>, Query, description = "1 to 100; 25 when it is anything else than digits"),
    ),
    responses((status = 200, description = "A page of the audit log, newest first", body = ActivityList), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn list(
    caller: Caller,
    request: HttpRequest,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (server, standing) = caller.server()?;
    permit(standing, Action::List)?;
    let page = Page::read(request.query_string());
    let total = activity::count(&state.database, server.id).await?;
    let entries = activity::list(&state.database, server.id, page.size, page.offset()).await?;
    let base_url = base_url(&request, &state.options);
    let pagination = page.describe(total, entries.len(), &request, &base_url);
    Ok(views::ok(&views::activity_list(entries, pagination)))
}
