//! `POST …/schedules/{schedule}/tasks/{task}`: replaces a task, and moves it.

use actix_web::{HttpRequest, HttpResponse, web};

use holdfast_db::schedules;
use holdfast_domain::access::Action;
use holdfast_domain::activity::ActivityEvent;

use super::fields::TaskFields;
use super::{check_allowed, check_payload, find_task, properties};
use crate::auth::{Caller, permit};
use crate::error::ApiError;
use crate::handlers::schedules::find::{find, find_again, find_to_change};
use crate::input::Fields;
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::TaskPath;
use crate::openapi::schedule_bodies::TaskBody;
use crate::state::ApiState;
use crate::views;
use crate::views::schedules::objects::TaskObject;

/// Changes a task.
#[utoipa::path(
    post,
    path = "/api/client/servers/{server}/schedules/{schedule}/tasks/{task}",
    operation_id = "change_task",
    tag = "schedules",
    params(TaskPath),
    request_body(content = TaskBody),
    responses((status = 200, description = "The changed task", body = TaskObject), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn change(
    caller: Caller,
    request: HttpRequest,
    path: web::Path<(String, String, String)>,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (server, access, schedule) = find(&caller, &state, &path.1).await?;
    find_task(&schedule, &path.2)?;
    permit(access, Action::ChangeSchedule)?;
    let fields = Fields::read(&request, payload).await?;
    let TaskFields { task, sequence } = TaskFields::take(fields, state.options.max_ignored_bytes)?;

    let (mut transaction, _) = caller.begin(&state, Action::ChangeSchedule).await?;
    let schedule = find_to_change(&mut transaction, &schedule).await?;
    let current = find_task(&schedule, &path.2)?;
    check_allowed(&state, server, schedule.tasks.len() - 1, &task)?;
    check_payload(&mut transaction, server, &task, Some(current)).await?;
    let last = u32::try_from(schedule.tasks.len()).unwrap_or(u32::MAX);
    let sequence = sequence.map_or(current.sequence, |sequence| sequence.min(last));
    let id = current.id;
    schedules::update_task(&mut transaction, schedule.id, id, sequence, &task).await?;
    let event = ActivityEvent::TaskUpdate;
    let properties = properties(id, &task);
    caller
        .record_schedule_event(&mut transaction, event, server.id, schedule.id, &properties)
        .await?;
    let schedule = find_again(&mut transaction, &schedule).await?;
    let changed = find_task(&schedule, &path.2)?;
    transaction.commit().await?;
    Ok(views::ok(&views::schedules::task(changed)))
}
