//! `POST /jobs/{job}/cancel`: cancels a job that no worker has started.
//!
//! A backup that the job was to create becomes a failed backup. A server that the job was to delete
//! becomes available again.

use actix_web::{HttpResponse, web};

use holdfast_db::jobs;

use crate::error::ApiError;
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::JobPath;
use crate::operator::Operator;
use crate::operator_log;
use crate::state::ApiState;
use crate::views;
use crate::views::application::objects::JobObject;

/// The error of the cancelled backup, for its owner.
const SENTENCE: &str = "It was cancelled by an administrator before it began.";

/// Cancels a job that no worker has started.
#[utoipa::path(
    post,
    path = "/api/application/jobs/{job}/cancel",
    operation_id = "cancel_job",
    tag = "application",
    params(JobPath),
    responses((status = 200, description = "The cancelled job", body = JobObject), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn cancel(
    operator: Operator,
    path: web::Path<String>,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let job = operator.job(&state, &path).await?;

    let mut change = operator.begin_change(&state).await?;
    // A worker may have started the job since it was loaded; this statement decides.
    let is_cancelled = jobs::cancel_for_operator(&mut change, job.id, SENTENCE).await?;
    let job = jobs::find_in(&mut change, job.id).await?;
    if is_cancelled {
        let answer = views::ok(&views::application::job(&job));
        operator_log::commit(change, None, answer).await
    } else if job.state.is_final() {
        Err(ApiError::JobEnded)
    } else {
        Err(ApiError::JobRunning)
    }
}
