//! `GET /jobs/{job}`: one job.

use actix_web::{HttpResponse, web};

use super::load;
use crate::auth::Operator;
use crate::error::ApiError;
use crate::openapi::Refusals;
use crate::state::ApiState;
use crate::views;
use crate::views::application::objects::JobObject;

/// Shows a job.
#[utoipa::path(
    get,
    path = "/api/application/jobs/{job}",
    operation_id = "show_job",
    tag = "application",
    params(
        ("job" = i64, Path, minimum = 1, description = "Number of the job"),
    ),
    responses((status = 200, description = "The job", body = JobObject), Refusals),
    security(("key" = [])),
)]
pub(crate) async fn show(
    _operator: Operator,
    path: web::Path<String>,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let job = load(&state, &path).await?;
    Ok(views::ok(&views::application::job(&job)))
}
