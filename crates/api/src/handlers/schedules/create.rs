//! `POST …/schedules`: creates a schedule without tasks.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use holdfast_db::schedules;
use holdfast_domain::access::Action;
use holdfast_domain::activity::ActivityEvent;
use holdfast_domain::schedule::SCHEDULES_MAX;

use super::fields::ScheduleFields;
use crate::auth::{Caller, permit};
use crate::error::{ApiError, ScheduleRefused};
use crate::input::Fields;
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::ServerPath;
use crate::openapi::schedule_bodies::ScheduleBody;
use crate::state::ApiState;
use crate::views;
use crate::views::schedules::objects::ScheduleObject;

/// Creates a schedule.
#[utoipa::path(
    post,
    path = "/api/client/servers/{server}/schedules",
    operation_id = "create_schedule",
    tag = "schedules",
    params(ServerPath),
    request_body(content = ScheduleBody),
    responses(
        (status = 200, description = "The schedule, without tasks", body = ScheduleObject),
        Refusals,
    ),
    security(("key" = [])),
)]
pub(crate) async fn create(
    caller: Caller,
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (server, access) = caller.server()?;
    permit(access, Action::CreateSchedule)?;
    let fields = ScheduleFields::take(Fields::read(&request, payload).await?)?;
    let settings = fields.settings(None, state.options.timezone);

    let (mut transaction, _) = caller.begin(&state, Action::CreateSchedule).await?;
    let usage = schedules::usage(&mut transaction, server.id).await?;
    if usage.schedules >= SCHEDULES_MAX {
        return Err(ApiError::Schedule(ScheduleRefused::TooManySchedules));
    }
    let user = caller.user();
    let id = schedules::insert(&mut transaction, server.id, &settings, user).await?;
    let properties = json!({});
    let event = ActivityEvent::ScheduleCreate;
    caller
        .record_schedule_event(&mut transaction, event, server.id, id, &properties)
        .await?;
    let created = schedules::find_in(&mut transaction, server.id, id)
        .await?
        .ok_or(ApiError::Internal)?;
    transaction.commit().await?;
    Ok(views::ok(&views::schedules::schedule(&created)))
}
