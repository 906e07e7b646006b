//! `POST …/schedules/{schedule}`: changes a schedule. Its runs that have begun keep their tasks.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use holdfast_db::schedules;
use holdfast_domain::access::Action;
use holdfast_domain::activity::ActivityEvent;

use super::fields::ScheduleFields;
use super::find::{find, find_again, find_to_change};
use crate::auth::{Caller, permit};
use crate::error::ApiError;
use crate::input::Fields;
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::SchedulePath;
use crate::openapi::schedule_bodies::ScheduleBody;
use crate::state::ApiState;
use crate::views;
use crate::views::schedules::objects::ScheduleObject;

/// Changes a schedule.
#[utoipa::path(
    post,
    path = "/api/client/servers/{server}/schedules/{schedule}",
    operation_id = "change_schedule",
    tag = "schedules",
    params(SchedulePath),
    request_body(content = ScheduleBody),
    responses(
        (status = 200, description = "The changed schedule", body = ScheduleObject),
        Refusals,
    ),
    security(("key" = [])),
)]
pub(crate) async fn change(
    caller: Caller,
    request: HttpRequest,
    path: web::Path<(String, String)>,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (server, access, schedule) = find(&caller, &state, &path.1).await?;
    permit(access, Action::ChangeSchedule)?;
    let fields = ScheduleFields::take(Fields::read(&request, payload).await?)?;

    let (mut transaction, _) = caller.begin(&state, Action::ChangeSchedule).await?;
    let current = find_to_change(&mut transaction, &schedule).await?.settings;
    let settings = fields.settings(Some(&current), state.options.timezone);
    schedules::update(&mut transaction, server.id, schedule.id, &settings).await?;
    if settings.is_active != current.is_active {
        // A run that is stuck no longer counts as one.
        schedules::abandon(&mut transaction, server.id, schedule.id).await?;
    }
    let properties = json!({ "active": settings.is_active });
    let event = ActivityEvent::ScheduleUpdate;
    caller
        .record_schedule_event(&mut transaction, event, server.id, schedule.id, &properties)
        .await?;
    let changed = find_again(&mut transaction, &schedule).await?;
    transaction.commit().await?;
    Ok(views::ok(&views::schedules::schedule(&changed)))
}
