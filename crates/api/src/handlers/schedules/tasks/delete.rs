//! `DELETE …/schedules/{schedule}/tasks/{task}`: deletes a task. Later ones move up.

use actix_web::{HttpResponse, web};

use holdfast_db::schedules;
use holdfast_domain::access::Action;
use holdfast_domain::activity::ActivityEvent;

use super::{find_task, properties};
use crate::auth::{Caller, permit};
use crate::error::ApiError;
use crate::handlers::schedules::find::{find, find_to_change};
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::TaskPath;
use crate::state::ApiState;

/// Deletes a task.
#[utoipa::path(
    delete,
    path = "/api/client/servers/{server}/schedules/{schedule}/tasks/{task}",
    operation_id = "delete_task",
    tag = "schedules",
    params(TaskPath),
    responses((status = 204, description = "The task is deleted"), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn delete(
    caller: Caller,
    path: web::Path<(String, String, String)>,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (server, access, schedule) = find(&caller, &state, &path.1).await?;
    find_task(&schedule, &path.2)?;
    permit(access, Action::ChangeSchedule)?;

    let (mut transaction, _) = caller.begin(&state, Action::ChangeSchedule).await?;
    let schedule = find_to_change(&mut transaction, &schedule).await?;
    let stored = find_task(&schedule, &path.2)?;
    schedules::delete_task(&mut transaction, schedule.id, stored.id).await?;
    let event = ActivityEvent::TaskDelete;
    let properties = properties(stored.id, &stored.task);
    caller
        .record_schedule_event(&mut transaction, event, server.id, schedule.id, &properties)
        .await?;
    transaction.commit().await?;
    Ok(HttpResponse::NoContent().finish())
}
