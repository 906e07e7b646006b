//! `GET …/schedules/{schedule}`: one schedule.

use actix_web::{HttpResponse, web};

use holdfast_domain::access::Action;

use super::find::find;
use crate::auth::{Caller, permit};
use crate::error::ApiError;
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::SchedulePath;
use crate::state::ApiState;
use crate::views;
use crate::views::schedules::objects::ScheduleObject;

/// Shows a schedule.
#[utoipa::path(
    get,
    path = "/api/client/servers/{server}/schedules/{schedule}",
    operation_id = "show_schedule",
    tag = "schedules",
    params(SchedulePath),
    responses((status = 200, description = "The schedule", body = ScheduleObject), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn show(
    caller: Caller,
    path: web::Path<(String, String)>,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (_, access, schedule) = find(&caller, &state, &path.1).await?;
    permit(access, Action::ViewSchedule)?;
    Ok(views::ok(&views::schedules::schedule(&schedule)))
}
