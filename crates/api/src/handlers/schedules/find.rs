//! The schedule in the path of a request.

use holdfast_db::{Transaction, schedules};
use holdfast_domain::schedule::{DefaultScheduleFixed, Schedule, ScheduleId};
use holdfast_domain::{Server, ServerAccess};

use crate::auth::Caller;
use crate::error::{ApiError, ScheduleRefused};
use crate::state::ApiState;

/// Returns the server and the schedule in the path, with the caller's access.
///
/// # Errors
/// [`ApiError::NotFound`] if one of them does not exist for the caller.
pub(super) async fn find<'a>(
    caller: &'a Caller,
    state: &ApiState,
    schedule: &str,
) -> Result<(&'a Server, &'a ServerAccess, Schedule), ApiError> {
    let (server, access) = caller.server()?;
    let id = ScheduleId::parse(schedule).ok_or(ApiError::NotFound)?;
    let schedule = schedules::find(&state.database, server.id, id).await?;
    Ok((server, access, schedule.ok_or(ApiError::NotFound)?))
}

/// Reads a schedule again, in the transaction that changes it.
///
/// # Errors
/// [`ApiError::NotFound`] if it was deleted meanwhile.
pub(super) async fn find_again(
    transaction: &mut Transaction,
    schedule: &Schedule,
) -> Result<Schedule, ApiError> {
    schedules::find_in(transaction, schedule.server, schedule.id)
        .await?
        .ok_or(ApiError::NotFound)
}

/// Reads a schedule again, in the transaction that changes its settings or its tasks.
///
/// # Errors
/// As [`find_again`]. Also if the settings of the service define the schedule.
pub(super) async fn find_to_change(
    transaction: &mut Transaction,
    schedule: &Schedule,
) -> Result<Schedule, ApiError> {
    let schedule = find_again(transaction, schedule).await?;
    let checked = schedule.check_change();
    checked.map_err(|DefaultScheduleFixed| ApiError::Schedule(ScheduleRefused::IsDefault))?;
    Ok(schedule)
}
