//! `GET /jobs/{job}`: one job.

use actix_web::{HttpResponse, web};

use super::load;
use crate::auth::Operator;
use crate::error::ApiError;
use crate::state::ApiState;
use crate::views;

pub(crate) async fn show(
    _operator: Operator,
    path: web::Path<String>,
    state: web::Data<ApiState>,
) -> Result<HttpResponse, ApiError> {
    let job = load(&state, &path).await?;
    Ok(views::ok(&views::application::job(&job)))
}
