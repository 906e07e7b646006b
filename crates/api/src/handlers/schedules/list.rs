//! `GET …/schedules`: the schedules of a server, oldest first.

use actix_web::{HttpResponse, web};

use holdfast_db::schedules;
use holdfast_domain::access::Action;

use crate::auth::{Caller, permit};
use crate::error::ApiError;
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::ServerPath;
use crate::state::ApiState;
use crate::views;
use crate::views::schedules::objects::ScheduleList;

/// Lists a server's schedules.
#[utoipa::path(
    get,
    path = "/api/client/servers/{server}/schedules",
    operation_id = "list_schedules",
    tag = "schedules",
    params(ServerPath),
    responses(
        (status = 200, description = "All schedules, oldest first", body = ScheduleList),
        Refusals,
    ),
    security(("key" = [])),
)]
pub(crate) async fn list(
    caller: Caller,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (server, access) = caller.server()?;
    permit(access, Action::ViewSchedule)?;
    let schedules = schedules::list(&state.database, server.id).await?;
    Ok(views::ok(&views::schedules::list(&schedules)))
}
