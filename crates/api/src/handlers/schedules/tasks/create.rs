//! `POST …/schedules/{schedule}/tasks`: adds a task to a schedule.

use actix_web::{HttpRequest, HttpResponse, web};

use holdfast_db::schedules;
use holdfast_domain::access::Action;
use holdfast_domain::activity::ActivityEvent;

use super::fields::TaskFields;
use super::{check_allowed, check_payload, properties};
use crate::auth::{Caller, permit};
use crate::error::ApiError;
use crate::handlers::schedules::find::{find, find_again, find_to_change};
use crate::input::Fields;
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::SchedulePath;
use crate::openapi::schedule_bodies::TaskBody;
use crate::state::ApiState;
use crate::views;
use crate::views::schedules::objects::TaskObject;

/// Adds a task to a schedule.
#[utoipa::path(
    post,
    path = "/api/client/servers/{server}/schedules/{schedule}/tasks",
    operation_id = "create_task",
    tag = "schedules",
    params(SchedulePath),
    request_body(content = TaskBody),
    responses((status = 200, description = "The task", body = TaskObject), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn create(
    caller: Caller,
    request: HttpRequest,
    path: web::Path<(String, String)>,
    payload: web::Payload,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let (server, access, schedule) = find(&caller, &state, &path.1).await?;
    permit(access, Action::ChangeSchedule)?;
    let fields = Fields::read(&request, payload).await?;
    let TaskFields { task, sequence } = TaskFields::take(fields, state.options.max_ignored_bytes)?;

    let (mut transaction, _) = caller.begin(&state, Action::ChangeSchedule).await?;
    let schedule = find_to_change(&mut transaction, &schedule).await?;
    check_allowed(&state, server, schedule.tasks.len(), &task)?;
    check_payload(&mut transaction, server, &task, None).await?;
    let last = u32::try_from(schedule.tasks.len() + 1).unwrap_or(u32::MAX);
    let sequence = sequence.map_or(last, |sequence| sequence.min(last));
    let id = schedules::insert_task(&mut transaction, schedule.id, sequence, &task).await?;
    let event = ActivityEvent::TaskCreate;
    let properties = properties(id, &task);
    caller
        .record_schedule_event(&mut transaction, event, server.id, schedule.id, &properties)
        .await?;
    let schedule = find_again(&mut transaction, &schedule).await?;
    let mut tasks = schedule.tasks.iter();
    let created = tasks.find(|task| task.id == id).ok_or(ApiError::Internal)?;
    transaction.commit().await?;
    Ok(views::ok(&views::schedules::task(created)))
}
