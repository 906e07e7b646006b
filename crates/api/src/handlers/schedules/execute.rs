//! `POST …/schedules/{schedule}/execute`: runs a schedule now, even if it is not active.

use actix_web::{HttpResponse, web};
use serde_json::json;

use holdfast_db::schedules::{self, ManualRun};
use holdfast_domain::access::Action;
use holdfast_domain::activity::ActivityEvent;

use super::find::{find, find_again};
use crate::auth::{Caller, permit};
use crate::error::{ApiError, ScheduleRefused};
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::SchedulePath;
use crate::state::ApiState;
use crate::views;

/// Runs a schedule now.
#[utoipa::path(
    post,
    path = "/api/client/servers/{server}/schedules/{schedule}/execute",
    operation_id = "run_schedule",
    tag = "schedules",
    params(SchedulePath),
    responses(
        (status = 202, description = "A worker will run the tasks of the schedule"),
        Refusals,
    ),
    security(("key" = [])),
)]
pub(crate) async fn execute(
    caller: Caller,
    path: web::Path<(String, String)>,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (server, access, schedule) = find(&caller, &state, &path.1).await?;
    permit(access, Action::RunSchedule)?;

    let (mut transaction, _) = caller.begin(&state, Action::RunSchedule).await?;
    let schedule = find_again(&mut transaction, &schedule).await?;
    match schedules::run_now(&mut transaction, &schedule).await? {
        ManualRun::Begun(_) => {}
        // It has not begun yet, so it does what this request asks for.
        ManualRun::IsWaiting => return Ok(views::schedules::run_accepted(caller.profile)),
        ManualRun::NoTasks => return Err(ApiError::Schedule(ScheduleRefused::NoTasks)),
    }
    let properties = json!({});
    let event = ActivityEvent::ScheduleExecute;
    caller
        .record_schedule_event(&mut transaction, event, server.id, schedule.id, &properties)
        .await?;
    transaction.commit().await?;
    Ok(views::schedules::run_accepted(caller.profile))
}
