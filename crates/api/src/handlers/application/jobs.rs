//! The endpoints under `/api/application/jobs`.

mod cancel;
mod list;
mod show;

pub(crate) use cancel::*;
pub(crate) use list::*;
pub(crate) use show::*;

use actix_web::web;

use holdfast_db::jobs::{self, Job};
use holdfast_domain::JobId;

use crate::error::ApiError;
use crate::state::ApiState;

/// Loads the job that a path names.
async fn load(state: &web::Data<ApiState>, job: &str) -> Result<Job, ApiError> {
    let is_plain = !job.is_empty() && job.bytes().all(|byte| byte.is_ascii_digit());
    let id = job.parse().ok().filter(|_| is_plain);
    let id = JobId(id.ok_or(ApiError::NotFound)?);
    jobs::find(&state.database, id)
        .await?
        .ok_or(ApiError::NotFound)
}
