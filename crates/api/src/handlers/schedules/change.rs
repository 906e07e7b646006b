//! `POST …/schedules/{schedule}`: changes a schedule. `PATCH` changes only the fields that are
//! sent. Its runs that have begun keep their tasks.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use holdfast_db::{Transaction, schedules};
use holdfast_domain::access::Action;
use holdfast_domain::activity::ActivityEvent;
use holdfast_domain::schedule::Schedule;

use super::fields::ScheduleFields;
use super::find::{find, find_again, find_to_change};
use crate::auth::{Caller, permit};
use crate::error::ApiError;
use crate::input::Fields;
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::SchedulePath;
use crate::openapi::schedule_bodies::{ScheduleBody, ScheduleFieldsBody};
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
    let (_, access, schedule) = find(&caller, &state, &path.1).await?;
    permit(access, Action::ChangeSchedule)?;
    let fields = ScheduleFields::take(Fields::read(&request, payload).await?)?;
    let (mut transaction, _) = caller.begin(&state, Action::ChangeSchedule).await?;
    let current = find_to_change(&mut transaction, &schedule).await?;
    store(&caller, &state, transaction, &current, fields).await
}

/// Changes some fields of a schedule. Absent fields keep their value.
#[utoipa::path(
    patch,
    path = "/api/client/servers/{server}/schedules/{schedule}",
    operation_id = "change_fields_of_schedule",
    tag = "schedules",
    params(SchedulePath),
    request_body(content = ScheduleFieldsBody),
    responses(
        (status = 200, description = "The changed schedule", body = ScheduleObject),
        Refusals,
    ),
    security(("key" = [])),
)]
pub(crate) async fn change_some(
    caller: Caller,
    request: HttpRequest,
    path: web::Path<(String, String)>,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (_, access, schedule) = find(&caller, &state, &path.1).await?;
    permit(access, Action::ChangeSchedule)?;
    let fields = Fields::read(&request, payload).await?;
    let (mut transaction, _) = caller.begin(&state, Action::ChangeSchedule).await?;
    let current = find_to_change(&mut transaction, &schedule).await?;
    let fields = ScheduleFields::take_some(fields, &current.settings)?;
    store(&caller, &state, transaction, &current, fields).await
}

async fn store(
    caller: &Caller,
    state: &ApiState,
    mut transaction: Transaction,
    current: &Schedule,
    fields: ScheduleFields,
) -> Result<HttpResponse, ApiError> {
    let (id, server) = (current.id, current.server);
    let settings = fields.settings(Some(&current.settings), state.options.timezone);
    schedules::update(&mut transaction, server, id, &settings).await?;
    if settings.is_active != current.settings.is_active {
        // A run that is stuck no longer counts as one.
        schedules::abandon(&mut transaction, server, id).await?;
    }
    let properties = json!({ "active": settings.is_active });
    let event = ActivityEvent::ScheduleUpdate;
    caller
        .record_schedule_event(&mut transaction, event, server, id, &properties)
        .await?;
    let changed = find_again(&mut transaction, current).await?;
    transaction.commit().await?;
    Ok(views::ok(&views::schedules::schedule(&changed)))
}
