//! `POST /jobs/{job}/cancel`: calls off a job that no worker has taken up. A backup that was to be
//! created is then a failed one; a server that was to be deleted is back.

use actix_web::{HttpResponse, web};

use holdfast_db::jobs;

use super::load;
use crate::auth::Operator;
use crate::error::ApiError;
use crate::openapi::Refusals;
use crate::operator_log;
use crate::state::ApiState;
use crate::views;
use crate::views::application::objects::JobObject;

/// What the owner of a backup reads.
const SENTENCE: &str = "It was cancelled by an administrator before it began.";

/// Calls off a job that no worker has taken up.
#[utoipa::path(
    post,
    path = "/api/application/jobs/{job}/cancel",
    operation_id = "cancel_job",
    tag = "application",
    params(
        ("job" = i64, Path, minimum = 1, description = "Number of the job"),
    ),
    responses((status = 200, description = "The job, called off", body = JobObject), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn cancel(
    operator: Operator,
    path: web::Path<String>,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let job = load(&state, &path).await?;
    let mut change = operator.begin(&state).await?;
    // The statement decides, not the look before it.
    let is_called_off = jobs::cancel_for_operator(&mut change, job.id, SENTENCE).await?;
    let job = jobs::find_in(&mut change, job.id).await?;
    if is_called_off {
        let answer = views::ok(&views::application::job(&job));
        operator_log::commit(change, None, answer).await
    } else if job.state.is_final() {
        Err(ApiError::JobEnded)
    } else {
        Err(ApiError::JobRuns)
    }
}
