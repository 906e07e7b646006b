//! `DELETE …/schedules/{schedule}`: deletes a schedule with its tasks. Its backups stay, and a run
//! that has begun still does what it owes.

use actix_web::{HttpResponse, web};
use serde_json::json;

use holdfast_db::schedules;
use holdfast_domain::access::Action;
use holdfast_domain::activity::ActivityEvent;

use super::find::find;
use crate::auth::{Caller, permit};
use crate::error::ApiError;
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::SchedulePath;
use crate::state::ApiState;

/// Deletes a schedule.
#[utoipa::path(
    delete,
    path = "/api/client/servers/{server}/schedules/{schedule}",
    operation_id = "delete_schedule",
    tag = "schedules",
    params(SchedulePath),
    responses((status = 204, description = "The schedule is deleted"), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn delete(
    caller: Caller,
    path: web::Path<(String, String)>,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (server, access, schedule) = find(&caller, &state, &path.1).await?;
    permit(access, Action::DeleteSchedule)?;

    let (mut transaction, _) = caller.begin(&state, Action::DeleteSchedule).await?;
    // The entry takes the name from the row.
    let properties = json!({});
    let event = ActivityEvent::ScheduleDelete;
    caller
        .record_schedule_event(&mut transaction, event, server.id, schedule.id, &properties)
        .await?;
    if !schedules::delete(&mut transaction, server.id, schedule.id).await? {
        return Err(ApiError::NotFound);
    }
    transaction.commit().await?;
    Ok(HttpResponse::NoContent().finish())
}
