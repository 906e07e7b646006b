//! `GET /jobs/{job}`: one job.

use actix_web::{HttpResponse, web};

use crate::error::ApiError;
use crate::openapi::answers::Refusals;
use crate::openapi::parameters::JobPath;
use crate::operator::Operator;
use crate::state::ApiState;
use crate::views;
use crate::views::application::objects::JobObject;

/// Shows a job.
#[utoipa::path(
    get,
    path = "/api/application/jobs/{job}",
    operation_id = "show_job",
    tag = "application",
    params(JobPath),
    responses((status = 200, description = "The job", body = JobObject), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn show(
    operator: Operator,
    path: web::Path<String>,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let job = operator.job(&state, &path).await?;
    Ok(views::ok(&views::application::job(&job)))
}
