//! `GET /api/client/servers/{server}/activity`: the audit log of a server's backups and schedules.

use actix_web::{HttpResponse, web};

use holdfast_db::activity;
use holdfast_domain::access::Action;

use crate::auth::{Caller, permit};
use crate::error::ApiError;
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::{PageQuery, ServerPath};
use crate::page::Page;
use crate::state::ApiState;
use crate::views;
use crate::views::objects::ActivityList;

/// Lists the events of a server's backups, and of its schedules for those who may see them.
#[utoipa::path(
    get,
    path = "/api/client/servers/{server}/activity",
    operation_id = "activity",
    tag = "backups",
    params(ServerPath, PageQuery),
    responses(
        (status = 200, description = "A page of the audit log, newest first", body = ActivityList),
        Refusals,
    ),
    security(("key" = [])),
)]
pub(crate) async fn list(
    caller: Caller,
    page: Page,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (server, access) = caller.server()?;
    permit(access, Action::List)?;
    // Commands in tasks may be secret.
    let of_schedules = access.may(Action::ViewSchedule);
    let (database, id) = (&state.database, server.id);
    let total = activity::count(database, id, of_schedules).await?;
    let entries = activity::list(database, id, of_schedules, page.size(), page.offset()).await?;
    let pagination = page.pagination(total, entries.len());
    Ok(views::ok(&views::activity_list(entries, pagination)))
}
